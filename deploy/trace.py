"""Trace of a run: its spikes, synaptic operations and neuron updates.

They are counted from the frames and spikes that any engine shows.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.kernels import kernel
from tmkt.program.connectivity import connectivity_of
from tmkt.program.model import INPUT, Program

Counts = NDArray[np.int64]


@dataclass(frozen=True)
class LayerTrace:
    """Counts of one layer, of every sample and step: int64 [N, T] each.

    `source_spikes`: spikes of the layer's sources, each source once.
    `spikes`: its own; 0 for a layer that does not fire.
    `synops`: synaptic operations, one per pair of a spiking source site and a synapse it drives.
    `nonzero_synops`: those with a weight other than zero; a chip that stores the zeros spends an
    operation on them too.
    `updates`: neuron updates, one a neuron and step whatever the activity.

    A site with a count above 1 is one graded spike, not several. A delayed synapse counts at the
    step at which its source sends, even if it delivers after the last step. A recurrent layer is a
    source of itself. Sites that a crop or a pooling drops drive nothing. The counts are those of
    the chip, where average pooling is part of the kernel: every spike is delivered on its own.
    """

    name: str
    neurons: int
    source_spikes: Counts
    spikes: Counts
    synops: Counts
    nonzero_synops: Counts

    @property
    def updates(self) -> Counts:
        return np.full_like(self.synops, self.neurons)


@dataclass(frozen=True)
class Trace:
    """Counts of N samples of T steps, layer by layer.

    Input spikes are the first layers' `source_spikes`, and in no layer's `spikes`.
    """

    layers: tuple[LayerTrace, ...]

    @property
    def samples(self) -> int:
        return len(self.layers[0].synops)

    @property
    def steps(self) -> int:
        return int(self.layers[0].synops.shape[1])

    def per_sample(self, what: str) -> Counts:
        """Sum one of the counts over layers and steps: int64 [N].

        `what`: "spikes", "synops", "nonzero_synops" or "updates".
        """
        total = np.zeros(self.samples, np.int64)
        for layer in self.layers:
            total += getattr(layer, what).sum(1)
        return total

    def to_json(self) -> dict[str, Any]:
        """Return means a sample with the standard deviation over the samples, in all and by layer.

        Each layer also has the mean of each step.
        """
        kinds = ("spikes", "synops", "nonzero_synops", "updates")
        report: dict[str, Any] = {"samples": self.samples, "steps": self.steps}
        for kind in kinds:
            report[f"{kind}_per_sample"], report[f"{kind}_sd"] = _spread(self.per_sample(kind))
        report["layers"] = []
        for layer in self.layers:
            entry: dict[str, Any] = {"name": layer.name, "neurons": layer.neurons}
            for kind in ("source_spikes", *kinds):
                counts = getattr(layer, kind)
                entry[f"{kind}_per_sample"], entry[f"{kind}_sd"] = _spread(counts.sum(1))
            entry["synops_per_step"] = layer.synops.mean(0).tolist()
            report["layers"].append(entry)
        return report


def _spread(counts: Counts) -> tuple[float, float | None]:
    """Return mean and sample standard deviation; None for a single sample."""
    return float(counts.mean()), float(counts.std(ddof=1)) if len(counts) > 1 else None


@kernel
def _count(spikes: Any, synapses: Any, nonzero: Any, out: Any) -> None:
    """Sum [samples, steps, sites] into out [3, samples, steps].

    The three are spiking sites, synapses that they drive, and those with a weight other than zero.
    """
    samples, steps, sites = spikes.shape
    for n in range(samples):
        for t in range(steps):
            fired = driven = useful = 0
            for i in range(sites):
                if spikes[n, t, i] != 0:
                    fired += 1
                    driven += synapses[i]
                    useful += nonzero[i]
            out[0, n, t], out[1, n, t], out[2, n, t] = fired, driven, useful


def count(
    program: Program, frames: NDArray[np.uint8], spikes: dict[str, NDArray[np.uint8]]
) -> Trace:
    """Count a run: frames uint8 [N, T, C, H, W], and spikes [N, T, *shape] of every layer that
    fires.

    Raises InputError if the engine did not show the spikes of a layer that fires.
    """
    samples, steps = frames.shape[:2]
    missing = [layer.name for layer in program.layers if layer.fires and layer.name not in spikes]
    if missing:
        raise InputError(
            f"the engine shows no spikes of layer {missing[0]!r}, so nothing can be counted; choose"
            " --engine simulator"
        )
    layers = []
    for layer in program.layers:
        totals = np.zeros((3, samples, steps), np.int64)
        counted: set[str] = set()
        for synapse in layer.synapses:
            if synapse.source != INPUT and synapse.source not in spikes:
                continue  # a source that does not fire
            source = np.ascontiguousarray(
                (frames if synapse.source == INPUT else spikes[synapse.source]).reshape(
                    samples, steps, -1
                )
            )
            table = connectivity_of(program, layer, synapse)
            part = np.zeros_like(totals)
            _count(source, table.fan_out().reshape(-1), table.nonzero_fan_out().reshape(-1), part)
            if synapse.source in counted:
                part[0] = 0
            counted.add(synapse.source)
            totals += part
        own = (
            np.count_nonzero(spikes[layer.name].reshape(samples, steps, -1), axis=2)
            if layer.fires
            else np.zeros((samples, steps))
        )
        layers.append(
            LayerTrace(
                layer.name,
                layer.neurons,
                source_spikes=totals[0],
                spikes=own.astype(np.int64),
                synops=totals[1],
                nonzero_synops=totals[2],
            )
        )
    return Trace(tuple(layers))


def join(traces: Iterable[Trace]) -> Trace:
    """Join the traces of several batches of one program, one after another."""
    layers = []
    for parts in zip(*(trace.layers for trace in traces), strict=True):
        kinds = (
            np.concatenate([getattr(part, kind) for part in parts])
            for kind in ("source_spikes", "spikes", "synops", "nonzero_synops")
        )
        layers.append(LayerTrace(parts[0].name, parts[0].neurons, *kinds))
    return Trace(tuple(layers))
