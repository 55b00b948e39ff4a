"""Diagnosis of a divergence: find the wrong rule that gives an engine's spikes.

One layer is computed again from the engine's own inputs, by the right rule and by wrong ones. The
rule that gives the engine's spikes is the likely cause. Because the inputs are the engine's own,
faults in other layers do not matter.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.parity.hypotheses import Hypothesis, hypotheses, other_decay, other_threshold
from tmkt.deploy.parity.rounding import Rounding, allowance
from tmkt.deploy.parity.rules import (
    Rule,
    arriving,
    bias_of,
    float_rule_of,
    rule_of,
    run,
    run_stepwise,
    synaptic_sums,
)
from tmkt.program.arithmetic import DECAY_ONE, MAX_THRESHOLD
from tmkt.program.model import Layer, Program

# Fitting a decay: neuron-steps of one round, decays kept, and rounds.
SCANNED, MOST_DECAYS, ROUNDS = 1024, 64, 6
# Relative error of a decay that is no fault of the float network. The quantiser rounds decays, and
# errors of rounded weights can look like a decay that is off by 1 to 2 % (seen on a sound network).
# A wrong time step is off by a factor; ours.
DECAY_TOLERANCE = 0.05
NAMED_FROM = 0.75  # share of the differences that a cause must explain to be named; ours
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Evidence:
    """Inputs and outputs of one layer in an engine, over some samples.

    The divergence to explain is in the first sample. `sources`: the layer's input of each sample,
    [T, *shape] by source name. `found`: spikes [T, neurons] of each sample, or the read-out
    [neurons]. `rounding`: what the quantiser did, if the engine is the float network; None for an
    engine that computes the program's integers. `unit`: factor that turns a read-out value into a
    membrane (1 for an exact engine).

    An exact engine's neurons are run freely. The float network's are reset by the spikes found, and
    a membrane counts only if it is farther from the threshold than rounding can have moved it.
    """

    program: Program
    layer: Layer
    sources: list[dict[str, NDArray[np.uint8]]]
    found: list[NDArray[Any]]
    rounding: Rounding | None = None
    unit: float = 1.0

    @property
    def exact(self) -> bool:
        return self.rounding is None

    @property
    def right(self) -> Rule:
        """Return the rule that the layer should follow in this engine."""
        return rule_of(self.layer) if self.exact else float_rule_of(self.layer)

    @property
    def bias(self) -> NDArray[Any]:
        """Return the bias that the layer should have in this engine, [neurons]."""
        return bias_of(self.layer) if self.rounding is None else self.rounding.bias

    @cached_property
    def allowed(self) -> list[NDArray[np.float32]]:
        """Return how far rounding may move the float network's membranes, [T, neurons] a sample."""
        assert self.rounding is not None
        return [
            allowance(
                self.right,
                self.layer,
                rounding=self.rounding,
                sources=sources,
                sums=sums,
                spikes=self.resets(sample),
            )
            for sample, (sources, sums) in enumerate(zip(self.sources, self._own_sums, strict=True))
        ]

    @cached_property
    def _own_sums(self) -> list[NDArray[np.int32]]:
        return [synaptic_sums(self.layer, sources) for sources in self.sources]

    def resets(self, sample: int, neurons: Any = slice(None)) -> NDArray[Any] | None:
        """Return the spikes that reset the neurons, [T, neurons]; None where they run freely."""
        return self.found[sample][:, neurons] if self.layer.fires and not self.exact else None

    def sums(self, layer: Layer, samples: int | None = None) -> list[NDArray[np.int32]]:
        """Return the synaptic sums [T, neurons] of `layer` (or a variant of it), by sample."""
        if layer is self.layer:
            return self._own_sums[:samples]
        return [synaptic_sums(layer, sources) for sources in self.sources[:samples]]

    def misses(
        self, rule: Rule, sums: NDArray[np.int32], sample: int, neurons: Any = slice(None)
    ) -> Any:
        """Return how far a rule is from what was found, one value for each of the rule's decays.

        Counts the spikes or read-out values that differ; of the float network's read-out, sums the
        differences.
        """
        if self.layer.fires:
            return sum(each.sum(-1) for each in self._wrong(rule, sums, sample, neurons))
        found = self.found[sample][..., neurons]
        for fired, membrane in run_stepwise(rule, sums[:, neurons], self.bias[neurons]):
            last = np.where(fired, 0, membrane)
        gap = np.abs(last - found * self.unit)
        if self.exact:
            return (gap >= 1).sum(-1)
        return np.maximum(gap - self.allowed[sample][-1, neurons], 0).sum(-1)

    def wrong(self, rule: Rule, sums: NDArray[np.int32], sample: int) -> NDArray[np.bool_]:
        """Return which spikes [T, neurons] of a sample a rule does not explain."""
        return np.stack(list(self._wrong(rule, sums, sample, slice(None))))

    def _wrong(
        self, rule: Rule, sums: NDArray[np.int32], sample: int, neurons: Any
    ) -> Iterator[NDArray[np.bool_]]:
        found, given = self.found[sample][:, neurons], self.resets(sample, neurons)
        # The last steps of a layer that runs early need inputs beyond the sample.
        known = len(sums) + min(0, rule.late + rule.all_late)
        steps = run_stepwise(rule, sums[:, neurons], self.bias[neurons], given)
        for t, (fired, membrane) in zip(range(known), steps, strict=False):
            differs = fired != found[t]
            if not self.exact:
                differs &= np.abs(membrane - rule.threshold) > self.allowed[sample][t, neurons]
            yield differs

    def differing(self, rule: Rule, sums: NDArray[np.int32], sample: int) -> NDArray[np.int64]:
        """Return the neurons of a sample that the rule does not explain."""
        if not self.layer.fires:
            return np.arange(self.layer.neurons)
        return np.flatnonzero(self.wrong(rule, sums, sample).any(0))


def diagnose(evidence: Evidence, step: int, neuron: int) -> dict[str, Any]:
    """Explain why `neuron` (its index in C, H, W order) differs at `step` of the first sample.

    Returns

    - incoming_sum (of weights), membrane (before the reset) and threshold by the program's rule, in
      the units of the 24-bit state;
    - incoming_sum_found and membrane_found: the same of the engine, as the cause reproduces them
      (None where no cause is named; a read-out shows its own);
    - cause, a word, and explanation, a clause. "unknown": the best candidate leaves more than a
      quarter unexplained. "simulator": the program's rule gives what was found, so the reference
      is wrong;
    - differing: spikes or read-out values of the layer that the right rule does not give;
    - candidates: all hypotheses that give this neuron's spikes of the whole sample, best first,
      with what each leaves `unexplained`.
    """
    layer, right, bias = evidence.layer, evidence.right, evidence.bias
    sums = evidence.sums(layer)
    base = sum(evidence.misses(right, s, i).item() for i, s in enumerate(sums))
    tried: list[tuple[float, Hypothesis]] = []
    if base == 0:
        tried = [
            (
                0,
                Hypothesis(
                    "simulator",
                    "the program's rule gives what was found here, the simulator breaks it",
                    right,
                    layer,
                ),
            )
        ]
    else:
        for h in _all(evidence, right, sums):
            here = sums if h.layer is layer else evidence.sums(h.layer, 1)
            if evidence.exact and evidence.misses(h.rule, here[0], 0, [neuron]):
                continue
            every = here if h.layer is layer else here + evidence.sums(h.layer)[1:]
            missed = sum(evidence.misses(h.rule, s, i).item() for i, s in enumerate(every))
            if missed < base:
                tried.append((missed, h))
        tried.sort(key=lambda pair: pair[0])
    named = tried[0] if tried and tried[0][0] <= (1 - NAMED_FROM) * base else None

    def at(rule: Rule, a: NDArray[np.int32]) -> tuple[int, int]:
        membranes = run(rule, a[:, [neuron]], bias[[neuron]], evidence.resets(0, [neuron]))[1]
        return int(arriving(rule, a, step)[neuron]), round(float(membranes[step, 0]))

    incoming, membrane = at(right, sums[0])
    theirs = at(named[1].rule, evidence.sums(named[1].layer, 1)[0]) if named else (None, None)
    return {
        "incoming_sum": incoming,
        "membrane": membrane,
        "threshold": right.threshold if layer.fires else None,
        "incoming_sum_found": theirs[0],
        "membrane_found": (
            theirs[1] if layer.fires else round(float(evidence.found[0][neuron]) * evidence.unit)
        ),
        "differing": base,
        "cause": named[1].cause if named else UNKNOWN,
        "explanation": named[1].explanation if named else None,
        "candidates": [
            {"cause": h.cause, "explanation": h.explanation, "unexplained": missed}
            for missed, h in tried
        ],
    }


def _all(evidence: Evidence, right: Rule, sums: list[NDArray[np.int32]]) -> list[Hypothesis]:
    """Return all hypotheses; those with a fitted number come last."""
    found = list(hypotheses(evidence.program, evidence.layer, right, evidence.exact))
    fits = [_fit_decay(evidence, right, sums, which) for which in ("voltage", "current")]
    fits.append(
        _fit_threshold(evidence, right, sums) if evidence.layer.fires and evidence.exact else None
    )
    return found + [fit for fit in fits if fit]


def _fit_decay(
    evidence: Evidence, right: Rule, sums: list[NDArray[np.int32]], which: str
) -> Hypothesis | None:
    """Fit the decay to neurons that differ; None if the right decay is among the best.

    Neurons that the middle of the best decays does not explain are added, for a few rounds, until
    it explains all of them.
    """
    decays, rule = np.arange(DECAY_ONE + 1), right
    misses = np.zeros(len(decays))
    for _ in range(ROUNDS):
        unexplained = ((i, evidence.differing(rule, s, i)) for i, s in enumerate(sums))
        sample, neurons = next(
            (pair for pair in unexplained if len(pair[1])), (0, np.zeros(0, np.int64))
        )
        if not len(neurons):
            break
        some = neurons[: max(1, SCANNED // len(sums[sample]))]
        tried = replace(right, **{f"{which}_decay": decays[:, None]})  # type: ignore[arg-type]
        misses = misses + evidence.misses(tried, sums[sample], sample, some)
        best = np.flatnonzero(misses == misses.min())
        best = best[:: max(1, len(best) // MOST_DECAYS)]
        decays, misses = decays[best], misses[best]
        expected = getattr(right, f"{which}_decay")
        tolerance = 0 if evidence.exact else max(1, int(DECAY_TOLERANCE * expected))
        if np.abs(decays - expected).min() <= tolerance:
            return None
        rule = replace(right, **{f"{which}_decay": int(decays[len(decays) // 2])})  # type: ignore[arg-type]
    return other_decay(evidence.layer, right, which, decays)


def _fit_threshold(
    evidence: Evidence, right: Rule, sums: list[NDArray[np.int32]]
) -> Hypothesis | None:
    """Fit the range of thresholds that gives every spike found; None if there is none.

    The range lies between the highest membrane that did not fire and the lowest that did, where
    membranes are reset by the spikes found.
    """
    none = (MAX_THRESHOLD << 6) + 1
    low, lowest_fired = 0, none
    for sample, found in enumerate(evidence.found):
        for t, (_, membrane) in enumerate(run_stepwise(right, sums[sample], evidence.bias, found)):
            spiked = found[t] != 0
            low = max(low, int(membrane[~spiked].max(initial=0)))
            lowest_fired = min(lowest_fired, int(membrane[spiked].min(initial=none)))
    high = None if lowest_fired == none else lowest_fired - 1
    return (
        other_threshold(evidence.layer, right, low, high) if high is None or low <= high else None
    )
