"""The check that every event passes, from files and live sources alike: nothing behind it sees an
impossible event.

Most event formats hold bare words and cannot tell damage from data. The rules, in order, each with
its counter (they are our choice): outside the sensor, polarity above 1, negative stamp: dropped. A
stamp before that of the last event: dropped, clamped or an error, as asked for. A stamp more than
10 s ahead: held until the next event; if that is not earlier, both are delivered and a gap is
counted, else the held one was damaged and is dropped.
"""

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.source import Counters, Disorder, Raw

GAP_US = 10_000_000
NOTHING = -1  # no event yet

# Places in the kernel's state.
LAST, OUTSIDE, POLARITY, NEGATIVE, BACKWARD, LARGEST, OUTLIERS, GAPS, FAILED, HELD = range(10)


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
    """Whether no rule applies to any of the events, of which there is at least one: a loop without
    branches, as almost all chunks are sound.
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
    """Moves the events to keep to the front of their arrays; gives their number. An event still
    held stands right behind them.
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
                t[kept], x[kept], y[kept], p[kept] = (
                    held_t,
                    held_x,
                    held_y,
                    held_p,
                )  # its own place is free: kept < i
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
            if disorder == 0:
                continue
            if disorder == 2:
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
    """Checks one stream, chunk by chunk: what comes out does not depend on how the stream is cut
    into chunks.
    """

    def __init__(
        self, name: str, sensor: tuple[int, int], counters: Counters, disorder: Disorder = "drop"
    ) -> None:
        self.name, self.sensor, self.counters, self.disorder = name, sensor, counters, disorder
        self._state = np.zeros(10, np.int64)
        self._state[LAST] = self._state[FAILED] = NOTHING
        self._held: Raw | None = None

    def __call__(self, raw: Raw) -> Events:
        """The events to keep, in arrays that are views of `raw`'s, which are overwritten. Raises
        InputError under `disorder="fail"`.
        """
        if self._held is not None:
            held, self._held = self._held, None
            raw = (
                np.append(held[0], raw[0]),
                np.append(held[1], raw[1]),
                np.append(held[2], raw[2]),
                np.append(held[3], raw[3]),
            )
        t, x, y, p = raw
        kept = _check(
            t, x, y, p, *self.sensor, ("drop", "clamp", "fail").index(self.disorder), self._state
        )
        if self._state[HELD]:
            self._held = (
                t[kept : kept + 1].copy(),
                x[kept : kept + 1].copy(),
                y[kept : kept + 1].copy(),
                p[kept : kept + 1].copy(),
            )
        return self._delivered((t[:kept], x[:kept], y[:kept], p[:kept]))

    def finish(self) -> Events | None:
        """At the stream's end: the only event of a stream of one. A last event more than 10 s
        behind the others is an outlier.
        """
        held, self._held = self._held, None
        if held is None:
            return None
        if self._state[LAST] == NOTHING:
            return self._delivered(held)
        self.counters.outliers += 1
        return None

    def _delivered(self, kept: Raw) -> Events:
        state, counters = self._state, self.counters
        counters.events += len(kept[0])
        counters.outside_sensor, counters.bad_polarity, counters.negative_time = (
            int(state[OUTSIDE]),
            int(state[POLARITY]),
            int(state[NEGATIVE]),
        )
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
