"""Calibration: statistics of synapses' inputs, and spikes of integer layers, on recordings."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import inlined, kernel
from tmkt.nir.tiles import tiles
from tmkt.program import arithmetic
from tmkt.program.arithmetic import DECAY_ONE, STATE_ONE, STATE_SHIFT
from tmkt.program.model import INPUT, Layer, Synapse, pooled

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Part = tuple[slice, slice]
Sources = Callable[[str], Bytes]  # spikes [N, T, ...] by a layer's name, or the input's counts
ROWS = 8000  # of inputs of single neurons: what the statistics of a group are taken from, ours
BLOCK = 1152  # inputs whose joint statistics are taken: 128 channels of a 3x3 kernel
_CHUNK_BYTES = 2**25  # of unrolled inputs at a time
_ROW_BYTES = 2**29  # of the inputs that the statistics are taken from

_to_word: Any = inlined(arithmetic.to_word)
_wrap: Any = inlined(arithmetic.wrap)
_clip: Any = inlined(arithmetic.clip)


@dataclass(frozen=True)
class InputStatistics:
    """Statistics of the inputs of one group's neurons, K weights each: `mean` [K], and the second
    moments of blocks of inputs, [k, k] each, in order.

    Moments across blocks are left out: all moments of thousands of inputs would take minutes.
    """

    mean: Doubles
    second: list[Doubles]


def input_statistics(
    synapses: Sequence[Synapse], kernels: tuple[int, ...], shape: tuple[int, ...], sources: Sources
) -> list[InputStatistics]:
    """Compute the statistics of each group's inputs, from at most ROWS neurons, steps and samples,
    evenly drawn.

    `synapses`: those that share a weight array of shape `kernels`, whose inputs add up; `shape` is
    the layer's. Delays are left out: they change when inputs arrive, not what arrives.
    """
    found = []
    for group in _rows(synapses, kernels, shape, sources):
        blocks = [group[:, start : start + BLOCK] for start in range(0, group.shape[1], BLOCK)]
        found.append(
            InputStatistics(
                group.mean(0, dtype=np.float64),
                [(block.T @ block).astype(np.float64) / len(block) for block in blocks],
            )
        )
    return found


def mean_inputs(
    synapses: Sequence[Synapse], kernels: tuple[int, ...], shape: tuple[int, ...], sources: Sources
) -> list[Doubles]:
    """Compute the means of `input_statistics` alone."""
    return [group.mean(0, dtype=np.float64) for group in _rows(synapses, kernels, shape, sources)]


def _rows(
    synapses: Sequence[Synapse], kernels: tuple[int, ...], shape: tuple[int, ...], sources: Sources
) -> Floats:
    """Collect inputs of neurons, [groups, rows, K], of not more than _ROW_BYTES."""
    together = [sources(synapse.source) for synapse in synapses]
    samples, steps = together[0].shape[:2]
    per_step = int(np.prod(shape[1:])) if len(kernels) == 4 else 1
    taps = max(_taps(synapse, kernels) for synapse in synapses)
    size = max(taps * per_step, *(int(np.prod(spikes.shape[2:])) for spikes in together))
    frames = max(1, min(samples * steps, ROWS // per_step, _ROW_BYTES // (4 * size)))
    chosen = np.arange(frames) * (samples * steps) // frames
    flat = [spikes.reshape(-1, *spikes.shape[2:])[chosen] for spikes in together]
    part = _spread(shape, max(1, _ROW_BYTES // (4 * taps))) if len(kernels) == 4 else None
    rows = [
        _inputs(spikes, synapse, kernels, shape, part)
        for spikes, synapse in zip(flat, synapses, strict=True)
    ]
    return np.sum(rows, axis=0, dtype=np.float32) if len(rows) > 1 else rows[0]


def _taps(synapse: Synapse, kernels: tuple[int, ...]) -> int:
    """Count the inputs of a place, of all groups of a convolution."""
    return int(np.prod(kernels[1:])) * (synapse.groups if synapse.kind == "conv" else 1)


def _spread(shape: tuple[int, ...], most: int) -> Part:
    """Choose lines and columns of a map, evenly spread and at most about so many places."""
    height, width = shape[1:]
    apart = -(-height * width // most)
    between_columns = min(width, apart)
    return slice(None, None, -(-apart // between_columns)), slice(None, None, between_columns)


def _inputs(
    spikes: Bytes,
    synapse: Synapse,
    kernels: tuple[int, ...],
    shape: tuple[int, ...],
    part: Part | None = None,
) -> Floats:
    """Unroll what the neurons of each group see of sources [M, ...]: [groups, M * positions, K].

    `part`: lines and columns of a convolution's output, all unless told.
    """
    flat = spikes.astype(np.float32)
    if synapse.pool > 1:
        k = synapse.pool
        channels, height, width = pooled(flat.shape[1:], k)
        flat = (
            flat[:, :, : height * k, : width * k]
            .reshape(-1, channels, height, k, width, k)
            .sum((3, 5))
        )
    if synapse.kind == "dense":
        return flat.reshape(1, len(flat), -1)
    (py, px), (sy, sx), (dy, dx), groups = (
        synapse.padding,
        synapse.stride,
        synapse.dilation,
        synapse.groups,
    )
    ky, kx = kernels[2:]
    padded = np.pad(flat, ((0, 0), (0, 0), (py, py), (px, px)))
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (dy * (ky - 1) + 1, dx * (kx - 1) + 1), axis=(2, 3)
    )
    windows = windows[:, :, ::sy, ::sx, ::dy, ::dx][:, :, : shape[1], : shape[2]]
    if part is not None:
        windows = windows[:, :, part[0], part[1]]
    parted = windows.reshape(len(flat), groups, -1, *windows.shape[2:]).transpose(
        1, 0, 3, 4, 2, 5, 6
    )
    return np.ascontiguousarray(parted).reshape(groups, -1, flat.shape[1] // groups * ky * kx)


@dataclass(frozen=True)
class LayerRun:
    """Output of a layer of integers: `spikes` uint8 [N, T, *shape], or the `membrane` after the
    last step, int64 [N, neurons], if it never fires.
    """

    spikes: Bytes
    membrane: NDArray[np.int64]


def run_layer(layer: Layer, sources: Sources, samples: int, steps: int) -> LayerRun:
    """Run one layer as docs/program.md says, from zero states."""
    spikes = np.zeros((samples, steps, layer.neurons if layer.fires else 0), np.uint8)
    membrane = np.zeros((samples, layer.neurons), np.float64)
    forward = [synapse for synapse in layer.synapses if synapse.source != layer.name]
    loops = [
        (synapse, _delays(synapse)) for synapse in layer.synapses if synapse.source == layer.name
    ]
    bias = np.repeat(layer.bias.astype(np.float64), layer.neurons // len(layer.bias))
    keeps = float(DECAY_ONE - layer.current_decay), float(DECAY_ONE - layer.voltage_decay)
    for part in _chunks(layer, samples, steps):
        sums = np.zeros((part.stop - part.start, steps, layer.neurons), np.float32)
        for synapse in forward:
            _add_sums(sums, synapse, sources(synapse.source)[part], layer.shape)
        u, v = (np.zeros(sums[:, 0].shape) for _ in range(2))
        for t in range(steps):
            now = sums[:, t].astype(np.float64)
            for synapse, delays in loops:
                for delay in np.unique(delays):
                    if t - delay - 1 >= 0:
                        late = spikes[part, t - delay - 1].reshape(-1, *layer.shape)
                        [seen] = _inputs(late, synapse, synapse.weight.shape, layer.shape)
                        now += (
                            seen @ np.where(delays == delay, synapse.weight, 0).astype(np.float64).T
                        )
            fired = np.zeros(now.shape, np.uint8)
            threshold = float(layer.threshold << STATE_SHIFT) if layer.fires else np.inf
            _step(now, bias, *keeps, threshold, u, v, fired)  # type: ignore[no-untyped-call]
            if layer.fires:
                spikes[part, t] = fired
        membrane[part] = v
    shape = layer.shape if layer.fires else (0,)
    return LayerRun(spikes.reshape(samples, steps, *shape), membrane.astype(np.int64))


@kernel
def _step(sums, bias, keep_current, keep, threshold, u, v, fired):  # type: ignore[no-untyped-def]
    """Update the neurons by one step, in place: the rule of tmkt.program.arithmetic on integers in
    float64, which holds all of them exactly.
    """
    for n in range(sums.shape[0]):
        for i in range(sums.shape[1]):
            kept = np.trunc(u[n, i] * keep_current / DECAY_ONE)
            current = _wrap(_to_word(kept + STATE_ONE * sums[n, i]))
            u[n, i] = current
            kept = np.trunc(v[n, i] * keep / DECAY_ONE)
            h = _clip(kept + current + STATE_ONE * bias[i])
            fires = h > threshold
            fired[n, i] = fires
            v[n, i] = 0.0 if fires else h


def _chunks(layer: Layer, samples: int, steps: int) -> Iterator[slice]:
    values = (
        max(synapse.weight[0].size for synapse in layer.synapses)
        * (layer.neurons // layer.shape[0])
        + layer.neurons
    )
    at_once = max(1, _CHUNK_BYTES // (8 * steps * values))
    return (slice(start, min(start + at_once, samples)) for start in range(0, samples, at_once))


def _delays(synapse: Synapse) -> NDArray[np.int64]:
    return (
        np.zeros(synapse.weight.shape, np.int64)
        if synapse.delays is None
        else synapse.delays.astype(np.int64)
    )


def _add_sums(sums: Floats, synapse: Synapse, spikes: Bytes, shape: tuple[int, ...]) -> None:
    """Add what a synapse delivers to [n, T, neurons]. The sums are exact in whatever order: below
    2^23, of float32 products of small integers.
    """
    n, steps = spikes.shape[:2]
    groups = synapse.groups if synapse.kind == "conv" else 1
    outputs, places = len(synapse.weight) // groups, int(np.prod(shape[1:]))
    weights = synapse.weight.reshape(groups, outputs, -1).astype(np.float32)
    flat, into = spikes.reshape(-1, *spikes.shape[2:]), sums.reshape(n * steps, *shape)
    if synapse.delays is None and synapse.kind == "conv":
        taps = _taps(synapse, synapse.weight.shape)
        frames = max(1, _CHUNK_BYTES // (4 * max(taps * places, flat[0].size)))
        for at in range(0, len(flat), frames):
            for part in tiles(shape[1], shape[2], max(1, _CHUNK_BYTES // (4 * taps))):
                inputs = _inputs(flat[at : at + frames], synapse, synapse.weight.shape, shape, part)
                target = into[at : at + frames, :, part[0], part[1]]
                for group, (rows, weight) in enumerate(zip(inputs, weights, strict=True)):
                    found = (rows @ weight.T).reshape(len(target), *target.shape[2:], outputs)
                    channels = slice(group * outputs, (group + 1) * outputs)
                    target[:, channels] += found.transpose(0, 3, 1, 2)
        return
    [inputs], [weight] = _inputs(flat, synapse, synapse.weight.shape, shape), weights
    if synapse.delays is None:
        sums += (inputs @ weight.T).reshape(sums.shape)
        return
    for delay in np.unique(synapse.delays):
        if delay < steps:
            late = inputs @ np.where(synapse.delays == delay, weight, 0).T
            sums[:, int(delay) :] += late.reshape(sums.shape)[:, : steps - int(delay)]


def source_of(frames: Bytes, spikes: dict[str, Bytes]) -> Sources:
    """Give sources by name: the input's frames, or a layer's spikes."""
    return lambda name: frames if name == INPUT else spikes[name]
