"""Reach of source positions into the tiles of a layer, one axis at a time: a tile is a block of
channels, rows and columns.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fit.network import Connection, Network, Population, volume
from tmkt.program.connectivity import conv_taps

# [source positions, target positions]: the tap of the unrolled kernel that joins the two, -1 where
# none does
TapTable = NDArray[np.int32]


@dataclass(frozen=True)
class Axis:
    """One axis of a connection. `kernel` 0: every source position reaches every target position
    (dense); `groups` on the channel axis.
    """

    sources: int
    targets: int
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    dilation: int = 1
    pool: int = 1
    groups: int = 1

    def reach(self, size: int) -> NDArray[np.int64]:
        """Count the positions that a source position reaches in each block of `size` targets: int64
        [sources, blocks].
        """
        return np.add.reduceat(
            tap_table(self) >= 0, np.arange(0, self.targets, size), axis=1, dtype=np.int64
        )


@lru_cache(maxsize=4096)
def tap_table(axis: Axis) -> TapTable:
    """List the taps of an axis; at most one joins two positions.

    Positions that the pooling drops reach nothing. Each position of a pooling window has a tap of
    its own, as in the unrolled kernel that a chip without pooling runs.
    """
    position = np.arange(axis.sources)
    if axis.kernel == 0:
        at = position[:, None] // axis.pool
        inside = at < axis.sources // axis.pool
        target_group = np.arange(axis.targets) * axis.groups // axis.targets
        same_group = at * axis.groups // axis.sources == target_group
        return np.where(inside & same_group, 0, -1).astype(np.int32)
    taps = conv_taps(
        axis.sources,
        pool=axis.pool,
        kernel=axis.kernel,
        stride=axis.stride,
        padding=axis.padding,
        dilation=axis.dilation,
        out=axis.targets,
    )
    table = np.full((axis.sources, axis.targets), -1, np.int32)
    source, entry = np.nonzero(np.arange(taps.tap.shape[1]) < taps.count[:, None])
    table[source, taps.target[source, entry]] = (
        taps.tap[source, entry] * axis.pool + source % axis.pool
    )
    return table


@dataclass(frozen=True)
class Block:
    """Counts of what reaches one block of an axis.

    `reached`: pairs of a number of targets, and how many source positions reach so many.
    `patterns`: pairs of a number of taps, and how many different sets of so many taps there are.
    """

    reached: tuple[tuple[int, int], ...]
    patterns: tuple[tuple[int, int], ...]

    @property
    def sources(self) -> int:
        return sum(n for _, n in self.reached)

    @property
    def synapses(self) -> int:
        return sum(targets * n for targets, n in self.reached)


@lru_cache(maxsize=65536)
def cores_reached(axis: Axis, size: int, source_size: int) -> NDArray[np.int64]:
    """Count pairs of a source position and a block of `size` targets that it reaches, by blocks of
    `source_size` sources: int64 [source blocks].
    """
    pairs = (axis.reach(size) > 0).sum(1)
    return np.asarray(np.add.reduceat(pairs, np.arange(0, axis.sources, source_size)), np.int64)


@lru_cache(maxsize=65536)
def blocks(axis: Axis, size: int) -> tuple[Block, ...]:
    """List the different blocks of an axis that is cut into pieces of `size` targets."""
    found: dict[Block, None] = {}
    taps = tap_table(axis)
    for begin in range(0, axis.targets, size):
        part = taps[:, begin : begin + size]
        counts = (part >= 0).sum(1)
        if axis.kernel:
            different = Counter(
                len(taps)
                for taps in {tuple(sorted(row[row >= 0].tolist())) for row in part}
                if taps
            )
        else:
            different = Counter(counts[counts > 0].tolist())
        found[
            Block(
                tuple(sorted(Counter(counts[counts > 0].tolist()).items())),
                tuple(sorted(different.items())),
            )
        ] = None
    return tuple(found)


def axes(network: Network, layer: Population, connection: Connection) -> tuple[Axis, Axis, Axis]:
    """Give the axes (channels, rows, columns) of a connection. A dense one reaches all targets from
    every source position that is not dropped.
    """
    source, target = volume(network.shape_of(connection.source)), volume(layer.shape)
    if connection.kind == "dense":
        pools = (1, connection.pool, connection.pool)
        c, y, x = (
            Axis(n, out, pool=pool) for n, out, pool in zip(source, target, pools, strict=True)
        )
        return c, y, x
    y, x = (
        Axis(
            source[1 + i],
            target[1 + i],
            kernel=connection.kernel[i],
            stride=connection.stride[i],
            padding=connection.padding[i],
            dilation=connection.dilation[i],
            pool=connection.pool,
        )
        for i in (0, 1)
    )
    return Axis(source[0], target[0], groups=connection.groups), y, x
