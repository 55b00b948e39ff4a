"""Changes to a network that does not fit. Every change is tried by placing it; the cheapest keeps
most of the weights.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import prod

from tmkt.deploy.fit.network import Connection, Network, Population, volume
from tmkt.deploy.fit.place import fits_alone, place
from tmkt.deploy.fit.placement import LayerPlacement, Placement
from tmkt.program.model import INPUT

ROUNDS = 3  # of changes to layers that do not fit: a change may crowd the layers before
SIXTEENTHS = 16  # steps in which all channels shrink


@dataclass(frozen=True)
class Change:
    """One change that makes a layer (`layer`; None: the whole network) fit. `weights_lost`: share
    of the network's weight bits.
    """

    layer: str | None
    text: str
    weights_lost: float
    network: Network


def advise(placement: Placement, chips: int | None = None) -> tuple[list[Change], Placement | None]:
    """Find the changes to make, at most one a layer, and the placement of the network with all of
    them (None where they do not help).

    Tried for a layer: a stride instead of the pooling before it, weights of fewer bits, fewer
    channels before it. For a network of layers that fit on too many chips: weights of fewer bits,
    fewer channels in every layer. Which of them is cheapest is our choice: the one that keeps most
    of the weights' bits; accuracy is not looked at.
    """
    changes: list[Change] = []
    now = placement
    for _ in range(ROUNDS):
        if now.fits(chips):
            break
        found = (
            [_cheapest(now, placed) for placed in now.misfits]
            if now.misfits
            else [_shrunk(now, chips)]
        )
        known = [change for change in found if change]
        if not known:
            break
        network = now.network
        for change in known:
            network = _merged(network, now.network, change.network)
        changes += known
        now = place(network, now.device, now.sharing)
    return changes, now if changes and now.fits(chips) else None


def weight_bits(network: Network) -> int:
    """Count the bits of all weights, each stored once."""
    total = 0
    for layer in network.layers:
        for c in layer.connections:
            channels, height, width = volume(network.shape_of(c.source))
            count = channels * (height // c.pool) * (width // c.pool) * layer.neurons
            if c.kind == "conv":
                count = volume(layer.shape)[0] * channels // c.groups * prod(c.kernel)
            total += count * c.weight_bits
    return total


def _merged(network: Network, before: Network, after: Network) -> Network:
    """Apply to `network` the differences between `before` and `after`, which may be in a layer's
    shape, its connections or both.
    """
    layers = []
    for mine, old, new in zip(network.layers, before.layers, after.layers, strict=True):
        shape = new.shape if new.shape != old.shape else mine.shape
        layers.append(
            replace(
                mine,
                shape=shape,
                connections=new.connections
                if new.connections != old.connections
                else mine.connections,
            )
        )
    return replace(network, layers=tuple(layers))


def _cheapest(placement: Placement, placed: LayerPlacement) -> Change | None:
    before = weight_bits(placement.network)
    best: Change | None = None
    for text, network in _candidates(placement, placed.layer):
        lost = 1 - weight_bits(network) / before
        if best is None or lost < best.weights_lost:
            best = Change(placed.layer.name, text, lost, network)
    return best


def _candidates(placement: Placement, layer: Population) -> Iterator[tuple[str, Network]]:
    """List changes after which the layer fits, each with the changed network."""
    network, limits = placement.network, placement.device.limits

    def fits(changed: Network) -> bool:
        return fits_alone(placement, changed, layer.name)

    for i, c in enumerate(layer.connections):
        for text, changed in _strided(network, layer, i):
            if fits(changed):
                yield text, changed
        if c.delay_steps > limits.delay_steps:
            shorter = _connected(network, layer, i, replace(c, delay_steps=limits.delay_steps))
            if fits(shorter):
                yield (
                    f"{layer.name}: synaptic delays of at most {limits.delay_steps} steps",
                    shorter,
                )
        bits = _largest(
            c.weight_bits - 1,
            lambda n, i=i, c=c: fits(  # type: ignore[misc]
                _connected(network, layer, i, replace(c, weight_bits=n))
            ),
        )
        if bits > 1:
            yield (
                f"{layer.name}: weights of {bits} bits instead of {c.weight_bits}",
                _connected(network, layer, i, replace(c, weight_bits=bits)),
            )
        source = next(
            (other for other in network.layers if other.name == c.source and c.source != INPUT),
            None,
        )
        if source is None or not _free(network, source):
            continue
        channels = _largest(
            source.shape[0] - 1,
            lambda n, source=source: fits(  # type: ignore[misc]
                _with_channels(network, source.name, n)
            ),
        )
        if channels:
            what = "channels" if len(source.shape) == 3 else "neurons"
            yield (
                f"{source.name}: {channels} {what} instead of {source.shape[0]}",
                _with_channels(network, source.name, channels),
            )


def _largest(most: int, fits: Callable[[int], bool]) -> int:
    """Find the largest number from 1 to `most` that fits, 0 if none does. Whatever fits is taken to
    fit when smaller.
    """
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _free(network: Network, layer: Population) -> bool:
    """Tell whether a layer's number of channels may change: no grouped convolution comes or
    leaves.
    """
    grouped = any(c.groups > 1 for c in layer.connections)
    return not grouped and not any(
        c.groups > 1
        for other in network.layers
        for c in other.connections
        if c.source == layer.name
    )


def _strided(network: Network, layer: Population, i: int) -> Iterator[tuple[str, Network]]:
    """Replace a pooling by a stride: in the layer itself if it is a convolution, in the convolution
    that is pooled if it is dense.
    """
    c = layer.connections[i]
    if c.pool == 1:
        return
    if c.kind == "conv":
        stride = (c.stride[0] * c.pool, c.stride[1] * c.pool)
        text = f"{layer.name}: stride {stride[0]} instead of pooling {c.source} by {c.pool}"
        yield text, _connected(network, layer, i, replace(c, pool=1, stride=stride))
        return
    readers = [other for other in network.layers for r in other.connections if r.source == c.source]
    source = next((other for other in network.layers if other.name == c.source), None)
    if (
        source is None
        or readers != [layer]
        or not source.connections
        or any(s.kind != "conv" for s in source.connections)
    ):
        return
    own = tuple(
        replace(s, stride=(s.stride[0] * c.pool, s.stride[1] * c.pool)) for s in source.connections
    )
    smaller = replace(
        source, shape=(source.shape[0], *(n // c.pool for n in source.shape[1:])), connections=own
    )
    text = f"{source.name}: stride {own[0].stride[0]} instead of pooling it by {c.pool}"
    changed = _connected(network, layer, i, replace(c, pool=1))
    yield (
        text,
        replace(
            changed,
            layers=tuple(
                smaller if other.name == source.name else other for other in changed.layers
            ),
        ),
    )


def _connected(network: Network, layer: Population, i: int, connection: Connection) -> Network:
    changed = replace(
        layer, connections=(*layer.connections[:i], connection, *layer.connections[i + 1 :])
    )
    return replace(
        network,
        layers=tuple(changed if other.name == layer.name else other for other in network.layers),
    )


def _with_channels(network: Network, name: str, channels: int) -> Network:
    layers = (
        replace(other, shape=(channels, *other.shape[1:])) if other.name == name else other
        for other in network.layers
    )
    return replace(network, layers=tuple(layers))


def _shrunk(placement: Placement, chips: int | None) -> Change | None:
    """Find the cheapest change that brings a whole network onto fewer chips."""
    network, before = placement.network, weight_bits(placement.network)
    most = max(c.weight_bits for layer in network.layers for c in layer.connections)

    def bits(n: int) -> Network:
        layers = (
            replace(
                p,
                connections=tuple(
                    replace(c, weight_bits=min(c.weight_bits, n)) for c in p.connections
                ),
            )
            for p in network.layers
        )
        return replace(network, layers=tuple(layers))

    def channels(sixteenths: int) -> Network:
        changed = network
        for layer in network.layers[:-1]:
            if layer.connections and _free(network, layer):
                changed = _with_channels(
                    changed, layer.name, max(1, layer.shape[0] * sixteenths // SIXTEENTHS)
                )
        return changed

    def fits(changed: Network) -> bool:
        return place(changed, placement.device, placement.sharing).fits(chips)

    found = []
    fewer = _largest(most - 1, lambda n: fits(bits(n)))
    if fewer > 1:
        found.append((f"weights of {fewer} bits in every layer", bits(fewer)))
    share = _largest(SIXTEENTHS - 1, lambda n: fits(channels(n)))
    if share:
        found.append(
            (
                f"{100 * share / SIXTEENTHS:g} % of the channels in every layer but the last",
                channels(share),
            )
        )
    changes = [
        Change(None, text, 1 - weight_bits(changed) / before, changed) for text, changed in found
    ]
    return min(changes, key=lambda change: change.weights_lost, default=None)
