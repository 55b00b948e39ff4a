"""Bins in event time: frames out of chunks of events, the same whatever the size of the chunks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.mapping import Mapping
from tmkt.events.types import Events
from tmkt.kernels import kernel

Origin = Literal["first", "clock"]


@dataclass(frozen=True)
class Bin:
    """A bin that is complete: its number, counted from the stream's first, its frame uint8 [2, H,
    W], and the events in the frame.
    """

    index: int
    frame: NDArray[np.uint8]
    events: int


@kernel
def _fill(
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    begin: int,
    end_us: int,
    rows: NDArray[np.int32],
    columns: NDArray[np.int32],
    width: int,
    most: int,
    frame: NDArray[np.uint8],
) -> tuple[int, int]:
    """Counts the events before `end_us` into the frame [2 * H * W]; gives the first that is not,
    and how many met a site.
    """
    met = 0
    plane = frame.size // 2
    i = begin
    while i < t.size and t[i] < end_us:
        row, column = rows[y[i]], columns[x[i]]
        if row >= 0 and column >= 0:
            met += 1
            at = np.int64(p[i]) * plane + np.int64(row) * width + column
            if frame[at] < most:
                frame[at] += 1
        i += 1
    return i, met


class Binner:
    """Cuts a stream into bins of `bin_us`, bin = floor((t - origin) / bin_us); the events are in
    order and were checked (readers do).

    Origin "first": the first event's time, as in a recording; "clock": the last multiple of
    `bin_us` before it, so that two streams of one clock have the same bins. A bin is complete when
    an event after it is there, or the stream ends: nothing else says that time has passed. Bins
    without any event, inside the crop or outside, are not given: their numbers are missing.
    """

    def __init__(self, mapping: Mapping, bin_us: int, origin: Origin = "first") -> None:
        self.mapping, self.bin_us, self.kind = mapping, bin_us, origin
        self.origin_us: int | None = None  # known from the first event on
        self.last_us = 0  # the last event's
        self.events = self.unseen = 0  # all, and of them those that met no site
        self._rows, self._columns = mapping.sites()
        self._frame = np.zeros((2, *mapping.input), np.uint8)
        self._index, self._in_bin, self._met = 0, 0, 0

    def push(self, events: Events) -> Iterator[Bin]:
        """The bins that these events complete. InputError for a sensor other than the first
        chunk's.
        """
        if events.sensor != self.mapping.sensor:
            raise InputError(
                f"stream: sensor {events.sensor}, before it was {self.mapping.sensor}; a stream"
                " must keep its sensor"
            )
        if len(events) == 0:
            return
        if self.origin_us is None:
            first = int(events.t[0])
            self.origin_us = first if self.kind == "first" else first // self.bin_us * self.bin_us
        at, width = 0, self.mapping.input[1]
        while at < len(events):
            end_us = self.time_us(self._index + 1)
            stop, met = _fill(
                events.t,
                events.x,
                events.y,
                events.p,
                at,
                end_us,
                self._rows,
                self._columns,
                width,
                self.mapping.most,
                self._frame.reshape(-1),
            )
            self.events += stop - at
            self.unseen += stop - at - met
            self._in_bin += stop - at
            self._met += met
            at = stop
            if at:
                self.last_us = int(events.t[at - 1])
            if at < len(events):
                yield from self.end()
                self._index = (int(events.t[at]) - self.origin_us) // self.bin_us

    def end(self) -> Iterator[Bin]:
        """The bin that is not complete yet, if it has events."""
        if self._in_bin:
            yield Bin(self._index, self._frame, self._met)
            self._frame = np.zeros_like(self._frame)
            self._in_bin = self._met = 0

    def time_us(self, index: int) -> int:
        """When a bin begins, in the stream's own time."""
        assert self.origin_us is not None
        return self.origin_us + index * self.bin_us
