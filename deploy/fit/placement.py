"""Placements: every layer of a network cut into tiles, one a core."""

from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fit.device import Device, Sharing
from tmkt.deploy.fit.memory import Tile
from tmkt.deploy.fit.network import Network, Population
from tmkt.deploy.fit.tiling import core_grid, held

Use = dict[str, int]  # of the fullest core, by the names of `capacity`


@dataclass(frozen=True)
class LayerPlacement:
    """One layer on its cores, which are numbered from `first_core` on in the order of `core_grid`.

    `tile`: channels, rows and columns of a core. `used`: use of the fullest core. `over`: the
    limits that it breaks, none where the layer fits. `binding`: the limit without which the layer
    would take the fewest cores (the fullest where no limit alone decides); None where it takes one
    core or is spread for speed.
    """

    layer: Population
    tile: Tile
    used: Use
    over: tuple[str, ...]
    binding: str | None
    first_core: int = 0

    @property
    def core_grid(self) -> tuple[int, int, int]:
        return core_grid(self.layer, self.tile)

    @property
    def cores(self) -> int:
        return prod(self.core_grid)


@dataclass(frozen=True)
class Placement:
    """A network on a device.

    `sharing`: the device's rule that was used. Layers are in the network's order, the input first
    where the device keeps it on cores.
    """

    network: Network
    device: Device
    sharing: Sharing
    layers: tuple[LayerPlacement, ...]

    @cached_property
    def by_name(self) -> dict[str, LayerPlacement]:
        return {placed.layer.name: placed for placed in self.layers}

    @property
    def cores(self) -> int:
        return sum(placed.cores for placed in self.layers)

    @property
    def chips(self) -> int:
        """Number of chips, which are filled one after another."""
        return ceil(self.cores / self.device.limits.cores)

    @property
    def tiles_used(self) -> int:
        """Number of mesh nodes (groups of cores) in use on the fullest chip."""
        return ceil(min(self.cores, self.device.limits.cores) / self.device.limits.cores_per_tile)

    @property
    def misfits(self) -> tuple[LayerPlacement, ...]:
        return tuple(placed for placed in self.layers if placed.over)

    def fits(self, chips: int | None = None) -> bool:
        """Tell whether every core holds its tile, on at most `chips` chips (the device's largest
        system unless told).
        """
        return not self.misfits and self.chips <= (chips or self.device.limits.chips)

    def positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Compute chip, column and row of each core, int64 [cores] each: cores fill a mesh node,
        nodes fill columns, chips follow one another.
        """
        limits = self.device.limits
        chip, core = np.divmod(np.arange(self.cores, dtype=np.int64), limits.cores)
        column, row = np.divmod(core // limits.cores_per_tile, limits.mesh_rows)
        return chip, column, row


def capacity(device: Device) -> Use:
    """List what a core holds, by the name of the limit in reports."""
    limits = device.limits
    known = {
        "neurons": limits.neurons,
        "synapse memory": limits.synapse_words,
        "axons in": limits.axons_in,
        "axons out": limits.axons_out,
        "weight bits": limits.weight_bits,
        "delay": limits.delay_steps,
    }
    return {name: value for name, value in known.items() if value is not None}


def describe(placed: LayerPlacement) -> str:
    """Describe a tile in reports: "16 x 4 x 34" (channels, rows, columns), "10" if flat."""
    c, y, x = held(placed.layer, placed.tile)
    return f"{c}" if len(placed.layer.shape) == 1 else f"{c} x {y} x {x}"
