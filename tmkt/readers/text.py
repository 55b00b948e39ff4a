"""Recordings as text, an event a line: CSV and TXT files, and what other programs pipe.

Fields are separated by commas, semicolons, spaces or tabs; lines that begin with # or % are
comments. `p` is 1 or True for on; 0, -1 or False for off. `text_layout.py` has how columns, unit
and sensor are found. This form is our choice: it covers AEStream, Metavision, rpg's and E2VID's
recordings, NumPy's savetxt and pandas' to_csv.
"""

from collections.abc import Iterable, Iterator
from functools import partial
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.kernels import inlined, kernel
from tmkt.readers.columns import NOWHERE
from tmkt.readers.files import Input, Opened, TimeUnit
from tmkt.readers.source import Counters, Raw
from tmkt.readers.text_layout import OTHER, Layout, P, T, X, Y, find_layout, head_size

BLOCK = 1 << 18  # bytes
LONGEST_LINE = 4096  # bytes
LONGEST_HEAD = 1 << 16  # bytes before the first event
SHORTEST_LINE = 4  # "0,0\n", a spike of a channel
BAD_POLARITY = 2  # the check drops it
DIGITS = 18  # that fit an int64
LARGEST = 10**DIGITS
NEWLINE, PLUS, MINUS, POINT, ZERO, NINE = b"\n+-.09"  # bytes
EXPONENT, TRUE, FALSE, LOWER = ord("e"), ord("t"), ord("f"), 32
BAD, FRACTION, WHOLE = range(3)  # kinds of a number


@inlined
def _separates(byte: int) -> bool:
    """Tell a space, tab, carriage return, comma or semicolon."""
    return byte == 32 or byte == 9 or byte == 13 or byte == 44 or byte == 59


@inlined
def _starts_comment(byte: int) -> bool:
    """Tell # or %."""
    return byte == 35 or byte == 37


@kernel
def _digits(data: NDArray[np.uint8], at: int) -> tuple[int, int, int]:
    """Parse digits and a point: their value, its exponent of ten, and their end.

    The end is `at` if there is no digit, or if the number is too large.
    """
    value = exponent = significant = seen = 0
    point = False
    begin = at
    while at < data.size:
        byte = data[at]
        if ZERO <= byte <= NINE:
            seen += 1
            if significant < DIGITS:
                value = value * 10 + byte - ZERO
                significant += value > 0
                exponent -= point
            elif not point:
                return 0, 0, begin
        elif byte == POINT and not point:
            point = True
        else:
            break
        at += 1
    return value, exponent, at if seen else begin


@kernel
def _number(data: NDArray[np.uint8], at: int, exponent: int) -> tuple[int, int, int]:
    """Parse the number at `at` and multiply it by 10**exponent: rounded value, end, kind."""
    minus = data[at] == MINUS
    at += minus or data[at] == PLUS
    value, own, end = _digits(data, at)
    if end == at:
        return 0, at, BAD
    exponent += own
    at = end
    if at < data.size and data[at] | LOWER == EXPONENT:
        down = at + 1 < data.size and data[at + 1] == MINUS
        at += 1 + (down or (at + 1 < data.size and data[at + 1] == PLUS))
        own, fraction, end = _digits(data, at)
        if end == at or end - at > 3 or fraction:
            return 0, at, BAD
        exponent += -own if down else own
        at = end
    kind = WHOLE
    if exponent > 0 and value:
        if exponent > DIGITS or value > LARGEST // 10**exponent:
            return 0, at, BAD
        value *= 10**exponent
    elif exponent < 0 and value:
        power = 10 ** min(-exponent, DIGITS)
        rest = value % power
        value = value // power + (2 * rest >= power)
        kind = FRACTION if rest else WHOLE
    return -value if minus else value, at, kind


@kernel
def _parse(
    data: NDArray[np.uint8],
    columns: NDArray[np.int64],
    exponent: int,
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> tuple[int, int]:
    """Fill the arrays from whole lines; give the numbers of events and of bad lines.

    `columns` and `exponent` are those of a `Layout`.
    """
    n = bad = at = 0
    fields = np.zeros(4, np.int64)
    while at < data.size:
        found = 0
        sound, empty, comment = True, True, _starts_comment(data[at])
        while at < data.size and data[at] != NEWLINE:
            if comment or not sound or _separates(data[at]):
                at += 1
                continue
            empty = False
            if found == columns.size:
                sound = False
                continue
            column = columns[found]
            letter = data[at] | LOWER
            if column == OTHER or (column == P and letter in (TRUE, FALSE)):
                while at < data.size and data[at] != NEWLINE and not _separates(data[at]):
                    at += 1
                if column == P:
                    fields[P] = letter == TRUE
            else:
                begin = at
                value = 0
                while at < data.size and ZERO <= data[at] <= NINE:
                    value = value * 10 + data[at] - ZERO
                    at += 1
                plain = begin < at < data.size and at - begin <= DIGITS
                plain = plain and (data[at] == NEWLINE or _separates(data[at]))
                if plain and (exponent == 0 or column != T):  # the most frequent case, faster
                    fields[column] = value
                    found += 1
                    continue
                value, at, kind = _number(data, begin, exponent if column == T else 0)
                sound = kind == WHOLE or (kind == FRACTION and column == T)
                if at < data.size:
                    sound = sound and (data[at] == NEWLINE or _separates(data[at]))
                fields[column] = value
            found += 1
        at += 1
        if comment or empty:
            continue
        if not sound or found != columns.size:
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


class LineParser:
    """Parser of text that comes in blocks, however it is cut.

    Lines that hold no event are counted as `bad_records`. `layout` is None until the first event
    has come.
    """

    def __init__(
        self,
        name: str,
        counters: Counters,
        columns: tuple[str, ...] | None = None,
        unit: TimeUnit | None = None,
        repair: bool = False,
    ) -> None:
        self.layout: Layout | None = None
        self._name, self._counters, self._repair = name, counters, repair
        self._columns, self._unit = columns, unit
        self._head, self._rest = b"", b""  # whole lines before the first event; a part of a line

    def feed(self, block: bytes) -> Raw | None:
        """Take the next bytes; give the events of the lines that are whole by now.

        Raises InputError for a line that is too long to be text, unless `repair`, and as
        `find_layout` does.
        """
        lines, newline, after = block.rpartition(b"\n")
        if newline:
            lines, self._rest = self._rest + lines + newline, after
        else:
            lines, self._rest = b"", self._rest + after
        if len(self._rest) > LONGEST_LINE:
            if not self._repair:
                raise InputError(
                    f"{self._name}: {len(self._rest)} bytes in one line, expected lines of text:"
                    " t,x,y,p; check where it comes from"
                )
            self._counters.bad_records += 1
            self._rest = b""
        return self._events(lines) if lines else None

    def finish(self) -> Raw | None:
        """Give the event of a last line without an end; what is cut off within it is left over."""
        whole, cut = self._head, self._rest
        self._head = self._rest = b""
        if self.layout is None:
            self.layout = self._found(whole + cut + b"\n")
            if self.layout is None:
                self._counters.bad_records += _lines(whole[head_size(whole) :])
                self._counters.left_over_bytes += len(cut) if _lines(cut) else 0
                return None
            skip = self.layout.skip
            whole, cut = whole[skip:], cut[max(0, skip - len(whole)) :]
        self._parsed(whole)
        before = self._counters.bad_records
        raw = self._parsed(cut)
        if self._counters.bad_records > before:
            self._counters.bad_records, self._counters.left_over_bytes = before, len(cut)
        return raw

    def parse(self, blocks: Iterable[bytes]) -> Iterator[Raw]:
        """Give the events of all blocks, as soon as their lines are whole, to the end."""
        for block in blocks:
            if (raw := self.feed(block)) is not None:
                yield raw
        if (raw := self.finish()) is not None:
            yield raw

    def _found(self, lines: bytes) -> Layout | None:
        return find_layout(lines, self._columns, self._unit, self._name)

    def _events(self, lines: bytes) -> Raw | None:
        """Parse whole lines; until an event is among them, keep them: they may hold names."""
        if self.layout is None:
            lines, self._head = self._head + lines, b""
            self.layout = self._found(lines)
            if self.layout is None:
                if len(lines) <= LONGEST_HEAD:
                    self._head = lines
                else:
                    self._counters.bad_records += _lines(lines)
                return None
            lines = lines[self.layout.skip :]
        return self._parsed(lines)

    def _parsed(self, lines: bytes) -> Raw:
        assert self.layout is not None
        data = np.frombuffer(lines, np.uint8)
        raw = Raw.empty(data.size // SHORTEST_LINE + 1)
        n, bad = _parse(data, self.layout.columns, self.layout.exponent, *raw)
        self._counters.bad_records += bad
        return raw.first(n)


def _lines(text: bytes) -> int:
    """Count the lines that are neither empty nor comments."""
    return sum(not line.startswith((b"#", b"%")) for line in text.split(b"\n") if line.strip())


def open_text(source: Input) -> Opened:
    """Open a recording. Raises InputError for columns that are not known."""
    options = source.options
    parser = LineParser(
        source.name, source.counters, options.columns, options.time_unit, options.repair
    )
    first = parser.feed(source.file.read(BLOCK))
    if parser.layout is None:
        first = parser.finish()  # a file of one line, or of none
    if parser.layout is None:
        return Opened(iter(()), None)
    layout = parser.layout
    return Opened(_read_chunks(source.file, parser, first), layout.sensor, layout.notes)


def _read_chunks(file: IO[bytes], parser: LineParser, first: Raw | None) -> Iterator[Raw]:
    if first is not None:
        yield first
    yield from parser.parse(iter(partial(file.read, BLOCK), b""))
