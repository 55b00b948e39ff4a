"""Why does an engine differ from the program? One layer is computed again from the engine's own
inputs to it, by the right rule and by wrong ones; what then gives the engine's spikes is the likely
cause. As the inputs are the engine's own, faults elsewhere do not matter.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.parity.hypotheses import Hypothesis, hypotheses, other_decay, other_threshold
from tmkt.deploy.parity.rules import Rule, arriving, bias_of, rule_of, run, synaptic_sums, updates
from tmkt.program.model import DECAY_ONE, MAX_THRESHOLD, Layer, Program

SCANNED, MOST_DECAYS, ROUNDS = (
    1024,
    64,
    6,
)  # neuron-steps in one round of fitting a decay, decays kept, rounds
NAMED_FROM = 0.75  # a cause is named if it explains this share of what differs; ours
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Evidence:
    """What an engine did in one layer over some samples; the divergence to explain is in the first
    of them.

    `sources`: per sample, what the layer was given, [T, *shape] by source name. `found`: per
    sample, spikes [T, neurons], or the read-out [neurons]. `exact`: an integer engine. `unit`: what
    a read-out is to be multiplied by to be a membrane (1 of an exact engine).
    """

    program: Program
    layer: Layer
    sources: list[dict[str, NDArray[np.uint8]]]
    found: list[NDArray[Any]]
    exact: bool = True
    unit: float = 1.0

    def sums(self, layer: Layer, samples: int | None = None) -> list[NDArray[np.int32]]:
        """The synaptic sums [T, neurons] of the layer, or of one that stands in for it, per sample."""
        return [synaptic_sums(layer, sources) for sources in self.sources[:samples]]

    def misses(
        self, rule: Rule, sums: NDArray[np.int32], sample: int, neurons: Any = slice(None)
    ) -> Any:
        """How far the rule is from what was found: spikes that differ, read-out values that differ,
        or of an inexact engine by how much they do; of as many rules as the rule's decays hold.
        """
        found, bias = self.found[sample][..., neurons], bias_of(self.layer)[neurons]
        steps = updates(rule, sums[:, neurons], bias)
        if self.layer.fires:
            known = len(sums) + min(
                0, rule.late + rule.all_late
            )  # a layer that is early shows a step last of which nothing is known
            return sum(
                (fired != found[t]).sum(-1) for t, (fired, _) in enumerate(steps) if t < known
            )
        for fired, membrane in steps:
            last = np.where(fired, 0, membrane)
        gap = np.abs(last - found * self.unit)
        return ((gap >= 1) if self.exact else gap).sum(-1)

    def differing(self, rule: Rule, sums: NDArray[np.int32], sample: int) -> NDArray[np.int64]:
        """The neurons of a sample that the rule does not explain."""
        if not self.layer.fires:
            return np.arange(self.layer.neurons)
        return np.flatnonzero(
            (run(rule, sums, bias_of(self.layer))[0] != self.found[sample]).any(0)
        )


def diagnose(evidence: Evidence, step: int, neuron: int) -> dict[str, Any]:
    """Explains why `neuron` (its index in C, H, W order) differs at `step` of the first sample.

    Gives incoming_sum (of weights), membrane before the reset and threshold in the units of the
    24-bit state by the program's rule; incoming_sum_found and membrane_found, the other side's as
    the cause reproduces them (None where no cause is named; a read-out shows its own); cause, a
    word, and explanation, a clause; `differing`: spikes or read-out values of the layer in these
    samples that the right rule does not give; `candidates`: all that give this neuron's spikes of
    the whole sample, best first, with what each leaves `unexplained`. The cause is "unknown" if the
    best leaves more than a quarter. "simulator": the program's rule gives what was found, so that
    the reference is wrong.
    """
    layer, right, bias = evidence.layer, rule_of(evidence.layer), bias_of(evidence.layer)
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
        return int(arriving(rule, a, step)[neuron]), int(
            run(rule, a[:, [neuron]], bias[[neuron]])[1][step, 0]
        )

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
    """All hypotheses; last those with a free number, which is fitted to what was found."""
    found = list(hypotheses(evidence.program, evidence.layer, right))
    fits = [_fit_decay(evidence, right, sums, which) for which in ("voltage", "current")]
    fits.append(
        _fit_threshold(evidence, right, sums) if evidence.layer.fires and evidence.exact else None
    )
    return found + [fit for fit in fits if fit]


def _fit_decay(
    evidence: Evidence, right: Rule, sums: list[NDArray[np.int32]], which: str
) -> Hypothesis | None:
    """The decays that agree best with neurons that differ; None if the right one is among them.
    Neurons that the decay in the middle of these does not explain are added until it explains all,
    a few rounds long.
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
        if getattr(right, f"{which}_decay") in decays:
            return None
        rule = replace(right, **{f"{which}_decay": int(decays[len(decays) // 2])})  # type: ignore[arg-type]
    return other_decay(evidence.layer, right, which, decays)


def _fit_threshold(
    evidence: Evidence, right: Rule, sums: list[NDArray[np.int32]]
) -> Hypothesis | None:
    """The thresholds that give every spike found, each membrane being reset by the spikes found:
    from the highest membrane that did not fire to below the lowest that did. None if there is none.
    """
    none = (MAX_THRESHOLD << 6) + 1
    low, lowest_fired = 0, none
    for sample, found in enumerate(evidence.found):
        for t, (_, membrane) in enumerate(
            updates(right, sums[sample], bias_of(evidence.layer), found)
        ):
            spiked = found[t] != 0
            low = max(low, int(membrane[~spiked].max(initial=0)))
            lowest_fired = min(lowest_fired, int(membrane[spiked].min(initial=none)))
    high = None if lowest_fired == none else lowest_fired - 1
    return (
        other_threshold(evidence.layer, right, low, high) if high is None or low <= high else None
    )
