"""Events as lines of text on standard input, as `text.py` reads them from files."""

import os
import select
import sys
import time
from collections.abc import Iterator
from typing import IO

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.check import Check
from tmkt.readers.files import TimeUnit
from tmkt.readers.source import Counters, Disorder, check_sensor
from tmkt.readers.text import LineParser

BLOCK = 1 << 16  # bytes, what a pipe holds on Linux
TICK_S = 0.1


class StdinSource:
    """Events that another program writes to standard input, as a `Source`.

    Nothing is dropped for want of time: the pipe is the queue, and while it is full the writer
    waits. Iterating gives what has come so far, as soon as a line is whole. It ends at the end of
    the input, after `timeout_s` seconds without any (None: never), or after `close`. `sensor` is
    (height, width). `columns` and `time_unit`: as in `open_events`. `file`: another pipe or file,
    for tests.

    Lines that hold no event are counted as `bad_records`. Iterating raises InputError if the input
    is no text, at the end if more than 1 % of the events were dropped (unless `repair`), and if
    there were none.
    """

    name = "standard input"

    def __init__(
        self,
        sensor: tuple[int, int],
        *,
        timeout_s: float | None = None,
        disorder: Disorder = "drop",
        repair: bool = False,
        columns: tuple[str, ...] | None = None,
        time_unit: TimeUnit | None = None,
        file: IO[bytes] | None = None,
    ) -> None:
        self.sensor: tuple[int, int] | None = check_sensor(sensor, self.name)
        self.counters = Counters()
        self.timeout_s, self.repair = timeout_s, repair
        self._fd = (file or sys.stdin.buffer).fileno()
        self._check = Check(self.name, sensor, self.counters, disorder)
        self._parser = LineParser(self.name, self.counters, columns, time_unit)
        self._closed = False

    def __iter__(self) -> Iterator[Events]:
        for raw in self._parser.parse(self._blocks()):
            if len(events := self._check(raw)):
                yield events
        if last := self._check.finish():
            yield last
        if self.counters.events == 0:
            why = (
                f"; {self.counters.dropped} lines dropped: {self.counters.reasons()}"
                if self.counters.dropped
                else ""
            )
            raise InputError(
                f"{self.name}: no events came{why}; expected lines of text: t,x,y,p; check the"
                " program that writes them, and --sensor"
            )
        if not self.repair:
            self.counters.require_sound(self.name)

    def close(self) -> None:
        """End the stream: iteration gives what has come, then ends."""
        self._closed = True

    def _blocks(self) -> Iterator[bytes]:
        heard = time.monotonic()
        while not self._closed:
            if not select.select([self._fd], [], [], TICK_S)[0]:  # so that `close` is seen
                if self.timeout_s is not None and time.monotonic() - heard >= self.timeout_s:
                    return
                continue
            block = os.read(self._fd, BLOCK)
            if not block:
                return
            yield block
            heard = time.monotonic()
