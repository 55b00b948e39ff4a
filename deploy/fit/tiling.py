"""Tilings of a layer: the ways to cut it into tiles, one a core."""

from math import ceil

from tmkt.deploy.fit.device import Device
from tmkt.deploy.fit.memory import Tile
from tmkt.deploy.fit.network import Population, volume


def held(layer: Population, tile: Tile) -> Tile:
    """Give the channels, rows and columns of the layer in its fullest tile: a tile may be wider
    than the map.
    """
    c, y, x = (min(size, n) for size, n in zip(tile, volume(layer.shape), strict=True))
    return c, y, x


def core_count(layer: Population, tile: Tile) -> int:
    """Count the cores of a layer that is cut into such tiles."""
    grid = core_grid(layer, tile)
    return grid[0] * grid[1] * grid[2]


def core_grid(layer: Population, tile: Tile) -> tuple[int, int, int]:
    """Count tiles along channels, rows and columns. A layer's cores are numbered in that order,
    columns first.
    """
    c, y, x = (ceil(n / size) for n, size in zip(volume(layer.shape), tile, strict=True))
    return c, y, x


def tiles(layer: Population, device: Device) -> list[Tile]:
    """List all tiles to try, fewest cores first; among equals the most channels, then the squarest.

    "halving", inferred from the tables of Intel's Loihi 2 compiler: columns in powers of two, rows
    and channels halved while even. "any": rows and columns cut into any number of equal parts,
    channels into equal parts without a remainder. A layer without rows and columns is cut into any
    number of parts.
    """
    channels, height, width = volume(layer.shape)
    if len(layer.shape) == 1:
        return [(n, 1, 1) for n in _parts(channels)]
    if device.tiling == "halving":
        powers = [2**i for i in range((width - 1).bit_length() + 1)]
        found = [(c, y, x) for c in _halves(channels) for y in _halves(height) for x in powers]
    else:
        divisors = [n for n in range(1, channels + 1) if channels % n == 0]
        found = [(c, y, x) for c in divisors for y in _parts(height) for x in _parts(width)]
    return sorted(
        found,
        key=lambda tile: (core_count(layer, tile), -tile[0], max(tile[1:]) / min(tile[1:]), tile),
    )


def _parts(size: int) -> list[int]:
    """List the sizes of the largest part when `size` is cut into 1, 2, ... equal parts."""
    return list(dict.fromkeys(ceil(size / n) for n in range(1, size + 1)))


def _halves(size: int) -> list[int]:
    found = [size]
    while found[-1] % 2 == 0:
        found.append(found[-1] // 2)
    return found
