"""Compiled loops of the event filters: each sets `keep` bool [N] for the events that it keeps.
`events` are columns t, x, y, p; stamps are in order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import kernel

Array = NDArray[Any]
NEVER = np.int64(-(2**62))


@kernel
def pick(events: Any, keep: Array, out: Any) -> int:
    """Write the events that are kept to the front of `out`; return their number."""
    t, x, y, p = events
    out_t, out_x, out_y, out_p = out
    kept = 0
    for i in range(len(t)):  # without a branch, which would be guessed wrong half of the time
        out_t[kept], out_x[kept], out_y[kept], out_p[kept] = t[i], x[i], y[i], p[i]
        kept += keep[i]
    return kept


@kernel
def background(events: Any, keep: Array, last: Array, dt_us: int, k: int) -> None:
    """Keep an event if at least k of its 8 neighbours had one at most dt_us before.

    `last` int64 [height + 2, width + 2]: the last event of each pixel, with a border of NEVER.
    """
    t, x, y, _ = events
    for i in range(len(t)):
        now, column, row = t[i], x[i] + 1, y[i] + 1
        since = now - dt_us
        near = 0
        for down in range(-1, 2):
            for right in range(-1, 2):
                near += last[row + down, column + right] >= since
        near -= last[row, column] >= since
        last[row, column] = now
        keep[i] = near >= k


@kernel
def refractory(events: Any, keep: Array, last: Array, pause_us: int) -> None:
    """Drop what comes less than pause_us after an event of the same pixel that was kept.

    `last` int64 [height, width]: the last kept event of each pixel.
    """
    t, x, y, _ = events
    for i in range(len(t)):
        keep[i] = t[i] - last[y[i], x[i]] >= pause_us
        if keep[i]:
            last[y[i], x[i]] = t[i]


@kernel
def hot(
    events: Any,
    keep: Array,
    state: Any,
    window_us: int,
    least: int,
    factor: int,
) -> None:
    """Drop the events of hot pixels, which are found anew after each window.

    `state`: int64 [1], when the window at work began (NEVER before the first event); its counts
    int64 [height + 2, width + 2], with an empty border; uint8 [height, width], 1 for hot pixels.
    """
    began, counts, hot_now = state
    t, x, y, _ = events
    for i in range(len(t)):
        if began[0] == NEVER:
            began[0] = t[i]
        if t[i] - began[0] >= window_us:
            judge(counts, hot_now, least, factor)
            began[0] += (t[i] - began[0]) // window_us * window_us
        counts[y[i] + 1, x[i] + 1] += 1
        keep[i] = hot_now[y[i], x[i]] == 0


@kernel
def judge(counts: Array, hot_now: Array, least: int, factor: int) -> None:
    """Call pixels hot that have `least` events and `factor` times the median of their neighbours;
    empty the counts. Pixels beyond the border count as neighbours without events.
    """
    height, width = hot_now.shape
    near = np.empty(8, np.int64)
    for row in range(height):
        for column in range(width):
            n = counts[row + 1, column + 1]
            hot_now[row, column] = 0
            if n >= least:
                at = 0
                for down in range(3):
                    for right in range(3):
                        if down != 1 or right != 1:
                            near[at] = counts[row + down, column + right]
                            at += 1
                near.sort()
                hot_now[row, column] = 2 * n >= factor * (near[3] + near[4])
    counts[:] = 0


@kernel
def flicker(
    events: Any,
    keep: Array,
    state: Any,
    shortest_us: int,
    longest_us: int,
    periods: int,
) -> None:
    """Drop events of pixels that brighten again and again after a period within the bounds.

    `state`, each [height, width]: int64, when a pixel last turned from off to on; uint8, its last
    polarity; uint8, how many periods in a row lay within the bounds.
    """
    turned, polarity, count = state
    t, x, y, p = events
    for i in range(len(t)):
        row, column = y[i], x[i]
        since = t[i] - turned[row, column]
        if p[i] == 1 and polarity[row, column] == 0:
            fits = shortest_us <= since <= longest_us
            count[row, column] = min(count[row, column] + 1, periods) if fits else 0
            turned[row, column] = t[i]
        elif since > longest_us:
            count[row, column] = 0
        polarity[row, column] = p[i]
        keep[i] = count[row, column] < periods
