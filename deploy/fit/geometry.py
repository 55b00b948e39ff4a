"""Which source positions reach which part of a layer, one axis at a time: a tile is a block of
channels, rows and columns.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fit.network import Connection, Network, Population, volume

Taps = NDArray[
    np.int32
    # [source positions, target positions]: the tap of the unrolled kernel between the two, -1 where
    # there is none
]


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

    def taps(self) -> Taps:
        """One tap at most joins two positions. Positions that the pooling drops reach nothing; each
        position of a pooling window has a tap of its own, as in the unrolled kernel that a chip
        without pooling runs.
        """
        at = np.arange(self.sources)[:, None] // self.pool
        inside = at < self.sources // self.pool
        if self.kernel == 0:
            group = (
                at * self.groups // self.sources
                == np.arange(self.targets) * self.groups // self.targets
            )
            return np.where(inside & group, 0, -1).astype(np.int32)
        offset = at + self.padding - self.stride * np.arange(self.targets)
        tap = offset // self.dilation
        hit = inside & (offset % self.dilation == 0) & (tap >= 0) & (tap < self.kernel)
        return np.where(
            hit, tap * self.pool + np.arange(self.sources)[:, None] % self.pool, -1
        ).astype(np.int32)

    def reach(self, size: int) -> NDArray[np.int64]:
        """int64 [sources, blocks]: how many positions of each block of `size` targets a source
        position reaches.
        """
        return np.add.reduceat(
            self.taps() >= 0, np.arange(0, self.targets, size), axis=1, dtype=np.int64
        )


@dataclass(frozen=True)
class Block:
    """What reaches one block of an axis. `reached`: (targets reached, how many source positions
    reach so many); `patterns`: (taps, how many different sets of so many taps).
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
    """int64 [source blocks]: pairs of a source position and a block of `size` targets that it
    reaches, by blocks of `source_size` sources.
    """
    pairs = (axis.reach(size) > 0).sum(1)
    return np.asarray(np.add.reduceat(pairs, np.arange(0, axis.sources, source_size)), np.int64)


@lru_cache(maxsize=65536)
def blocks(axis: Axis, size: int) -> tuple[Block, ...]:
    """The different blocks that an axis falls into when it is cut into pieces of `size` targets."""
    found: dict[Block, None] = {}
    taps = axis.taps()
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
    """The axes (channels, rows, columns) of a connection. A dense one reaches all targets from
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
            connection.kernel[i],
            connection.stride[i],
            connection.padding[i],
            connection.dilation[i],
            connection.pool,
        )
        for i in (0, 1)
    )
    return Axis(source[0], target[0], groups=connection.groups), y, x
