"""Comparison of one engine with the reference, batch by batch.

Counts the mismatches of each layer and keeps the first divergence with its diagnosis.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.engines.types import Engine, EngineOutput
from tmkt.deploy.parity.diagnose import UNKNOWN, Evidence, diagnose
from tmkt.deploy.parity.rules import bias_of, rule_of, run, synaptic_sums
from tmkt.program.model import INPUT, Layer, Program

# Limits of a diagnosis: samples (enough to tell causes apart, few enough to be quick), neuron-steps
# of one layer and sample, and steps after the divergence that are looked at in any case.
MOST_SAMPLES = 4
MOST_VALUES = 2**22
STEPS_AFTER = 16
# Share of a layer's spikes, or of its read-out's spread, that may differ from float by rounding
# alone. About 1 % do (measured).
ROUNDING = 0.05
FEW = 20  # spikes that may differ from float before a fault is looked for; ours


@dataclass
class LayerCounts:
    """Counts of one layer: neuron-steps compared, how many differ, and the spikes of both sides.

    Of the read-out: membranes compared and how many differ. `membranes_compared` is 0 for an engine
    whose membranes are not integers.
    """

    name: str
    spikes_compared: int = 0
    spike_mismatches: int = 0
    spikes: int = 0
    reference_spikes: int = 0
    membranes_compared: int = 0
    membrane_mismatches: int = 0


@dataclass
class Comparison:
    """The comparison of one engine with the reference, after the batches so far."""

    engine: Engine
    program: Program
    layers: dict[str, LayerCounts] = field(default_factory=dict)
    first: dict[str, Any] | None = None
    predictions: list[NDArray[np.int64]] = field(default_factory=list)
    readouts: list[NDArray[Any]] = field(default_factory=list)
    faults: list[dict[str, int] | None] = field(default_factory=list)

    @property
    def shows_spikes(self) -> bool:
        return any(layer.spikes_compared for layer in self.layers.values())

    def total(self, what: str) -> int:
        """Sum one of the counts over all layers."""
        return sum(getattr(layer, what) for layer in self.layers.values())

    def to_json(self) -> list[dict[str, Any]]:
        """Return the counts of the layers that the engine shows."""
        return [asdict(layer) for layer in self.layers.values()]

    def add(
        self, begin: int, frames: NDArray[np.uint8], found: EngineOutput, expected: EngineOutput
    ) -> None:
        """Add a batch: frames uint8 [n, T, C, H, W] of the samples from `begin` on, and the outputs
        of engine and reference.
        """
        self.predictions.append(found.predictions)
        self.readouts.append(found.readout)
        self.faults.append(found.faults)
        candidates = [
            at
            for order, layer in enumerate(self.program.layers)
            if (at := self._spikes(order, layer, found, expected))
        ]
        if self.engine.exact and (at := self._readout(frames.shape[1], found, expected)):
            candidates.append(at)
        if self.first is not None:
            return
        if not self.engine.exact:
            self.first = self._beyond_rounding(begin, frames, found, expected)
        elif candidates:
            sample, step, order, neuron = min(candidates)
            layer = self.program.layers[min(order, len(self.program.layers) - 1)]
            self.first = _divergence(
                self.program,
                layer,
                begin,
                (sample, step, neuron),
                frames,
                found,
                expected,
                is_readout=order == len(self.program.layers),
            )

    def _spikes(
        self, order: int, layer: Layer, found: EngineOutput, expected: EngineOutput
    ) -> tuple[int, int, int, int] | None:
        """Count a layer's spikes; return (sample, step, order, neuron) of the first mismatch."""
        if layer.name not in found.spikes:
            return None
        ours, theirs = expected.spikes[layer.name], found.spikes[layer.name]
        if theirs.shape != ours.shape:
            raise ValueError(
                f"engine {self.engine.name!r} gave spikes {theirs.shape} of layer {layer.name!r},"
                f" expected {ours.shape}"
            )
        counts = self.layers.setdefault(layer.name, LayerCounts(layer.name))
        differs = theirs != ours
        counts.spikes_compared += ours.size
        counts.spike_mismatches += int(np.count_nonzero(differs))
        counts.spikes += int(np.count_nonzero(theirs))
        counts.reference_spikes += int(np.count_nonzero(ours))
        if not differs.any():
            return None
        sample, step, neuron = np.unravel_index(
            int(differs.argmax()), (*differs.shape[:2], layer.neurons)
        )
        return int(sample), int(step), order, int(neuron)

    def _readout(
        self, steps: int, found: EngineOutput, expected: EngineOutput
    ) -> tuple[int, int, int, int] | None:
        """Count the read-out; a mismatch is dated to the last step, after all layers."""
        name = self.program.layers[-1].name
        counts = self.layers.setdefault(name, LayerCounts(name))
        differs = found.readout != expected.readout
        counts.membranes_compared += differs.size
        counts.membrane_mismatches += int(np.count_nonzero(differs))
        if not differs.any():
            return None
        sample, output = np.unravel_index(int(differs.argmax()), differs.shape)
        return int(sample), steps - 1, len(self.program.layers), int(output)

    def _beyond_rounding(
        self, begin: int, frames: NDArray[np.uint8], found: EngineOutput, expected: EngineOutput
    ) -> dict[str, Any] | None:
        """Return the first layer of an inexact engine that differs by more than rounding.

        None unless a cause explains the difference: otherwise it may be rounding alone.
        """
        samples = range(min(2, len(frames)))
        for layer in self.program.layers:
            if layer.fires and layer.name not in found.spikes:
                continue
            at = _largest_gap(layer, samples, frames, found, expected)
            if at is None:
                continue
            first = _divergence(
                self.program,
                layer,
                begin,
                at,
                frames,
                found,
                expected,
                is_readout=not layer.fires,
                exact=False,
            )
            if first["cause"] != UNKNOWN:
                return first
        return None


def _sources(
    layer: Layer, sample: int, steps: int, frames: NDArray[np.uint8], *outputs: EngineOutput
) -> dict[str, Any]:
    """Return the input of a layer in one sample, [T, *shape] by source name.

    Spikes come from the first of `outputs` that shows them.
    """
    sources = {INPUT: frames[sample, :steps]}
    for name in {synapse.source for synapse in layer.synapses} - {INPUT}:
        shown = next((output.spikes[name] for output in outputs if name in output.spikes), None)
        if shown is not None:  # a layer that does not fire sends nothing
            sources[name] = shown[sample, :steps]
    return sources


def _unit(layer: Layer, exact: bool) -> float | None:
    """Return the factor that turns a read-out value into a membrane; None if it is not known."""
    return 1.0 if exact else (64.0 * layer.scale if layer.scale else None)


def _divergence(
    program: Program,
    layer: Layer,
    begin: int,
    at: tuple[int, int, int],
    frames: NDArray[np.uint8],
    found: EngineOutput,
    expected: EngineOutput,
    is_readout: bool,
    exact: bool = True,
) -> dict[str, Any]:
    """Describe and diagnose the divergence at (sample, step, neuron) of a batch.

    `begin`: number of the batch's first sample. `is_readout`: read-out values differ, not spikes.
    """
    sample, step, neuron = at
    pair = [
        output.readout if is_readout else output.spikes[layer.name] for output in (found, expected)
    ]
    theirs, ours = (
        values[sample].reshape(-1, layer.neurons)[-1 if is_readout else step, neuron].item()
        for values in pair
    )
    place = [int(i) for i in np.unravel_index(neuron, layer.shape)]
    first = {
        "sample": begin + sample,
        "layer": layer.name,
        "step": step,
        "neuron": place,
        "found": theirs,
        "expected": ours,
    }
    if is_readout and layer.fires:
        counted = "the spikes that the engine shows agree, its counts of them do not"
        return {**first, "cause": "spike count", "explanation": counted, "candidates": []}
    steps = (
        frames.shape[1]
        if is_readout
        else min(frames.shape[1], max(step + STEPS_AFTER, MOST_VALUES // layer.neurons))
    )
    axes = tuple(range(1, pair[0].ndim))
    others = np.flatnonzero((pair[0] != pair[1]).any(axes) & (np.arange(len(frames)) > sample))
    most = MOST_SAMPLES if exact else 2
    samples = [sample, *(int(i) for i in others[: most - 1])]
    evidence = Evidence(
        program,
        layer,
        sources=[_sources(layer, i, steps, frames, found, expected) for i in samples],
        found=[
            pair[0][i] if is_readout else pair[0][i, :steps].reshape(-1, layer.neurons)
            for i in samples
        ],
        exact=exact,
        unit=_unit(layer, exact) or 1.0,
    )
    return {**first, **diagnose(evidence, step, neuron), "samples_examined": len(samples)}


def _largest_gap(
    layer: Layer,
    samples: range,
    frames: NDArray[np.uint8],
    found: EngineOutput,
    expected: EngineOutput,
) -> tuple[int, int, int] | None:
    """Find (sample, step, neuron) where an inexact engine first leaves the program's rule.

    The rule is applied to the engine's own input spikes. Looks for the first of `samples` that
    differs by more than rounding; None if none does.
    """
    unit = _unit(layer, exact=False)
    for sample in samples:
        steps = frames.shape[1]
        sums = synaptic_sums(layer, _sources(layer, sample, steps, frames, found, expected))
        fired, membranes = run(rule_of(layer), sums, bias_of(layer))
        if layer.fires:
            theirs = found.spikes[layer.name][sample].reshape(steps, -1)
            differs = fired != theirs
            if differs.sum() > max(FEW, ROUNDING * max(fired.sum(), theirs.sum())):
                step, neuron = np.unravel_index(int(differs.argmax()), differs.shape)
                return sample, int(step), int(neuron)
        elif unit is not None:
            right = membranes[-1] / unit
            gap = np.abs(right - found.readout[sample])
            if gap.mean() > ROUNDING * right.std():
                return sample, steps - 1, int(gap.argmax())
    return None
