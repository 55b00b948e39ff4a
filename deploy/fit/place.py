"""Placement of a network on the cores of a chip."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

from tmkt.deploy.fit.device import Device, Sharing
from tmkt.deploy.fit.memory import Tile, neurons, tile_blocks
from tmkt.deploy.fit.network import Network, Population
from tmkt.deploy.fit.placement import LayerPlacement, Placement
from tmkt.deploy.fit.search import Search
from tmkt.deploy.fit.tiling import core_count, held, tiles
from tmkt.program.model import INPUT

# spikes a neuron and step, where nothing is known of a source: only for choosing the layer to
# spread
RATE = 0.05


def place(
    network: Network,
    device: Device,
    sharing: Sharing | None = None,
    cores: int | None = None,
    rates: Mapping[str, float] | None = None,
) -> Placement:
    """Cut every layer into as few tiles as the device's limits allow, whether or not all fit
    (`Placement.fits`).

    `sharing`: one of the device's rules, the first unless told. `cores`: spread the network over up
    to so many, for speed: the layer whose busiest core works longest is cut further, again and
    again. `rates`: spikes a site and step of each source, where known; they decide what is busy.
    RATE stands for the others.
    """
    if device.input_on_cores and INPUT not in {layer.name for layer in network.layers}:
        network = replace(
            network, layers=(Population(INPUT, network.input_shape, ()), *network.layers)
        )
    search = Search(network, device, sharing or device.sharing[0])
    placed = {layer.name: search.place(layer) for layer in reversed(network.layers)}
    if cores is not None:
        _spread(search, placed, cores, lambda source: (rates or {}).get(source, RATE))
    numbered, first = [], 0
    for layer in network.layers:
        numbered.append(replace(placed[layer.name], first_core=first))
        first += numbered[-1].cores
    return Placement(network, device, search.sharing, tuple(numbered))


def fits_alone(placement: Placement, changed: Network, name: str) -> bool:
    """Tell whether one layer of a changed network fits, where the layers that read it are cut as in
    `placement`.
    """
    search = Search(changed, placement.device, placement.sharing)
    search.chosen = {
        placed.layer.name: placed.tile for placed in placement.layers if not placed.over
    }
    layer = next(layer for layer in changed.layers if layer.name == name)
    return search.first_fit(layer) is not None


def busiest_ns(
    network: Network, device: Device, layer: Population, tile: Tile, rate: Callable[[str], float]
) -> float:
    """Estimate the longest time of a step on the layer's busiest core, in nanoseconds, if every
    source site spikes with probability rate(source).
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
    search: Search, placed: dict[str, LayerPlacement], cores: int, rate: Callable[[str], float]
) -> None:
    """Change `placed`: cut the slowest layer further until that would not shorten it, or would take
    more than `cores`.
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
    search: Search, placed: Mapping[str, LayerPlacement], name: str, tile: Tile
) -> dict[str, LayerPlacement] | None:
    """Cut one layer into other tiles, and the layers before it finer where their axons out ask for
    it; None if that does not fit.
    """
    chosen, search.chosen = search.chosen, {**search.chosen, name: tile}
    result = dict(placed)
    for layer in reversed(search.network.layers):
        before = placed[layer.name]
        own = search.chosen.get(layer.name, before.tile)
        fitted = not before.over
        if layer.name != name and fitted and search.over(search.used(layer, own)):
            own = search.chosen[layer.name] = search.first_fit(layer) or own
        used = search.used(layer, own)
        if fitted and search.over(used):
            search.chosen = chosen
            return None
        binding = before.binding if own == before.tile else None
        result[layer.name] = replace(before, tile=own, used=used, binding=binding)
    search.chosen = chosen
    return result
