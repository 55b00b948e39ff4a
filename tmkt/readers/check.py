"""The check that every event passes, from files and live sources alike.

Most event formats hold bare words and cannot tell damage from data. The rules, in order, each with
its counter (they are our choice):

- outside the sensor, polarity above 1, negative stamp: dropped;
- a stamp before that of the last event: dropped, clamped or an error, as asked for;
- a stamp more than 10 s ahead: held until the next event. If that is not earlier, both are
  delivered and a gap is counted; else the held event was damaged and is dropped.

`strict.py` is the form for recordings of data sets: it repairs nothing.
"""

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.source import Counters, Disorder, Raw

GAP_US = 10_000_000
NOTHING = -1  # no event yet
DROP, CLAMP, FAIL = range(3)
DISORDERS: dict[Disorder, int] = {"drop": DROP, "clamp": CLAMP, "fail": FAIL}

STATE = 10  # places in the kernel's state:
LAST, OUTSIDE, POLARITY, NEGATIVE, BACKWARD, LARGEST, OUTLIERS, GAPS, FAILED, HELD = range(STATE)


@kernel
def _all_sound(
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    height: int,
    width: int,
    last: int,
) -> bool:
    """Tell if no rule applies to any of the events (at least one).

    Almost all chunks are sound, so this loop has no branches.
    """
    if last == NOTHING or t[0] < last or t[0] - last > GAP_US:
        return False
    bad = 0
    for i in range(t.size):
        bad |= (x[i] >= width) | (y[i] >= height) | (p[i] > 1)
    for i in range(1, t.size):
        step = t[i] - t[i - 1]
        bad |= (step < 0) | (step > GAP_US)
    return bad == 0 and t[-1] >= t[0]  # else the stamps ran over the 64 bits


@kernel
def _check(
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    height: int,
    width: int,
    disorder: int,
    state: NDArray[np.int64],
) -> int:
    """Move the events to keep to the front of their arrays and give their number.

    An event that is still held stands right behind them.
    """
    kept = 0
    last = state[LAST]
    if t.size and _all_sound(t, x, y, p, height, width, last):
        state[LAST] = t[-1]
        state[HELD] = False
        return t.size
    held = False
    held_t, held_x, held_y, held_p = np.int64(0), np.uint16(0), np.uint16(0), np.uint8(0)
    for i in range(t.size):
        if x[i] >= width or y[i] >= height:
            state[OUTSIDE] += 1
            continue
        if p[i] > 1:
            state[POLARITY] += 1
            continue
        now = t[i]
        if now < 0:
            state[NEGATIVE] += 1
            continue
        if held:
            held = False
            if now >= held_t or (last == NOTHING and held_t - now <= GAP_US):
                if last != NOTHING:
                    state[GAPS] += 1
                # its place is free: kept < i
                t[kept], x[kept], y[kept], p[kept] = held_t, held_x, held_y, held_p
                kept += 1
                last = held_t
            else:
                state[OUTLIERS] += 1
        if last == NOTHING or now - last > GAP_US:
            held = True
            held_t, held_x, held_y, held_p = now, x[i], y[i], p[i]
            continue
        if now < last:
            state[BACKWARD] += 1
            state[LARGEST] = max(state[LARGEST], last - now)
            if disorder == DROP:
                continue
            if disorder == FAIL:
                state[FAILED] = now
                break
            now = last
        t[kept], x[kept], y[kept], p[kept] = now, x[i], y[i], p[i]
        kept += 1
        last = now
    state[LAST] = last
    state[HELD] = held
    if held:
        t[kept], x[kept], y[kept], p[kept] = held_t, held_x, held_y, held_p
    return kept


class Check:
    """Check of one stream, chunk by chunk; the cut into chunks does not change the result."""

    def __init__(
        self, name: str, sensor: tuple[int, int], counters: Counters, disorder: Disorder = "drop"
    ) -> None:
        self.name, self.sensor, self.counters, self.disorder = name, sensor, counters, disorder
        self._state = np.zeros(STATE, np.int64)
        self._state[LAST] = self._state[FAILED] = NOTHING
        self._held: Raw | None = None

    def __call__(self, raw: Raw) -> Events:
        """Give the events to keep, as views of `raw`'s arrays, which are overwritten.

        Raises InputError under `disorder="fail"`.
        """
        if self._held is not None:
            held, self._held = self._held, None
            raw = Raw(
                np.append(held.t, raw.t),
                np.append(held.x, raw.x),
                np.append(held.y, raw.y),
                np.append(held.p, raw.p),
            )
        height, width = self.sensor
        kept = _check(*raw, height, width, DISORDERS[self.disorder], self._state)
        if self._state[HELD]:
            held = raw.part(kept, kept + 1)
            self._held = Raw(held.t.copy(), held.x.copy(), held.y.copy(), held.p.copy())
        return self._deliver(raw.first(kept))

    def finish(self) -> Events | None:
        """Give the event still held at the stream's end if it is the only one of the stream.

        A last event more than 10 s after the others is an outlier.
        """
        held, self._held = self._held, None
        if held is None:
            return None
        if self._state[LAST] == NOTHING:
            return self._deliver(held)
        self.counters.outliers += 1
        return None

    def _deliver(self, kept: Raw) -> Events:
        state, counters = self._state, self.counters
        counters.events += len(kept.t)
        counters.outside_sensor = int(state[OUTSIDE])
        counters.bad_polarity = int(state[POLARITY])
        counters.negative_time = int(state[NEGATIVE])
        counters.backward, counters.largest_backward_us = int(state[BACKWARD]), int(state[LARGEST])
        counters.clamped = counters.backward if self.disorder == "clamp" else 0
        counters.outliers, counters.gaps = int(state[OUTLIERS]), int(state[GAPS])
        if state[FAILED] != NOTHING:
            after, step = counters.events, counters.largest_backward_us
            raise InputError(
                f"{self.name}: after {after} events a stamp goes back by {step} us, expected none;"
                " use --disorder drop or clamp"
            )
        return Events(*kept, self.sensor)
