"""Use of a core by one tile of a layer: neurons, incoming axons, words of synapse memory."""

from collections.abc import Iterable
from itertools import product
from math import ceil

from tmkt.deploy.fit.device import Limits, Sharing
from tmkt.deploy.fit.geometry import Block, axes, blocks
from tmkt.deploy.fit.network import Connection, Network, Population

Tile = tuple[int, int, int]  # channels, rows, columns
WORD = 64
# of a list of weights: nengo-loihi 1.1, Synapse.bits_per_axon; the same fits Intel's Loihi 2
# compiler tables
HEADER_BITS = 10


def neurons(tile: Tile) -> int:
    """Count the neurons that a tile reserves. On Loihi 2 the columns are a power of two even where
    the map is narrower.
    """
    return tile[0] * tile[1] * tile[2]


def list_words(weights: int, bits: int, block: int | None) -> int:
    """Count the words of a list of weights of so many bits: a header and the weights, rounded up,
    in blocks where the chip has them.
    """
    if block is None:
        return ceil((weights * bits + HEADER_BITS) / WORD)
    full, rest = divmod(weights, block)
    return full * ceil((block * bits + HEADER_BITS) / WORD) + (
        ceil((rest * bits + HEADER_BITS) / WORD) if rest else 0
    )


def index_bits(tile: Tile) -> int:
    """Count the bits of a target's index in a list: the smallest of 0, 6..12 that names every
    neuron of the tile (nengo-loihi 1.1).
    """
    return next((bits for bits in (0, *range(6, 13)) if 2**bits >= neurons(tile)), 12)


def weight_bits(connection: Connection) -> int:
    """Count the bits of a weight and of its delay, where there are delays."""
    return connection.weight_bits + connection.delay_steps.bit_length()


def tile_blocks(
    network: Network, layer: Population, connection: Connection, tile: Tile
) -> Iterable[tuple[Block, ...]]:
    """List the different tiles of a layer, each as its blocks of channels, rows and columns."""
    return product(
        *(
            blocks(axis, size)
            for axis, size in zip(axes(network, layer, connection), tile, strict=True)
        )
    )


def axons_in(network: Network, layer: Population, tile: Tile, sharing: Sharing) -> int:
    """Count the incoming axons of the fullest core: one a source neuron, or one for a whole
    convolution whose kernel is stored once.
    """
    total = 0
    for connection in layer.connections:
        if sharing == "kernel" and connection.kind == "conv":
            total += 1
        else:
            total += max(
                c.sources * y.sources * x.sources
                for c, y, x in tile_blocks(network, layer, connection, tile)
            )
    return total


def synapse_words(
    network: Network, layer: Population, tile: Tile, sharing: Sharing, limits: Limits
) -> int:
    """Count the words of synapse memory of the fullest core."""
    return sum(
        max(
            _words(connection, tile, parts, sharing, limits)
            for parts in tile_blocks(network, layer, connection, tile)
        )
        for connection in layer.connections
    )


def _words(
    connection: Connection, tile: Tile, parts: tuple[Block, ...], sharing: Sharing, limits: Limits
) -> int:
    channels, rows, columns = parts
    bits = weight_bits(connection)
    if connection.kind == "dense":
        sources = channels.sources * rows.sources * columns.sources
        targets = channels.reached[0][0] * rows.reached[0][0] * columns.reached[0][0]
        return sources * list_words(targets, bits + limits.dense_index_bits, limits.list_block)
    if sharing == "kernel":
        taps = connection.kernel[0] * connection.kernel[1] * connection.pool**2
        return taps * sum(n * ceil(targets * bits / WORD) for targets, n in channels.reached)
    bits += index_bits(tile)
    y, x = (
        (rows.patterns, columns.patterns)
        if sharing == "patterns"
        else (rows.reached, columns.reached)
    )
    return sum(
        ny * nx * nc * list_words(ly * lx * lc, bits, limits.list_block)
        for (ly, ny), (lx, nx), (lc, nc) in product(y, x, channels.reached)
    )
