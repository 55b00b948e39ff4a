"""Bins of a stream, in event time: the same frames whatever the size of the chunks of events."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.counting import count_bin
from tmkt.events.mapping import Mapping
from tmkt.events.types import Events

Origin = Literal["first", "clock"]


@dataclass(frozen=True)
class Bin:
    """A complete bin: its number, counted from the stream's first bin, its frame uint8 of the
    network's input shape, and the number of events that met a site.
    """

    index: int
    frame: NDArray[np.uint8]
    events: int


class Binner:
    """Cuts a stream into bins of `bin_us`: bin = floor((t - origin) / bin_us).

    The events must be in order and checked (readers do both).

    Origin "first" is the first event's time, as in a recording. Origin "clock" is the last multiple
    of `bin_us` before it, so that two streams of one clock have the same bins. A bin is complete
    when an event after it has come, or the stream ends: nothing else says that time has passed.
    Bins without any event on the sensor are not given: their numbers are missing.
    """

    def __init__(
        self,
        mapping: Mapping,
        bin_us: int,
        origin: Origin = "first",
        shape: tuple[int, ...] | None = None,
    ) -> None:
        """`shape` of a bin's frame; None: (2, height, width) of the mapping's input."""
        self.mapping, self.bin_us, self.kind = mapping, bin_us, origin
        self.origin_us: int | None = None  # known from the first event on
        self.last_us = 0  # the last event's
        self.events = self.unseen = 0  # all, and of them those that met no site
        self._sites = mapping.sites()
        self._frame = np.zeros((1 if mapping.channels else 2, *mapping.input), np.uint8)
        self._shape = shape or self._frame.shape
        self._index, self._in_bin, self._met = 0, 0, 0

    def push(self, events: Events) -> Iterator[Bin]:
        """Yield the bins that these events complete. InputError for a sensor other than the first
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
        columns, at = (events.t, events.x, events.y, events.p), 0
        tables = self._sites.rows, self._sites.columns
        while at < len(events):
            stop, met = count_bin(
                columns,
                at,
                self.time_us(self._index),
                self.bin_us,
                tables,
                self._sites.one_to_one,
                self.mapping.most,
                self._frame,
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
        """Yield the bin that is not complete yet, if it has events."""
        if self._in_bin:
            yield Bin(self._index, self._frame.reshape(self._shape), self._met)
            self._frame = np.zeros_like(self._frame)
            self._in_bin = self._met = 0

    def time_us(self, index: int) -> int:
        """Return when a bin begins, in the stream's own time."""
        assert self.origin_us is not None
        return self.origin_us + index * self.bin_us
