"""Search for tiles: as few cores a layer as the limits of a core allow."""

from math import ceil

import numpy as np

from tmkt.deploy.fit.device import Device, Sharing
from tmkt.deploy.fit.geometry import axes, cores_reached
from tmkt.deploy.fit.memory import Tile, axons_in, neurons, synapse_words
from tmkt.deploy.fit.network import Network, Population
from tmkt.deploy.fit.placement import LayerPlacement, Use, capacity
from tmkt.deploy.fit.tiling import core_count, core_grid, tiles


class Search:
    """Search for the tiles of every layer, from the last layer to the first: how many axons leave a
    core depends on how its readers are cut.

    `chosen`: the tiles of the layers that are placed, by name.
    """

    def __init__(self, network: Network, device: Device, sharing: Sharing) -> None:
        self.network, self.device, self.sharing = network, device, sharing
        self.capacity = capacity(device)
        self.chosen: dict[str, Tile] = {}

    def used(self, layer: Population, tile: Tile) -> Use:
        """Count what the fullest core of a layer takes of each limit."""
        limits = self.device.limits
        used = {
            "neurons": neurons(tile),
            "synapse memory": synapse_words(self.network, layer, tile, self.sharing, limits),
            "axons in": axons_in(self.network, layer, tile, self.sharing),
            "weight bits": max((c.weight_bits for c in layer.connections), default=0),
            "delay": max((c.delay_steps for c in layer.connections), default=0),
        }
        if "axons out" in self.capacity:
            used["axons out"] = self.axons_out(layer, tile)
        return used

    def axons_out(self, layer: Population, tile: Tile) -> int:
        """Count pairs of a neuron of the fullest core and a core that it sends to."""
        total = np.zeros(core_grid(layer, tile), np.int64)
        for reader in self.network.layers:
            reader_tile = tile if reader.name == layer.name else self.chosen.get(reader.name)
            for connection in reader.connections:
                if connection.source != layer.name or reader_tile is None:
                    continue
                along = zip(axes(self.network, reader, connection), reader_tile, tile, strict=True)
                total += np.einsum(
                    "c,y,x->cyx", *(cores_reached(axis, size, own) for axis, size, own in along)
                )
        return int(total.max())

    def over(self, used: Use, ignore: str | None = None) -> dict[str, float]:
        """Find the limits that are broken, each with the ratio of use to limit."""
        return {
            name: used[name] / max(limit, 1)
            for name, limit in self.capacity.items()
            if name != ignore and used[name] > limit
        }

    def first_fit(self, layer: Population, ignore: str | None = None) -> Tile | None:
        """Find the tile with the fewest cores that breaks no limit but `ignore`; None if none
        does.
        """
        if len(layer.shape) == 1 and self.device.tiling == "halving":
            return self._multiplied(layer, ignore)
        for tile in self._tiles(layer, ignore):
            if not self.over(self.used(layer, tile), ignore):
                return tile
        return None

    def _tiles(self, layer: Population, ignore: str | None = None) -> list[Tile]:
        """List the tiles to try. Tiles with too many neurons are left out here, as the rest of a
        tile's use takes longer to count.
        """
        return [
            tile
            for tile in tiles(layer, self.device)
            if ignore == "neurons" or neurons(tile) <= self.capacity["neurons"]
        ]

    def _multiplied(self, layer: Population, ignore: str | None) -> Tile | None:
        """Cut a flat layer as Intel's compiler does: multiply the number of parts by the largest
        violation, rounded up, until there is none.
        """
        parts = 1
        while True:
            tile = (ceil(layer.neurons / parts), 1, 1)
            over = self.over(self.used(layer, tile), ignore)
            if not over:
                return tile
            if tile[0] == 1:
                return None
            parts = min(parts * max(2, ceil(max(over.values()))), layer.neurons)

    def place(self, layer: Population) -> LayerPlacement:
        """Place a layer whose readers are placed, whether or not it fits."""
        tile = self.first_fit(layer)
        if tile is None:  # the tile that breaks its limits least
            ratios = {
                candidate: max(self.over(self.used(layer, candidate)).values())
                for candidate in self._tiles(layer) or tiles(layer, self.device)
            }
            tile = min(ratios, key=lambda t: (ratios[t], core_count(layer, t)))
        used = self.used(layer, tile)
        over = self.over(used)
        # Tiles that do not fit are not real: sources are not blamed for the axons to them.
        if not over:
            self.chosen[layer.name] = tile
        binding = (
            max(over, key=lambda name: over[name]) if over else self._binding(layer, tile, used)
        )
        return LayerPlacement(layer, tile, used, tuple(over), binding)

    def _binding(self, layer: Population, tile: Tile, used: Use) -> str | None:
        """Find the limit without which the layer would take the fewest cores."""
        least, binding = core_count(layer, tile), None
        if least == 1:
            return None
        for name in self.capacity:
            other = self.first_fit(layer, ignore=name)
            if other and core_count(layer, other) < least:
                least, binding = core_count(layer, other), name
        return binding or max(
            ("neurons", "synapse memory", "axons in"),
            key=lambda name: used[name] / self.capacity[name],
        )
