"""Inner loops that count events into time bins, for recordings and for streams."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import inner, kernel

# Plain tuples, because numba takes microseconds longer to be called with named ones.
Columns = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]
"""(t, x, y, p) of events; see `Events`."""
Tables = tuple[NDArray[np.int32], NDArray[np.int32]]
"""(rows, columns) of every pixel's site, -1 for none; see `Sites`."""

TOGETHER = 8  # stamps compared without a branch between them
# Addresses are computed ahead of the counting, so that the processor can wait for many counters at
# once: a sixth faster at VGA (measured).
BLOCK = 512


@inner
def _end_of_run(t: NDArray[np.int64], begin: int, start_us: int, bin_us: int) -> int:
    """Find the end of a run of events in the bin that starts at `start_us`; at most BLOCK events.

    Returns `begin` where its event is not in the bin.
    """
    length = np.uint64(bin_us)
    stamps = t[begin : begin + BLOCK]
    end = 0
    while end + TOGETHER <= len(stamps):
        same = True
        for k in range(TOGETHER):
            # Unsigned: what is before `start_us` is too large as well.
            same &= bool(np.uint64(stamps[end + k] - start_us) < length)
        if not same:
            break
        end += TOGETHER
    while end < len(stamps) and np.uint64(stamps[end] - start_us) < length:
        end += 1
    return begin + end


@inner
def _add(addresses: NDArray[np.uint32], n: int, max_count: int, frame: NDArray[np.uint8]) -> None:
    """Add one at each of the first n addresses, up to `max_count`; without a branch, which events
    would make unpredictable.
    """
    most = np.uint8(max_count)
    for i in range(n):
        count = frame[addresses[i]]
        frame[addresses[i]] = count + np.uint8(count < most)


@kernel
def count_bin(
    events: Columns,
    begin: int,
    start_us: int,
    bin_us: int,
    tables: Tables,
    one_to_one: bool,
    max_count: int,
    frame: NDArray[np.uint8],
) -> tuple[int, int]:
    """Count the events from `begin` on, as long as they lie in one bin, into its frame [2, height,
    width].

    Counts saturate at `max_count`. Returns the first event that is not in the bin, and the number
    of events that met a site.
    """
    t, x, y, p = events
    rows, columns = tables
    plane, width = np.uint32(frame.shape[1] * frame.shape[2]), np.uint32(frame.shape[2])
    flat = frame.reshape(-1)
    addresses = np.empty(BLOCK, np.uint32)
    i, met = begin, 0
    while i < t.size:
        end = _end_of_run(t, i, start_us, bin_us)
        if end == i:
            break
        # Slices: an index into one is known not to be negative, which makes the loop half as long.
        xs, ys, ps = x[i:end], y[i:end], p[i:end]
        n = 0
        if one_to_one:
            n = len(xs)
            for k in range(n):
                addresses[k] = (
                    np.uint32(ps[k]) * plane + np.uint32(ys[k]) * width + np.uint32(xs[k])
                )
        else:
            for k in range(len(xs)):
                row, column = rows[ys[k]], columns[xs[k]]
                # Written in any case and kept only if there is a site: without a branch.
                addresses[n] = np.uint32(ps[k]) * plane + np.uint32(row) * width + np.uint32(column)
                n += (row | column) >= 0  # the sign of either
        _add(addresses, n, max_count, flat)
        met += n
        i = end
    return i, met


@kernel
def count_bins(
    events: Columns,
    first_us: int,
    bin_us: int,
    tables: Tables,
    one_to_one: bool,
    max_count: int,
    frames: NDArray[np.uint8],
) -> None:
    """Count a recording, or a chunk of it, into frames [bins, 2, height, width].

    The first bin begins at `first_us`. Events outside all bins are left out. Stamps need not
    be in order.
    """
    t = events[0]
    i: Any = np.int64(0)  # a plain 0 is a type of its own: all that gets it would be compiled twice
    while i < t.size:
        index = (t[i] - first_us) // bin_us  # one division for each run of events in a bin
        start_us = first_us + index * bin_us
        if 0 <= index < frames.shape[0]:
            i, _ = count_bin(
                events, i, start_us, bin_us, tables, one_to_one, max_count, frames[index]
            )
        else:
            i = _end_of_run(t, i, start_us, bin_us)
