"""The float network of a NIR graph, run by numpy alone: calibrates the quantiser and is the float engine."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tmkt.nir_graph import Conv, Dense, Flatten, Neuron, Node, Pool, order, read_nir, spiking

if TYPE_CHECKING:
    import nir

Floats = NDArray[np.float32]
_COLUMN_BYTES = 2**20  # of unrolled input patches at a time: they stay in cache (measured: 3.7 ms a sample, 6 with 2**22)
_BATCH_BYTES = 2**27  # of all layers' activations of one batch


@dataclass(frozen=True)
class FloatOutput:
    """What the float network gives for N samples of T steps.

    `readout` float32 [N, K]: the last affine node's output summed over T (the logits times T), or spike counts if a spiking layer is last.
    `spikes` of every spiking layer: uint8 [N, T, *shape]. `peak` per spiking layer: the largest |membrane before reset| / threshold that
    occurred; of the read-out, the largest |sum over the steps so far|.
    """

    readout: Floats
    spikes: dict[str, NDArray[np.uint8]]
    peak: dict[str, float]


class FloatNetwork:
    """A feed-forward NIR graph in float32: Euler steps, spike at v >= threshold (SpikingJelly's rule, not NIR's >), hard reset."""

    def __init__(self, graph: "nir.NIRGraph", dt: float | None = None) -> None:
        """`dt` in seconds; None takes it from the graph's metadata, or 1e-4. InputError for a graph that it cannot run."""
        self.graph = order(graph, dt)
        self.layers = spiking(self.graph.nodes)

    @classmethod
    def load(cls, path: Path) -> "FloatNetwork":
        """Reads a .nir file. InputError where nir is not installed or the file is not one that it can run."""
        return cls(read_nir(path))

    def run(self, frames: NDArray[np.uint8]) -> FloatOutput:
        """Runs frames uint8 [N, T, C, H, W]; every sample starts from zero states."""
        samples, steps = frames.shape[:2]
        if frames.shape[2:] != self.graph.input_shape:
            raise ValueError(f"frames of {frames.shape[2:]}, the network takes {self.graph.input_shape}")
        nodes = self.graph.nodes
        readout = np.zeros((samples, int(np.prod(nodes[-1].shape))), np.float32)
        spikes = {node.name: np.zeros((samples, steps, *node.shape), np.uint8) for node in nodes if node.name in self.layers}
        peak = dict.fromkeys([*self.layers, nodes[-1].name], 0.0)
        per_sample = 4 * steps * sum(int(np.prod(node.shape)) for node in nodes)
        batch = max(1, _BATCH_BYTES // per_sample)
        for at in range(0, samples, batch):
            part = slice(at, at + batch)
            values = {self.graph.input_name: frames[part].astype(np.float32)}
            for node in nodes:
                x = values[node.sources[0]]
                for source in node.sources[1:]:
                    x = x + values[source]
                if isinstance(node.operation, Neuron):
                    values[node.name], largest = _spike(x, node.operation)
                    peak[node.name] = max(peak[node.name], largest)
                    spikes[node.name][part] = values[node.name]
                else:
                    values[node.name] = _apply(x, node)
            sums = np.cumsum(values[nodes[-1].name].reshape(len(x), steps, -1), axis=1)
            readout[part] = sums[:, -1]
            if nodes[-1].name not in self.layers:
                peak[nodes[-1].name] = max(peak[nodes[-1].name], float(np.abs(sums).max(initial=0.0)))
        return FloatOutput(readout, spikes, peak)


def _apply(x: Floats, node: Node) -> Floats:
    """A stateless node on [n, T, *source shape], which it sees as one batch of n * T."""
    flat, operation = x.reshape(-1, *x.shape[2:]), node.operation
    if isinstance(operation, Conv):
        flat = _convolve(flat, operation, node.shape)
    elif isinstance(operation, Dense):
        flat = flat @ operation.weight.T + operation.bias
    elif isinstance(operation, Pool):
        size, (_, height, width) = operation.size, node.shape
        whole = flat[:, :, : height * size, : width * size]
        flat = np.zeros((len(whole), *node.shape), np.float32)
        for row, column in np.ndindex(size, size):
            flat += whole[:, :, row::size, column::size]
        if operation.average:
            flat /= np.float32(size**2)
    else:
        assert isinstance(operation, Flatten)
    return flat.reshape(*x.shape[:2], *node.shape)


def _convolve(x: Floats, conv: Conv, shape: tuple[int, ...]) -> Floats:
    """[M, C, H, W] to [M, *shape]: patches side by side, then one matrix product per group."""
    (py, px), (sy, sx), (dy, dx), groups = conv.padding, conv.stride, conv.dilation, conv.groups
    channels, _, ky, kx = conv.weight.shape
    taps, positions = conv.weight[0].size, shape[1] * shape[2]
    weight = conv.weight.reshape(groups, channels // groups, taps)
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (dy * (ky - 1) + 1, dx * (kx - 1) + 1), axis=(2, 3))
    windows = windows[:, :, ::sy, ::sx, ::dy, ::dx].transpose(0, 1, 4, 5, 2, 3)
    out = np.empty((len(x), groups, channels // groups, positions), np.float32)
    batch = max(1, _COLUMN_BYTES // (4 * groups * taps * positions))
    for at in range(0, len(x), batch):
        columns = np.ascontiguousarray(windows[at : at + batch]).reshape(-1, groups, taps, positions)
        np.matmul(weight, columns, out=out[at : at + batch])
    out += conv.bias.reshape(groups, channels // groups, 1)
    return out.reshape(-1, *shape)


def _spike(x: Floats, neuron: Neuron) -> tuple[Floats, float]:
    """Spikes [n, T, *shape] of inputs [n, T, *shape], and the largest |membrane before reset| / threshold."""
    spikes = np.empty_like(x)
    v = np.zeros_like(x[:, 0])
    most = np.zeros_like(v)
    for t in range(x.shape[1]):
        driven = neuron.r * x[:, t]
        v = v + driven if neuron.decay is None else v + neuron.decay * ((neuron.leak - v) + driven)
        np.maximum(most, np.abs(v), out=most)
        fired = v >= neuron.threshold
        spikes[:, t] = fired
        v = np.where(fired, neuron.reset, v)
    return spikes, float((most / neuron.threshold).max(initial=0.0))
