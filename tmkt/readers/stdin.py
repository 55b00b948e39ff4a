"""Events as lines of text on standard input: "t,x,y,p", what AEStream writes as CSV and rpg's
recordings hold as text.

Fields are separated by commas, semicolons, spaces or tabs. `t` is a whole number of microseconds,
or seconds if it has a decimal point; `p` is 1 for on, 0 or -1 for off. A first line of names
("x,y,p,t") states another order; lines that begin with # or % are comments. Our choice.
"""

import os
import select
import sys
import time
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.check import Check
from tmkt.readers.source import Counters, Disorder, check_sensor

BLOCK = 1 << 16  # bytes, what a pipe holds on Linux
LONGEST_LINE = 4096  # bytes
SHORTEST_LINE = 8  # "0,0,0,0\n"
TICK_S = 0.1
FIELDS = "txyp"
DIGITS = 18  # that fit an int64


@kernel
def _number(data: NDArray[np.uint8], at: int, digits: int) -> tuple[int, int, int]:
    """A number without sign at `at`: its value, where it ends, how many digits it has; after
    `digits` no more are taken.
    """
    value = 0
    begin = at
    while at < data.size and 48 <= data[at] <= 57 and at - begin < digits:
        value = value * 10 + data[at] - 48
        at += 1
    return value, at, at - begin


@kernel
def _parse(
    data: NDArray[np.uint8],
    order: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> tuple[int, int]:
    """Fills the arrays from whole lines, whose k-th field is the order[k]-th of t, x, y, p; gives
    the numbers of events and of bad lines.
    """
    n = bad = 0
    at = 0
    fields = np.zeros(4, np.int64)
    while at < data.size:
        found = 0
        sound, comment = True, data[at] == 35 or data[at] == 37
        empty = True
        while at < data.size and data[at] != 10:
            c = data[at]
            if comment or c == 32 or c == 9 or c == 13 or c == 44 or c == 59:  # separators
                at += 1
                continue
            empty = False
            which = order[found] if found < 4 else 4
            minus = c == 45
            at += minus
            value, at, digits = _number(data, at, DIGITS)
            if digits == 0 or which == 4:
                sound = False
                at += digits == 0
                while at < data.size and data[at] != 10:
                    at += 1
                break
            if at < data.size and data[at] == 46 and which == 0:  # seconds
                part, after, decimals = _number(data, at + 1, 6)
                while after < data.size and 48 <= data[after] <= 57:  # below a microsecond
                    after += 1
                at = after
                sound = sound and digits <= 12
                value = (value if digits <= 12 else 0) * 1_000_000 + part * 10 ** (6 - decimals)
            fields[which] = -value if minus else value
            found += 1
            if at < data.size:
                c = data[at]
                sound = sound and (c == 32 or c == 9 or c == 10 or c == 13 or c == 44 or c == 59)
        at += 1
        if comment or empty:
            continue
        if not sound or found != 4:
            bad += 1
            continue
        t[n] = fields[0]
        for place, side in ((1, x), (2, y)):
            side[n] = fields[place] if 0 <= fields[place] < 65535 else 65535  # outside every sensor
        p[n] = 1 if fields[3] == 1 else 0 if fields[3] == 0 or fields[3] == -1 else 2
        n += 1
    return n, bad


class StdinSource:
    """Events that another program writes to standard input, as a `Source`.

    Nothing is dropped for want of time: the pipe is the queue, and while it is full the writer
    waits. Iterating gives what has come so far, as soon as a line is whole. It ends at the end of
    the input, after `timeout_s` seconds without any (None: never), or after `close`. `sensor` is
    (height, width). Lines that hold no event are counted as `bad_records`. Iterating raises
    InputError where the input is no text, at the end if more than 1 % of the events were dropped,
    unless `repair`, and if there were none. `file`: another pipe or file, for tests.
    """

    name = "standard input"

    def __init__(
        self,
        sensor: tuple[int, int],
        *,
        timeout_s: float | None = None,
        disorder: Disorder = "drop",
        repair: bool = False,
        file: IO[bytes] | None = None,
    ) -> None:
        self.sensor: tuple[int, int] | None = check_sensor(sensor, self.name)
        self.counters = Counters()
        self.timeout_s, self.repair = timeout_s, repair
        self._fd = (file or sys.stdin.buffer).fileno()
        self._check = Check(self.name, sensor, self.counters, disorder)
        self._order: NDArray[np.int64] | None = None
        self._closed = False

    def __iter__(self) -> Iterator[Events]:
        rest = b""
        for block in self._blocks():
            lines, newline, after = block.rpartition(b"\n")
            if newline:
                yield from self._events(rest + lines + newline)
                rest = after
            else:
                rest += after
            if len(rest) > LONGEST_LINE:
                raise InputError(
                    f"{self.name}: {len(rest)} bytes in one line, expected lines of text: t,x,y,p;"
                    " name the file instead of piping it"
                )
        if rest:
            before = self.counters.bad_records
            yield from self._events(rest)
            if self.counters.bad_records > before:  # cut within a line
                self.counters.bad_records, self.counters.left_over_bytes = before, len(rest)
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
        """Iteration ends with what has come."""
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

    def _events(self, lines: bytes) -> Iterator[Events]:
        if self._order is None:
            self._order, lines = _order(lines)
        data = np.frombuffer(bytearray(lines), np.uint8)
        most = data.size // SHORTEST_LINE + 1
        t, x, y, p = (
            np.empty(most, np.int64),
            np.empty(most, np.uint16),
            np.empty(most, np.uint16),
            np.empty(most, np.uint8),
        )
        n, bad = _parse(data, self._order, t, x, y, p)
        self.counters.bad_records += bad
        events = self._check((t[:n], x[:n], y[:n], p[:n]))
        if len(events):
            yield events


def _order(lines: bytes) -> tuple[NDArray[np.int64], bytes]:
    """Which of t, x, y, p each column holds, from a first line of names if there is one; and the
    lines without it.
    """
    first, _, others = lines.partition(b"\n")
    names = first.decode("ascii", "replace").lower().replace(";", ",").replace(",", " ").split()
    if sorted(name[:1] for name in names) == sorted(FIELDS) and all(
        name.isalpha() for name in names
    ):
        return np.array([FIELDS.index(name[0]) for name in names], np.int64), others
    return np.arange(4), lines
