"""A camera's pixels onto the sites of a network's input, in integers: the rules that `tmkt stream`
applies to a live camera as well.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tmkt.events.frames import InputContract
from tmkt.events.types import Events, View
from tmkt.kernels import kernel


@lru_cache(maxsize=64)
def site_table(pixels: int, sites: int, factor: int, begin: int, total: int) -> NDArray[np.int32]:
    """int32 [total]: the site of every pixel along one side, -1 where it has none.

    A region of `pixels` starts at `begin`. Each site is `factor` pixels wide; the middle of the
    region goes onto the sites, an odd pixel more stays outside at the end.
    """
    found = (np.arange(total, dtype=np.int32) - begin - (pixels - factor * sites) // 2) // factor
    inside = (np.arange(total) >= begin) & (np.arange(total) < begin + pixels)
    table = np.asarray(np.where(inside & (found >= 0) & (found < sites), found, -1), np.int32)
    table.flags.writeable = False
    return table


def factor_of(size: tuple[int, int], sensor: tuple[int, int]) -> int:
    """By how much a region of `size` (height, width) is down-sampled: the most at which the input
    still lies within it, at least 1.
    """
    return max(1, min(size[0] // sensor[0], size[1] // sensor[1]))


def sites_of(
    view: View, events: Events, sensor: tuple[int, int]
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """int32 [camera height] and [camera width]: the row and the column of the network's input that
    every pixel meets, -1 for none.

    A view of a fixed size is cropped around its middle and down-sampled by one integer factor for
        both sides, so that a pixel of the input
    is a square of the camera's. A view that `fills` is scaled side by side: column = (x - least x)
        * width // (extent in x), as rows.
    """
    if view.fills:
        rows, columns = (
            _stretched(values, sites)
            for values, sites in ((events.y, sensor[0]), (events.x, sensor[1]))
        )
        return rows, columns
    top, left, height, width = view.region or (0, 0, *view.sensor)
    factor = factor_of((height, width), sensor)
    return (
        site_table(height, sensor[0], factor, top, view.sensor[0]),
        site_table(width, sensor[1], factor, left, view.sensor[1]),
    )


def _stretched(values: NDArray[np.uint16], sites: int) -> NDArray[np.int32]:
    least, most = int(values.min()), int(values.max())
    return np.asarray(
        (np.arange(most + 1, dtype=np.int64) - least) * sites // (most - least + 1), np.int32
    )


@kernel
def _count_mapped(
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    bin_us: int,
    max_count: int,
    out: NDArray[np.uint8],
) -> None:
    for i in range(t.size):
        bin = (t[i] - t[0]) // bin_us
        row, column = rows[y[i]], columns[x[i]]
        if (
            0 <= bin < out.shape[0]
            and row >= 0
            and column >= 0
            and out[bin, p[i], row, column] < max_count
        ):
            out[bin, p[i], row, column] += 1


def mapped_frames(events: Events, view: View, contract: InputContract) -> NDArray[np.uint8]:
    """Bins a recording as `events_to_frames` does, its pixels mapped onto the contract's: uint8
    [bins, 2, height, width].

    The first bin begins with the first event, whether it meets a site or not, as in a stream.
    """
    out = np.zeros((contract.bins, *contract.shape), np.uint8)
    rows, columns = sites_of(view, events, contract.sensor)
    _count_mapped(
        events.t,
        events.x,
        events.y,
        events.p,
        np.array(rows),
        np.array(columns),
        contract.bin_us,
        contract.max_count,
        out,
    )
    return out
