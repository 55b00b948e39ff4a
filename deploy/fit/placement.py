"""A network on the cores of a chip: every layer cut into tiles, one a core, so that each core's
limits hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil, prod

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fit.device import Device, Sharing
from tmkt.deploy.fit.geometry import axes, cores_reached
from tmkt.deploy.fit.memory import Tile, axons_in, neurons, synapse_words, tile_blocks
from tmkt.deploy.fit.network import Network, Population
from tmkt.deploy.fit.tiling import core_count, core_grid, held, tiles
from tmkt.program.model import INPUT

# spikes a neuron and step, where nothing is known of a source: only for choosing the layer to
# spread
RATE = 0.05
Use = dict[str, int]  # of the fullest core, by the names of `capacity`


@dataclass(frozen=True)
class LayerPlacement:
    """One layer on its cores, which are numbered from `first_core` on in the order of `core_grid`.

    `tile` (channels, rows, columns) a core; `used` by the fullest core; `over` the limits that it
    breaks, none where the layer fits; `binding` the limit without which the layer would take the
    fewest cores (the fullest where no limit alone decides), None where it takes one core or is
    spread for speed.
    """

    layer: Population
    tile: Tile
    used: Use
    over: tuple[str, ...]
    binding: str | None
    first_core: int = 0

    @property
    def grid(self) -> tuple[int, int, int]:
        return core_grid(self.layer, self.tile)

    @property
    def cores(self) -> int:
        return prod(self.grid)


@dataclass(frozen=True)
class Placement:
    """A network on a device. `sharing` is the device's rule that was used; layers are in the
    network's order, the input first where the device keeps it on cores.
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
        """Chips that are filled one after another."""
        return ceil(self.cores / self.device.limits.cores)

    @property
    def tiles_used(self) -> int:
        """Groups of cores on the mesh of the fullest chip."""
        return ceil(min(self.cores, self.device.limits.cores) / self.device.limits.cores_per_tile)

    @property
    def misfits(self) -> tuple[LayerPlacement, ...]:
        return tuple(placed for placed in self.layers if placed.over)

    def fits(self, chips: int | None = None) -> bool:
        """Whether every core holds its tile and the chips are at most `chips` (the device's largest
        system unless told).
        """
        return not self.misfits and self.chips <= (chips or self.device.limits.chips)

    def positions(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """Chip, column and row on its mesh, int64 [cores] each: cores fill a mesh node, nodes fill
        columns, chips follow one another.
        """
        limits = self.device.limits
        chip, core = np.divmod(np.arange(self.cores, dtype=np.int64), limits.cores)
        column, row = np.divmod(core // limits.cores_per_tile, limits.mesh_rows)
        return chip, column, row


def capacity(device: Device) -> Use:
    """What a core holds, by the name of the limit as people read it."""
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


class _Search:
    """Tiles for every layer, from the last to the first: how many axons leave a core depends on how
    its readers are cut.
    """

    def __init__(self, network: Network, device: Device, sharing: Sharing) -> None:
        self.network, self.device, self.sharing = network, device, sharing
        self.capacity = capacity(device)
        self.chosen: dict[str, Tile] = {}

    def used(self, layer: Population, tile: Tile) -> Use:
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
        """Pairs of a neuron of the fullest core and a core that it sends to."""
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
        """The limits that are broken, with how many times they are used."""
        return {
            n: used[n] / max(limit, 1)
            for n, limit in self.capacity.items()
            if n != ignore and used[n] > limit
        }

    def first_fit(self, layer: Population, ignore: str | None = None) -> Tile | None:
        """The tile with the fewest cores that breaks no limit."""
        if len(layer.shape) == 1 and self.device.tiling == "halving":
            return self._multiplied(layer, ignore)
        return next(
            (
                tile
                for tile in self._tiles(layer, ignore)
                if not self.over(self.used(layer, tile), ignore)
            ),
            None,
        )

    def _tiles(self, layer: Population, ignore: str | None = None) -> list[Tile]:
        """Those with too many neurons are left out at once: the rest of a tile's use takes longer
        to count.
        """
        return [
            tile
            for tile in tiles(layer, self.device)
            if ignore == "neurons" or neurons(tile) <= self.capacity["neurons"]
        ]

    def _multiplied(self, layer: Population, ignore: str | None) -> Tile | None:
        """Intel's compiler multiplies the number of parts by the largest violation, rounded up,
        until there is none.
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
        tile = self.first_fit(layer)
        if tile is None:  # the tile that breaks its limits least
            ratios = {
                t: max(self.over(self.used(layer, t)).values())
                for t in self._tiles(layer) or tiles(layer, self.device)
            }
            tile = min(ratios, key=lambda t: (ratios[t], core_count(layer, t)))
        used = self.used(layer, tile)
        over = self.over(used)
        if (
            not over
        ):  # else its tiles are no real ones, and its sources are not blamed for the axons to them
            self.chosen[layer.name] = tile
        binding = (
            max(over, key=lambda name: over[name]) if over else self._binding(layer, tile, used)
        )
        return LayerPlacement(layer, tile, used, tuple(over), binding)

    def _binding(self, layer: Population, tile: Tile, used: Use) -> str | None:
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


def place(
    network: Network,
    device: Device,
    sharing: Sharing | None = None,
    cores: int | None = None,
    rates: Mapping[str, float] | None = None,
) -> Placement:
    """Cuts every layer into as few tiles as the device's limits allow, whether or not all fit
    (`Placement.fits`).

    `sharing`: one of the device's rules, the first unless told. `cores`: spread the network over up
    to so many, for speed: again and again the layer whose busiest core works longest is cut
    further. `rates`: spikes a site and step of each source, where known, which decide what is busy;
    RATE for others.
    """
    if device.input_on_cores and INPUT not in {layer.name for layer in network.layers}:
        network = replace(
            network, layers=(Population(INPUT, network.input_shape, ()), *network.layers)
        )
    search = _Search(network, device, sharing or device.sharing[0])
    placed = {layer.name: search.place(layer) for layer in reversed(network.layers)}
    if cores is not None:
        _spread(search, placed, cores, lambda source: (rates or {}).get(source, RATE))
    numbered, first = [], 0
    for layer in network.layers:
        numbered.append(replace(placed[layer.name], first_core=first))
        first += numbered[-1].cores
    return Placement(network, device, search.sharing, tuple(numbered))


def fits_alone(placement: Placement, changed: Network, name: str) -> bool:
    """Whether one layer of a changed network fits, the layers that read it being cut as in
    `placement`.
    """
    search = _Search(changed, placement.device, placement.sharing)
    search.chosen = {
        placed.layer.name: placed.tile for placed in placement.layers if not placed.over
    }
    return (
        search.first_fit(next(layer for layer in changed.layers if layer.name == name)) is not None
    )


def busiest_ns(
    network: Network, device: Device, layer: Population, tile: Tile, rate: Callable[[str], float]
) -> float:
    """Time of one step, at most, of the layer's busiest core if every source site spikes with
    probability rate(source).
    """
    times = {name: high for name, (_, high) in device.times_ns.items()}
    total = 0.0 if not layer.connections else neurons(held(layer, tile)) * times["neuron"]
    for c in layer.connections:
        parts = list(tile_blocks(network, layer, c, tile))
        synapses = max(prod(block.synapses for block in blocks) for blocks in parts)
        messages = max(prod(block.sources for block in blocks) for blocks in parts)
        total += rate(c.source) * (
            synapses * times[f"synop_{c.kind}"] + messages * times["message_in"]
        )
    return total


def _spread(
    search: _Search, placed: dict[str, LayerPlacement], cores: int, rate: Callable[[str], float]
) -> None:
    """Changes `placed` until a further cut of the slowest layer would not shorten it or take more
    than `cores`.
    """

    def time(layer: Population, tile: Tile) -> float:
        return busiest_ns(search.network, search.device, layer, tile, rate)

    times = {name: time(p.layer, p.tile) for name, p in placed.items()}
    while True:
        name = max(times, key=lambda n: times[n])
        now = placed[name]
        spare = cores - sum(p.cores for p in placed.values())
        finer = (
            tile
            for tile in tiles(now.layer, search.device)
            if 0 < core_count(now.layer, tile) - now.cores <= spare
        )
        faster = (tile for tile in finer if time(now.layer, tile) < times[name])
        found = next(
            (
                cut
                for cut in (_cut(search, placed, name, tile) for tile in faster)
                if cut and _cores(cut) <= cores
            ),
            None,
        )
        if found is None:
            return
        placed.update(found)
        search.chosen = {n: p.tile for n, p in placed.items() if not p.over}
        times = {n: time(p.layer, p.tile) for n, p in placed.items()}


def _cores(placed: Mapping[str, LayerPlacement]) -> int:
    return sum(p.cores for p in placed.values())


def _cut(
    search: _Search, placed: Mapping[str, LayerPlacement], name: str, tile: Tile
) -> dict[str, LayerPlacement] | None:
    """All layers with one of them cut otherwise, and those before it cut finer where their axons
    out ask for it; None if nothing fits.
    """
    chosen, search.chosen = search.chosen, {**search.chosen, name: tile}
    result = dict(placed)
    for layer in reversed(search.network.layers):
        own = search.chosen.get(layer.name, placed[layer.name].tile)
        if (
            layer.name != name
            and not placed[layer.name].over
            and search.over(search.used(layer, own))
        ):
            own = search.chosen[layer.name] = search.first_fit(layer) or own
        used = search.used(layer, own)
        if search.over(used) and not placed[layer.name].over:
            search.chosen = chosen
            return None
        cut = own != placed[layer.name].tile
        result[layer.name] = replace(
            placed[layer.name],
            tile=own,
            used=used,
            binding=None if cut else placed[layer.name].binding,
        )
    search.chosen = chosen
    return result


def describe(placed: LayerPlacement) -> str:
    """A tile as people read it: "16 x 4 x 34" (channels, rows, columns), "10" where there are no
    rows and columns.
    """
    c, y, x = held(placed.layer, placed.tile)
    return f"{c}" if len(placed.layer.shape) == 1 else f"{c} x {y} x {x}"
