"""Events as lines of text on standard input: "t,x,y,p".

AEStream writes them as CSV, and rpg's recordings hold them as text. Fields are separated by commas,
semicolons, spaces or tabs. `t` is a whole number of microseconds, or seconds if it has a decimal
point; `p` is 1 for on, 0 or -1 for off. A first line of names ("x,y,p,t") states another order;
lines that begin with # or % are comments. This form is our choice.
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
from tmkt.kernels import inlined, kernel
from tmkt.readers.check import Check
from tmkt.readers.columns import NOWHERE
from tmkt.readers.source import Counters, Disorder, Raw, check_sensor

BLOCK = 1 << 16  # bytes, what a pipe holds on Linux
LONGEST_LINE = 4096  # bytes
SHORTEST_LINE = 8  # "0,0,0,0\n"
TICK_S = 0.1
FIELDS = "txyp"
T, X, Y, P = range(len(FIELDS))  # places of the fields
NO_FIELD = len(FIELDS)  # more fields than names
BAD_POLARITY = 2  # the check drops it
DIGITS = 18  # that fit an int64
NEWLINE, MINUS, POINT, ZERO, NINE = b"\n-.09"  # bytes


@inlined
def _separates(byte: int) -> bool:
    """Tell a space, tab, carriage return, comma or semicolon."""
    return byte == 32 or byte == 9 or byte == 13 or byte == 44 or byte == 59


@inlined
def _starts_comment(byte: int) -> bool:
    """Tell # or %."""
    return byte == 35 or byte == 37


@kernel
def _number(data: NDArray[np.uint8], at: int, digits: int) -> tuple[int, int, int]:
    """Parse a number without sign at `at`; give its value, its end and its number of digits.

    After `digits` digits no more are taken.
    """
    value = 0
    begin = at
    while at < data.size and ZERO <= data[at] <= NINE and at - begin < digits:
        value = value * 10 + data[at] - ZERO
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
    """Fill the arrays from whole lines; give the numbers of events and of bad lines.

    The k-th field of a line is the order[k]-th of t, x, y, p.
    """
    n = bad = 0
    at = 0
    fields = np.zeros(4, np.int64)
    while at < data.size:
        found = 0
        sound, comment = True, _starts_comment(data[at])
        empty = True
        while at < data.size and data[at] != NEWLINE:
            if comment or _separates(data[at]):
                at += 1
                continue
            empty = False
            field = order[found] if found < 4 else NO_FIELD
            minus = data[at] == MINUS
            at += minus
            value, at, digits = _number(data, at, DIGITS)
            if digits == 0 or field == NO_FIELD:
                sound = False
                at += digits == 0
                while at < data.size and data[at] != NEWLINE:
                    at += 1
                break
            if at < data.size and data[at] == POINT and field == T:  # seconds
                part, after, decimals = _number(data, at + 1, 6)
                while after < data.size and ZERO <= data[after] <= NINE:  # below a microsecond
                    after += 1
                at = after
                sound = sound and digits <= 12
                value = (value if digits <= 12 else 0) * 1_000_000 + part * 10 ** (6 - decimals)
            fields[field] = -value if minus else value
            found += 1
            if at < data.size:
                sound = sound and (data[at] == NEWLINE or _separates(data[at]))
        at += 1
        if comment or empty:
            continue
        if not sound or found != 4:
            bad += 1
            continue
        t[n] = fields[T]
        x[n] = fields[X] if 0 <= fields[X] < NOWHERE else NOWHERE
        y[n] = fields[Y] if 0 <= fields[Y] < NOWHERE else NOWHERE
        if fields[P] == 1:
            p[n] = 1
        elif fields[P] == 0 or fields[P] == -1:
            p[n] = 0
        else:
            p[n] = BAD_POLARITY
        n += 1
    return n, bad


class StdinSource:
    """Events that another program writes to standard input, as a `Source`.

    Nothing is dropped for want of time: the pipe is the queue, and while it is full the writer
    waits. Iterating gives what has come so far, as soon as a line is whole. It ends at the end of
    the input, after `timeout_s` seconds without any (None: never), or after `close`. `sensor` is
    (height, width). `file`: another pipe or file, for tests.

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

    def _events(self, lines: bytes) -> Iterator[Events]:
        if self._order is None:
            self._order, lines = _read_order(lines)
        data = np.frombuffer(bytearray(lines), np.uint8)
        raw = Raw.empty(data.size // SHORTEST_LINE + 1)
        n, bad = _parse(data, self._order, *raw)
        self.counters.bad_records += bad
        events = self._check(raw.first(n))
        if len(events):
            yield events


def _read_order(lines: bytes) -> tuple[NDArray[np.int64], bytes]:
    """Give the place among t, x, y, p of each column, and the lines without a first line of names.

    Without a line of names the order is t, x, y, p.
    """
    first, _, others = lines.partition(b"\n")
    names = first.decode("ascii", "replace").lower().replace(";", ",").replace(",", " ").split()
    all_fields = sorted(name[:1] for name in names) == sorted(FIELDS)
    if all_fields and all(name.isalpha() for name in names):
        return np.array([FIELDS.index(name[0]) for name in names], np.int64), others
    return np.arange(4), lines
