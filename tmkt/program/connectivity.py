"""Connectivity of synapses: the kernel taps by which each row and column of a source reaches its
target.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.program.model import Layer, Program, Synapse, pooled


@dataclass(frozen=True)
class Taps:
    """Table of the kernel taps along one axis of a synapse, int32.

    A spike at position i reaches `count[i]` target positions: `target[i, j]` through tap `tap[i,
    j]`. Entries at j >= count[i] are not used.

    The convolution's sum `o = (i // pool + padding - tap * dilation) / stride` is solved for o, so
    pooling, borders, stride and the crop to the layer's shape are in the table. Positions that the
    pooling drops have count 0.
    """

    count: NDArray[np.int32]
    tap: NDArray[np.int32]
    target: NDArray[np.int32]


def conv_taps(
    size: int, pool: int, kernel: int, stride: int, padding: int, dilation: int, out: int
) -> Taps:
    """Compute the taps of one axis of a convolution of `size` source and `out` target positions."""
    pairs: list[list[tuple[int, int]]] = []
    for i in range(size):
        at = i // pool
        reached = (
            [(at + padding - tap * dilation, tap) for tap in range(kernel)]
            if at < size // pool
            else []
        )
        pairs.append(
            [(tap, o // stride) for o, tap in reached if o % stride == 0 and 0 <= o // stride < out]
        )
    return _table(pairs)


def _dense_taps(size: int, pool: int) -> Taps:
    return _table([[(i // pool, 0)] if i // pool < size // pool else [] for i in range(size)])


def _table(pairs: list[list[tuple[int, int]]]) -> Taps:
    widest = max(1, *(len(p) for p in pairs)) if pairs else 1
    tap, target = np.zeros((2, len(pairs), widest), np.int32)
    for i, entries in enumerate(pairs):
        for j, (t, o) in enumerate(entries):
            tap[i, j], target[i, j] = t, o
    return Taps(np.array([len(p) for p in pairs], np.int32), tap, target)


@dataclass(frozen=True)
class Connectivity:
    """Targets and weights of a synapse, seen from its source [C, H, W] ((N,) counts as [N, 1, 1]).

    `rows`, `columns`: the taps of either axis. `weight` int16 [C, K_y, K_x, G]: what one spike of
    channel c adds to the G target channels that start at `first[c]`, at the target position of the
    taps. A dense synapse has one target position, whose channels are all the layer's neurons in C,
    H, W order.
    """

    rows: Taps
    columns: Taps
    weight: NDArray[np.int16]
    first: NDArray[np.int32]

    def fan_out(self) -> NDArray[np.int64]:
        """Count the synapses that a spike at each site drives, zero weights included: int64 [C, H,
        W].
        """
        sites = self.rows.count.astype(np.int64)[:, None] * self.columns.count
        return np.broadcast_to(
            sites * self.weight.shape[3], (self.weight.shape[0], *sites.shape)
        ).copy()

    def nonzero_fan_out(self) -> NDArray[np.int64]:
        """Count those of them whose weight is not zero: int64 [C, H, W]."""
        nonzero = np.count_nonzero(self.weight, axis=3).astype(np.int64)
        rows, columns = (
            _incidence(taps, k)
            for taps, k in zip((self.rows, self.columns), nonzero.shape[1:], strict=True)
        )
        return np.asarray(rows @ nonzero @ columns.T, np.int64)


def _incidence(taps: Taps, kernel: int) -> NDArray[np.int64]:
    """Return [positions, K]: 1 where a spike at the position uses the tap."""
    out = np.zeros((len(taps.count), kernel), np.int64)
    for i, count in enumerate(taps.count):
        out[i, taps.tap[i, :count]] = 1
    return out


def source_shape(program: Program, synapse: Synapse) -> tuple[int, int, int]:
    """Return the shape of a synapse's source as (C, H, W)."""
    shape = program.shape_of(synapse.source)
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (shape[0], 1, 1)


def connectivity_of(program: Program, layer: Layer, synapse: Synapse) -> Connectivity:
    """Compute the connectivity of one synapse of a program."""
    channels, height, width = source_shape(program, synapse)
    w = synapse.weight
    if synapse.kind == "dense":
        inner = pooled((channels, height, width), synapse.pool)
        weight = np.ascontiguousarray(w.reshape(-1, *inner).transpose(1, 2, 3, 0), np.int16)
        return Connectivity(
            _dense_taps(height, synapse.pool),
            _dense_taps(width, synapse.pool),
            weight,
            np.zeros(channels, np.int32),
        )
    per_in, per_out = w.shape[1], w.shape[0] // synapse.groups
    grouped = w.reshape(synapse.groups, per_out, per_in, *w.shape[2:]).transpose(0, 2, 3, 4, 1)
    weight = np.ascontiguousarray(grouped.reshape(channels, *w.shape[2:], per_out), np.int16)
    rows, columns = (
        conv_taps(
            size,
            synapse.pool,
            kernel=w.shape[2 + axis],
            stride=synapse.stride[axis],
            padding=synapse.padding[axis],
            dilation=synapse.dilation[axis],
            out=layer.shape[1 + axis],
        )
        for axis, size in enumerate((height, width))
    )
    return Connectivity(
        rows,
        columns,
        weight,
        (np.arange(channels, dtype=np.int32) // per_in * per_out).astype(np.int32),
    )
