"""First divergence of an engine: where it is, and a description with its likely cause.

Integers that differ at all diverge. The float network diverges where rounding cannot explain it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.engines.types import EngineOutput
from tmkt.deploy.parity.diagnose import UNKNOWN, Evidence, diagnose
from tmkt.deploy.parity.rounding import Rounding, rounding_of
from tmkt.deploy.parity.rules import run
from tmkt.program.model import INPUT, Layer, Program

# Limits of a diagnosis: samples (enough to tell causes apart, few enough to be quick), neuron-steps
# of one layer and sample, and steps after the divergence that are looked at in any case.
MOST_SAMPLES = 4
MOST_FLOAT_SAMPLES = 2
MOST_VALUES = 2**22
STEPS_AFTER = 16
# The float network's spikes that rounding cannot explain: more than FEW and this share of all are
# looked into; of its read-out, that share of the spread. In a sound network 0.6 % of a layer's
# spikes differed (measured), but no cause explained them; ours.
FEW, FEW_SPIKES, FEW_READOUT = 5, 0.002, 0.02


@dataclass(frozen=True)
class Batch:
    """Samples from number `begin` on, `frames` uint8 [n, T, C, H, W], and the outputs of the engine
    (`found`) and of the reference (`expected`).
    """

    program: Program
    begin: int
    frames: NDArray[np.uint8]
    found: EngineOutput
    expected: EngineOutput

    def sources(self, layer: Layer, sample: int, steps: int) -> dict[str, NDArray[np.uint8]]:
        """Return the input of a layer in one sample, [T, *shape] by source name.

        Spikes come from the engine if it shows them, from the reference otherwise.
        """
        sources = {INPUT: self.frames[sample, :steps]}
        for name in {synapse.source for synapse in layer.synapses} - {INPUT}:
            outputs = (self.found.spikes, self.expected.spikes)
            shown = next((spikes[name] for spikes in outputs if name in spikes), None)
            if shown is not None:  # a layer that does not fire sends nothing
                sources[name] = shown[sample, :steps]
        return sources


def describe(
    batch: Batch,
    layer: Layer,
    at: tuple[int, int, int],
    is_readout: bool,
    rounding: Rounding | None = None,
) -> dict[str, Any]:
    """Describe and diagnose the divergence at (sample, step, neuron) of a batch.

    `is_readout`: read-out values differ, not spikes. `rounding`: what the quantiser did, if the
    engine is the float network.
    """
    sample, step, neuron = at
    pair = [
        output.readout if is_readout else output.spikes[layer.name]
        for output in (batch.found, batch.expected)
    ]
    theirs, ours = (
        values[sample].reshape(-1, layer.neurons)[-1 if is_readout else step, neuron].item()
        for values in pair
    )
    if rounding is not None and not is_readout:
        ours = 1 - theirs  # by the program's rule on the float network's spikes
    first = {
        "sample": batch.begin + sample,
        "layer": layer.name,
        "step": step,
        "neuron": [int(i) for i in np.unravel_index(neuron, layer.shape)],
        "found": theirs,
        "expected": ours,
    }
    if is_readout and layer.fires:
        counted = "the spikes that the engine shows agree, its counts of them do not"
        return {**first, "cause": "spike count", "explanation": counted, "candidates": []}
    duration = batch.frames.shape[1]
    steps = (
        duration
        if is_readout
        else min(duration, max(step + STEPS_AFTER, MOST_VALUES // layer.neurons))
    )
    axes = tuple(range(1, pair[0].ndim))
    differs = (pair[0] != pair[1]).any(axes)
    others = np.flatnonzero(differs & (np.arange(len(batch.frames)) > sample))
    most = MOST_SAMPLES if rounding is None else MOST_FLOAT_SAMPLES
    samples = [sample, *(int(i) for i in others[: most - 1])]
    evidence = Evidence(
        batch.program,
        layer,
        sources=[batch.sources(layer, i, steps) for i in samples],
        found=[
            pair[0][i] if is_readout else pair[0][i, :steps].reshape(-1, layer.neurons)
            for i in samples
        ],
        rounding=rounding,
        unit=1.0 if rounding is None else _unit(layer) or 1.0,
    )
    return {**first, **diagnose(evidence, step, neuron), "samples_examined": len(samples)}


def beyond_rounding(
    batch: Batch, quantisation: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Describe the first layer of the float network that differs by more than rounding.

    `quantisation`: the manifest's entries. None unless a cause explains the difference.
    """
    entries = {entry.get("layer"): entry for entry in quantisation}
    for layer in batch.program.layers:
        if layer.fires and layer.name not in batch.found.spikes:
            continue
        rounding = rounding_of(layer, entries.get(layer.name))
        at = _first_gap(batch, layer, rounding)
        if at is None:
            continue
        first = describe(batch, layer, at, is_readout=not layer.fires, rounding=rounding)
        if first["cause"] != UNKNOWN:
            return first
    return None


def _unit(layer: Layer) -> float | None:
    """Return the factor that turns a float value of a layer into a membrane; None if not known."""
    return 1.0 if layer.fires else (64.0 * layer.scale if layer.scale else None)


def _first_gap(batch: Batch, layer: Layer, rounding: Rounding) -> tuple[int, int, int] | None:
    """Find (sample, step, neuron) where the float network first leaves the program's rule.

    The rule is applied to the network's own input spikes. Looks for the first sample that differs
    by more than rounding; None if none does.
    """
    unit, steps = _unit(layer), batch.frames.shape[1]
    if unit is None:
        return None
    for sample in range(min(MOST_FLOAT_SAMPLES, len(batch.frames))):
        if layer.fires:
            theirs = batch.found.spikes[layer.name][sample].reshape(steps, -1)
        else:
            theirs = batch.found.readout[sample]
        sources = batch.sources(layer, sample, steps)
        evidence = Evidence(
            batch.program, layer, sources=[sources], found=[theirs], rounding=rounding, unit=unit
        )
        [sums] = evidence.sums(layer)
        if layer.fires:
            wrong = evidence.wrong(evidence.right, sums, 0)
            if wrong.sum() > max(FEW, FEW_SPIKES * theirs.sum()):
                step, neuron = np.unravel_index(int(wrong.argmax()), wrong.shape)
                return sample, int(step), int(neuron)
        else:
            right = run(evidence.right, sums, evidence.bias)[1][-1]
            gap = np.maximum(np.abs(right - theirs * unit) - evidence.allowed[0][-1], 0)
            if gap.mean() > FEW_READOUT * right.std():
                return sample, steps - 1, int(gap.argmax())
    return None
