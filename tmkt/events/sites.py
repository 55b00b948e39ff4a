"""The rule that maps a camera's pixels to the sites of a network's input, in integers."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events, View


@dataclass(frozen=True)
class Sites:
    """Site of every pixel of a camera: pixel (x, y) goes to row `rows[y]`, column `columns[x]`.

    `rows` int32 [camera height] and `columns` int32 [camera width] are -1 for pixels without a
    site. `one_to_one`: every pixel is its own site, so that counting can do without the tables.
    """

    rows: NDArray[np.int32]
    columns: NDArray[np.int32]
    one_to_one: bool


def site_table(pixels: int, begin: int, extent: int, sites: int) -> NDArray[np.int32]:
    """Return the site of every pixel along one side of a camera: int32 [pixels].

    The `extent` pixels from `begin` on are divided into `sites` parts: site = floor((pixel - begin)
    * sites / extent). Pixels before and after them have no site: -1. The part may reach beyond the
    camera's border.
    """
    offset = np.arange(pixels, dtype=np.int64) - begin
    inside = (offset >= 0) & (offset < extent)
    return np.where(inside, offset * sites // extent, -1).astype(np.int32)


def choose_factor(region: tuple[int, int], size: tuple[int, int]) -> int:
    """Choose by how much a region (height, width) is down-sampled: the most at which an input of
    `size` still lies within it, at least 1.
    """
    return max(1, min(region[0] // size[0], region[1] // size[1]))


def centred(pixels: int, sites: int, factor: int) -> int:
    """Return the first of factor * sites pixels around the middle of a side.

    An odd pixel more lies behind them. The result is negative where the side is too short.
    """
    return (pixels - factor * sites) // 2


@lru_cache(maxsize=8)
def one_to_one(size: tuple[int, int]) -> Sites:
    """Map a camera of `size` (height, width) to an input of the same size."""
    rows, columns = (site_table(side, 0, side, side) for side in size)
    return Sites(rows, columns, one_to_one=True)


def view_sites(view: View, size: tuple[int, int], events: Events) -> Sites:
    """Map what a view looks at to an input of `size` (height, width).

    A view of a fixed size is cropped around its middle and down-sampled by one integer factor for
    both sides, so that a site is a square of the camera's pixels. A view that `fills` is stretched
    side by side from the bounds of the events: column = (x - least x) * width // (extent in x),
    rows alike.
    """
    region = view.region_of(events)
    if not view.fills:
        return _fixed_sites(view.sensor, region, size)
    top, left, height, width = region
    rows = site_table(top + height, top, height, size[0])
    columns = site_table(left + width, left, width, size[1])
    return Sites(rows, columns, one_to_one=False)


@lru_cache(maxsize=64)
def _fixed_sites(
    sensor: tuple[int, int], region: tuple[int, int, int, int], size: tuple[int, int]
) -> Sites:
    factor = choose_factor(region[2:], size)
    tables = []
    for axis in (0, 1):
        first, pixels, sites = region[axis], region[axis + 2], size[axis]
        begin = first + centred(pixels, sites, factor)
        table = site_table(sensor[axis], begin, factor * sites, sites)
        table[:first] = table[first + pixels :] = -1  # outside of a region smaller than the input
        tables.append(table)
    rows, columns = tables
    same = sensor == size and region == (0, 0, *size)
    return Sites(rows, columns, one_to_one=same)
