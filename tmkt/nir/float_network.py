"""Float network of a NIR graph, run by numpy alone. It calibrates the quantiser and is the float
engine.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tmkt.nir.conventions import Conventions
from tmkt.nir.file import read_nir
from tmkt.nir.graph import (
    Conv,
    Delay,
    Dense,
    Flatten,
    Neuron,
    Node,
    OrderedGraph,
    Pool,
    Scale,
    spiking,
)
from tmkt.nir.order import order
from tmkt.nir.tiles import tiles

if TYPE_CHECKING:
    import nir

Floats = NDArray[np.float32]
# of unrolled input patches at a time, so that they stay in cache (measured: 3.7 ms a sample, 6 with
# 2**22)
_COLUMN_BYTES = 2**20
_TILE_BYTES = 2**27  # of the patches of one frame: those of larger maps are unrolled in parts
_BATCH_BYTES = 2**27  # of all layers' activations of one batch


@dataclass(frozen=True)
class FloatOutput:
    """Output of the float network for N samples of T steps.

    - `readout` float32 [N, K]: the last affine node's output summed over T (the logits times T);
      spike counts if a spiking layer is last; membranes after the last step if neurons that do not
      fire are last.
    - `spikes` of every spiking layer: uint8 [N, T, *shape].
    - `peak` of every layer of neurons: the largest |membrane before reset| / threshold that
      occurred, or |current * r| / threshold where that is larger (of neurons that do not fire, in
      units of 1); of an affine read-out, the largest |sum over the steps so far|.
    """

    readout: Floats
    spikes: dict[str, NDArray[np.uint8]]
    peak: dict[str, float]


class FloatNetwork:
    """NIR graph that runs in float32: Euler steps, hard reset, spikes at >= or > as the file or the
    caller says (docs/nir.md).
    """

    def __init__(
        self, graph: "nir.NIRGraph | OrderedGraph", conventions: Conventions | None = None
    ) -> None:
        """Order the graph. `conventions`: where they differ from the graph's metadata. InputError
        for a graph that cannot be run.
        """
        self.graph = graph if isinstance(graph, OrderedGraph) else order(graph, conventions)
        self.layers = spiking(self.graph.nodes)

    @classmethod
    def load(cls, path: Path, named: Path | None = None) -> "FloatNetwork":
        """Read a .nir file; `named`: the file that it is a copy of, for messages.

        InputError where nir is not installed, or for a graph that cannot be run.
        """
        return cls(read_nir(path, named))

    def run(self, frames: NDArray[np.uint8]) -> FloatOutput:
        """Run frames uint8 [N, T, C, H, W]; every sample starts from zero states."""
        samples, steps = frames.shape[:2]
        if frames.shape[2:] != self.graph.input_shape:
            raise ValueError(
                f"frames of {frames.shape[2:]}, the network takes {self.graph.input_shape}"
            )
        nodes = self.graph.nodes
        last = nodes[-1]
        readout = np.zeros((samples, int(np.prod(last.shape))), np.float32)
        spikes = {
            node.name: np.zeros((samples, steps, *node.shape), np.uint8)
            for node in nodes
            if node.name in self.layers
        }
        peak = {
            node.name: 0.0 for node in nodes if isinstance(node.operation, Neuron) or node is last
        }
        per_sample = 4 * steps * sum(int(np.prod(node.shape)) for node in nodes)
        batch = max(1, _BATCH_BYTES // per_sample)
        last_reader = {source: node.name for node in nodes for source in node.sources}
        for at in range(0, samples, batch):
            part = slice(at, at + batch)
            values = {self.graph.input_name: frames[part].astype(np.float32)}
            for node in nodes:
                sources = [values[source] for source in node.sources if source in values]
                neurons = isinstance(node.operation, Neuron)
                if node.past or (len(sources) < len(node.sources) and not neurons):
                    continue  # within a loop: its neurons take these nodes step by step
                x = sources[0]
                for other in sources[1:]:
                    x = x + other
                if isinstance(node.operation, Neuron):
                    loops = [
                        _path(nodes, source, node.name)
                        for source in node.sources
                        if source not in values
                    ]
                    values[node.name], largest = _run(x, node, loops)
                    peak[node.name] = max(peak[node.name], largest)
                    if node.name in self.layers:
                        spikes[node.name][part] = values[node.name]
                else:
                    values[node.name] = _apply(x, node)
                for source in node.sources:
                    if last_reader[source] == node.name:
                        values.pop(source, None)
            out = values[last.name].reshape(len(x), steps, -1)
            if isinstance(last.operation, Neuron) and not last.operation.fires:
                readout[part] = out[:, -1]
                continue
            sums = np.cumsum(out, axis=1)
            readout[part] = sums[:, -1]
            if not isinstance(last.operation, Neuron):
                peak[last.name] = max(peak[last.name], float(np.abs(sums).max(initial=0.0)))
        return FloatOutput(readout, spikes, peak)


def _path(nodes: Sequence[Node], end: str, neurons: str) -> list[Node]:
    """List the nodes that bring a layer's own spikes back to it, `end` last."""
    named = {node.name: node for node in nodes}
    path = [named[end]]
    while neurons not in path[0].past:
        path.insert(0, named[path[0].sources[0]])
    return path


def _apply(x: Floats, node: Node) -> Floats:
    """Apply a stateless node to [n, T, *source shape], as one batch of n * T."""
    flat, operation = x.reshape(-1, *x.shape[2:]), node.operation
    if isinstance(operation, Conv):
        flat = _convolve(flat, operation, node.shape)
    elif isinstance(operation, Dense):
        flat = flat.reshape(len(flat), -1) @ operation.weight.T + operation.bias
    elif isinstance(operation, Pool):
        size, (_, height, width) = operation.size, node.shape
        whole = flat[:, :, : height * size, : width * size]
        flat = np.zeros((len(whole), *node.shape), np.float32)
        for row, column in np.ndindex(size, size):
            flat += whole[:, :, row::size, column::size]
        if operation.average:
            flat /= np.float32(size**2)
    elif isinstance(operation, Scale):
        flat = flat * operation.factor
    elif isinstance(operation, Delay):
        return _delay(x, operation)
    else:
        assert isinstance(operation, Flatten)
    return flat.reshape(*x.shape[:2], *node.shape)


def _convolve(x: Floats, conv: Conv, shape: tuple[int, ...]) -> Floats:
    """Convolve [M, C, H, W] to [M, *shape]: unroll patches, then one matrix product a group."""
    (py, px), (sy, sx), (dy, dx), groups = conv.padding, conv.stride, conv.dilation, conv.groups
    channels, _, ky, kx = conv.weight.shape
    taps, positions = conv.weight[0].size, shape[1] * shape[2]
    weight = conv.weight.reshape(groups, channels // groups, taps)
    out = np.empty((len(x), groups, channels // groups, *shape[1:]), np.float32)
    batch = max(1, _COLUMN_BYTES // (4 * groups * taps * positions))
    for at in range(0, len(x), batch):
        padded = np.pad(x[at : at + batch], ((0, 0), (0, 0), (py, py), (px, px)))
        windows = np.lib.stride_tricks.sliding_window_view(
            padded, (dy * (ky - 1) + 1, dx * (kx - 1) + 1), axis=(2, 3)
        )
        windows = windows[:, :, ::sy, ::sx, ::dy, ::dx].transpose(0, 1, 4, 5, 2, 3)
        for lines, columns in tiles(shape[1], shape[2], _TILE_BYTES // (4 * groups * taps)):
            patches = np.ascontiguousarray(windows[..., lines, columns])
            size = patches.shape[4:]
            product = np.matmul(weight, patches.reshape(len(padded), groups, taps, -1))
            out[at : at + batch, ..., lines, columns] = product.reshape(*product.shape[:3], *size)
    out += conv.bias.reshape(groups, channels // groups, 1, 1)
    return out.reshape(-1, *shape)


def _delay(x: Floats, delay: Delay) -> Floats:
    """Delay [n, T, *shape] by each element's steps."""
    out = np.zeros_like(x)
    for steps in np.unique(delay.steps):
        here = delay.steps == steps
        if steps < x.shape[1]:
            out[:, steps:, here] = x[:, : x.shape[1] - steps, here]
    return out


def _run(x: Floats, node: Node, loops: list[list[Node]]) -> tuple[Floats, float]:
    """Run neurons on inputs [n, T, *shape].

    Returns their spikes, or membranes if they do not fire, of that shape, and their peak. `loops`:
    the paths on which their own spikes of the step before come back to them.
    """
    neuron = node.operation
    assert isinstance(neuron, Neuron)
    out = np.empty_like(x)
    v = np.zeros_like(x[:, 0])
    current = np.zeros_like(v)
    most = np.zeros_like(v)
    history = 1 + sum(
        int(step.operation.steps.max())
        for path in loops
        for step in path
        if isinstance(step.operation, Delay)
    )
    for t in range(x.shape[1]):
        driven = x[:, t]
        for path in loops:
            back = out[:, max(0, t - history) : t] if t else np.zeros_like(out[:, :1])
            for step in path:
                back = _apply(back, step)
            driven = driven + back[:, -1]
        if neuron.current_decay is not None and neuron.gain is not None:
            driven = current = current - neuron.current_decay * current + neuron.gain * driven
        driven = neuron.r * driven
        v = v + driven if neuron.decay is None else v + neuron.decay * ((neuron.leak - v) + driven)
        np.maximum(most, np.abs(v), out=most)
        if neuron.current_decay is not None:
            np.maximum(
                most, np.abs(driven if neuron.decay is None else neuron.decay * driven), out=most
            )
        if not neuron.fires:
            out[:, t] = v
            continue
        fired = v > neuron.threshold if neuron.strict else v >= neuron.threshold
        out[:, t] = fired
        v = np.where(fired, neuron.reset, v)
    return out, float((most / neuron.threshold).max(initial=0.0))
