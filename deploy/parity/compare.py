"""Comparison of one engine with the reference, batch by batch.

Counts the mismatches of each layer and keeps the first divergence with its diagnosis.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.engines.types import Engine, EngineOutput
from tmkt.deploy.parity.divergence import Batch, beyond_rounding, describe
from tmkt.program.model import Layer, Program


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
    """The comparison of one engine with the reference, after the batches so far.

    `quantisation`: the manifest's entries, which say what the quantiser did on purpose.
    """

    engine: Engine
    program: Program
    quantisation: Sequence[Mapping[str, Any]] = ()
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
        batch = Batch(self.program, begin, frames, found, expected)
        if not self.engine.exact:
            self.first = beyond_rounding(batch, self.quantisation)
        elif candidates:
            sample, step, order, neuron = min(candidates)
            layer = self.program.layers[min(order, len(self.program.layers) - 1)]
            is_readout = order == len(self.program.layers)
            self.first = describe(batch, layer, (sample, step, neuron), is_readout)

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
