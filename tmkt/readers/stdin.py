"""Events as lines of text on standard input, as `text.py` reads them from files."""

import os
import queue
import select
import sys
import threading
import time
from collections.abc import Iterator
from typing import IO

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.check import Check
from tmkt.readers.files import TimeUnit
from tmkt.readers.source import MAX_DROPPED, Counters, Disorder, check_sensor
from tmkt.readers.text import LineParser
from tmkt.readers.text_layout import CHANNELS

BLOCK = 1 << 16  # bytes, what a pipe holds on Linux
TICK_S = 0.1


class StdinSource:
    """Events that another program writes to standard input, as a `Source`.

    Nothing is dropped for want of time: the pipe is the queue, and while it is full the writer
    waits. Iterating gives what has come so far, as soon as a line is whole. It ends at the end of
    the input, after `timeout_s` seconds without any (None: never), or after `close`. `sensor` is
    (height, width); with the columns `text_layout.CHANNELS`, a row of channels, (1, N). `columns`
    and `time_unit`: as in `open_events`. `file`: another pipe or file,
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
        self.columns = columns or tuple("txyp")
        self.sensor: tuple[int, int] | None = sensor
        if columns != CHANNELS:
            check_sensor(sensor, self.name)
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
                f"{self.name}: no events came{why}; expected lines of text:"
                f" {','.join(self.columns)}; check the program that writes them"
                f"{'' if self.columns == CHANNELS else ', and --sensor'}"
            )
        if not self.repair:
            self._need_channels()
            self.counters.require_sound(self.name)

    def _need_channels(self) -> None:
        """Raise InputError if more than 1 % of the spikes are of channels that there are not."""
        found, total = self.counters.outside_sensor, self.counters.events + self.counters.dropped
        if self.sensor and self.columns == CHANNELS and found > MAX_DROPPED * total:
            raise InputError(
                f"{self.name}: {found} of {total} spikes are of other channels, expected"
                f" 0..{self.sensor[1] - 1}; check the program that writes them"
            )

    def close(self) -> None:
        """End the stream: iteration gives what has come, then ends."""
        self._closed = True

    def _blocks(self) -> Iterator[bytes]:
        heard = time.monotonic()
        for block in waits(self._fd):
            if self._closed:
                return
            if block is None:
                if self.timeout_s is not None and time.monotonic() - heard >= self.timeout_s:
                    return
                continue
            if not block:
                return
            yield block
            heard = time.monotonic()


def wait_by_select(fd: int) -> Iterator[bytes | None]:
    """Read blocks as they come, b"" at the end; None where none has come for a tick."""
    while True:
        yield os.read(fd, BLOCK) if select.select([fd], [], [], TICK_S)[0] else None


def wait_by_thread(fd: int) -> Iterator[bytes | None]:
    """Do the same where a pipe cannot be selected. The thread holds one block ahead."""
    read: queue.Queue[bytes] = queue.Queue(maxsize=1)

    def work() -> None:
        while block := os.read(fd, BLOCK):
            read.put(block)
        read.put(b"")

    threading.Thread(target=work, daemon=True).start()  # it ends with the process
    while True:
        try:
            yield read.get(timeout=TICK_S)
        except queue.Empty:
            yield None


waits = wait_by_thread if sys.platform == "win32" else wait_by_select
