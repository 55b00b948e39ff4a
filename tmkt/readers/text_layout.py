"""The layout of recordings in text: order of the columns, unit of the stamps, size of the sensor.

The first lines tell it: names of columns ("x,y,p,t", also behind # or %), a size ("%geometry:640,
480" of Metavision, "# 640x480", or "640 480" alone, as E2VID's recordings begin), then the stamps
themselves. How unnamed columns and units are guessed is our choice; what was guessed is noted.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, DecimalException, localcontext
from statistics import mode

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.columns import NAMES
from tmkt.readers.files import TimeUnit

T, X, Y, P = range(4)  # fields of an event
OTHER = -1  # a column that is passed over
DEFAULT, METAVISION = "txyp", "xypt"  # orders of columns without names
CHANNELS = ("t", "channel")  # columns of spikes of channels, which stand in x
SAMPLE = 1000  # lines that decide
EXPONENTS: dict[str, int] = {"s": 6, "ms": 3, "us": 0, "ns": -3}  # of ten, to microseconds
BOM = b"\xef\xbb\xbf"  # Excel's mark at the start of a file
SLOW_S, FEW = 1.0, 16  # from one event to the next of at least so many: no camera is so slow

SPACES = re.compile(r"[ \t]+")
FIELDS = re.compile(rb"[,;\s]+")
NUMBER = re.compile(rb"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]{1,3})?")
WORD = re.compile(rb"(?i:true|false)")
SIZE = re.compile(
    r"(?:(?:geometry|sensor|resolution|size)\W+)?([0-9]{1,5})(?:\s*[x,]\s*|\s+)([0-9]{1,5})", re.I
)
SIDE = re.compile(r"(width|height)\W+([0-9]{1,5})", re.I)
UNIT = re.compile(r"(\w+?)(?:_|\s*[\[(])(s|ms|us|µs|ns)[\])]?")


@dataclass
class Layout:
    """Meaning of the columns of a line.

    `columns`: the field of each column, T, X, Y, P or OTHER. A stamp times 10**`exponent` is in
    microseconds.
    """

    columns: NDArray[np.int64]
    exponent: int = 0
    sensor: tuple[int, int] | None = None  # (height, width), if a line tells it
    notes: list[str] = field(default_factory=list)  # what was assumed
    skip: int = 0  # bytes before the first event


@dataclass
class _Head:
    """Facts in the lines before the first event."""

    names: list[str] | None = None
    width: int | None = None
    height: int | None = None
    metavision: bool = False
    skip: int = 0


def parse_columns(text: str, where: str) -> tuple[str, ...]:
    """Parse "t,x,y,p". Raises InputError, which begins with `where`, if one of the four is missing.

    Any other name stands for a column that is passed over.
    """
    names = tuple(part.strip() for part in text.split(","))
    _order(names, f"{where} {text[:40]!r}", "expected t, x, y and p once each, as in t,x,y,p")
    return names


def looks_like_text(head: bytes) -> bool:
    """Tell by a file's first bytes if most of its lines are rows of at least four numbers.

    A file that ends after the names of its columns counts, too.
    """
    lines = [line for line in _sample(head) if not line.startswith((b"#", b"%"))]
    rows = sum(_is_row(line) for line in lines)
    if len(lines) == 1 and not rows:
        names = _names(lines[0].decode("ascii", "replace")) or []
        return {T, X, Y, P}.issubset(map(_field, names))
    return rows > 0 and 2 * rows >= len(lines[1:])  # the first may have the columns' names


def head_size(lines: bytes) -> int:
    """Give the number of bytes before the first event."""
    return _read_head(lines).skip


def find_layout(
    lines: bytes, columns: Sequence[str] | None, unit: TimeUnit | None, name: str
) -> Layout | None:
    """Find the layout by a recording's first lines; None if no event is among them yet.

    `columns` and `unit` are what the user says, which goes before. Raises InputError for columns
    that are not known.
    """
    if columns == CHANNELS:
        return _channel_layout(lines, unit, name)
    head = _read_head(lines)
    rows = [row for line in _sample(lines[head.skip :]) if _is_row(line, 1) for row in [_row(line)]]
    if not rows:
        return None
    names = columns or head.names
    notes = []
    if names is None:
        names = METAVISION if head.metavision else DEFAULT
        _check_guess(rows, names, name)
        if head.metavision:
            notes.append("columns taken for x,y,p,t, as Metavision writes them (--columns)")
    order = _order(names, name, "name them with --columns, as in --columns t,x,y,p")
    stamp = order.index(T)
    unit = unit or _unit_of(names[stamp])
    if unit is None:
        unit, note = _guess_unit([row[stamp] for row in rows if len(row) > stamp], name)
        notes.append(note)
    sensor = None
    if head.height is not None and head.width is not None:
        sensor = head.height, head.width
    return Layout(np.array(order, np.int64), EXPONENTS[unit], sensor, notes, head.skip)


def _channel_layout(lines: bytes, unit: TimeUnit | None, name: str) -> Layout | None:
    """Find the layout of spikes of channels, a time and a channel a line; a first line may name the
    two.
    """
    skip = 0
    for line in lines.splitlines(keepends=True):
        if _is_row(line, 2):
            break
        skip += len(line)
    rows = [_row(line) for line in _sample(lines[skip:]) if _is_row(line, 2)]
    if not rows:
        return None
    notes = []
    if unit is None:
        unit, note = _guess_unit([row[0] for row in rows], name)
        notes.append(note)
    return Layout(np.array([T, X], np.int64), EXPONENTS[unit], None, notes, skip)


def _sample(lines: bytes) -> list[bytes]:
    """Give the first lines that are not empty, without a last one that is cut off."""
    parts = lines.removeprefix(BOM).split(b"\n", SAMPLE)
    return [line.strip() for line in (parts[:-1] or parts) if line.strip()]


def _row(line: bytes) -> list[bytes]:
    return [part for part in FIELDS.split(line) if part]


def _is_row(line: bytes, least: int = 4) -> bool:
    """Tell if a line holds at least so many numbers, beside nothing else but True and False."""
    fields = _row(line)
    return len(fields) >= least and all(
        NUMBER.fullmatch(part) or WORD.fullmatch(part) for part in fields
    )


def _read_head(lines: bytes) -> _Head:
    """Read the lines before the first event."""
    head = _Head(skip=len(BOM) if lines.startswith(BOM) else 0)
    while head.skip < len(lines):
        line, newline, _ = lines[head.skip :].partition(b"\n")
        text = line.decode("utf-8", "replace").strip()
        comment = text.startswith(("#", "%"))
        said = text.lstrip("#% ")
        if comment and said:
            head.metavision |= text.lower().startswith("%geometry:")
            _read_size(said, head)
            if head.names is None and (names := _names(said)):
                head.names = names
        elif said and head.names is None and not _is_row(line, 1):
            if (names := _names(said)) is None:
                return head
            head.names = names
        elif said and not (head.width is None and _is_row(line, 2) and len(_row(line)) == 2):
            return head
        elif said:
            _read_size(said, head)
        if not newline:  # cut off, perhaps within the names
            return head
        head.skip += len(line) + 1
    return head


def _read_size(text: str, head: _Head) -> None:
    if found := SIZE.fullmatch(text):
        head.width, head.height = int(found[1]), int(found[2])
    elif (side := SIDE.fullmatch(text)) and side[1].lower() == "width":
        head.width = int(side[2])
    elif side:
        head.height = int(side[2])


def _names(text: str) -> list[str] | None:
    """Give the names of columns in a line; None unless at least two are known."""
    found = re.split(r"[,;\t]", text) if re.search(r"[,;\t]", text) else SPACES.split(text)
    names = [part.strip().strip("\"'").lower() for part in found]
    return names if sum(_field(part) != OTHER for part in names) >= 2 else None


def _field(name: str) -> int:
    """Give the field that a column's name stands for, or OTHER."""
    bare = name if any(name in aliases for aliases in NAMES.values()) else _without_unit(name)
    return next((k for k, aliases in enumerate(NAMES.values()) if bare in aliases), OTHER)


def _without_unit(name: str) -> str:
    found = UNIT.fullmatch(name)
    return found[1] if found else name


def _unit_of(name: str) -> TimeUnit | None:
    """Give the unit in a name as "t_us" or "time [s]"."""
    found = UNIT.fullmatch(name)
    return found[2].replace("µ", "u") if found else None  # type: ignore[return-value]


def _order(names: Sequence[str], where: str, advice: str) -> list[int]:
    """Give the field of each column. Raises InputError unless t, x, y and p are there once each."""
    order = [_field(name.lower()) for name in names]
    for column, key in enumerate(NAMES):
        if order.count(column) != 1:
            found = "no column" if column not in order else "two columns"
            raise InputError(f"{where}: {found} for {key} in {','.join(names)[:80]}; {advice}")
    return order


def _check_guess(rows: list[list[bytes]], order: str, name: str) -> None:
    """Raise InputError if columns without names are not four, or if none of them is a polarity."""
    columns = mode(len(row) for row in rows)
    found = ""
    if columns > len(order):
        found = f"lines of {columns} columns without names"
    else:
        whole = [row for row in rows if len(row) == len(order)]
        odd = sum(not _is_polarity(row[order.index("p")]) for row in whole)
        if 2 * odd > len(whole):
            found = f"columns without names that are not {','.join(order)}"
    if found:
        raise InputError(
            f"{name}: {found} (a line: {b','.join(rows[0])[:60].decode('ascii', 'replace')}),"
            " expected t,x,y,p, with p 0, 1 or -1; name the columns, as in --columns x,y,p,t, or"
            " in a first line"
        )


def _is_polarity(value: bytes) -> bool:
    return WORD.fullmatch(value) is not None or float(value) in (-1, 0, 1)


def _guess_unit(stamps: list[bytes], name: str) -> tuple[TimeUnit, str]:
    """Guess the unit: seconds for fractions, microseconds for whole numbers. Also gives a note.

    Whole numbers that are written with a point, as 1000.0, are microseconds as well. A single one
    is taken for seconds, as a stream in seconds may begin with 0.0.
    """
    with localcontext() as context:
        context.prec = 60
        try:
            values = [Decimal(stamp.decode("ascii", "replace")) for stamp in stamps]
            fraction = any(value != value.to_integral_value() for value in values)
        except DecimalException:  # a word among the stamps: the reader counts such lines
            return "us", "stamps taken for microseconds; else --time-unit"
    if fraction:
        span_s = float(max(values) - min(values))
        if len(values) >= FEW and span_s > SLOW_S * len(values):
            raise InputError(
                f"{name}: stamps have decimals, but {len(values)} events span {span_s:g} s if they"
                " are seconds; say --time-unit s, ms, us or ns"
            )
        return "s", "stamps have decimals: taken for seconds; else --time-unit"
    written_plainly = all(stamp.lstrip(b"+-").isdigit() for stamp in stamps)
    if not written_plainly and len(set(values)) < 2:
        return "s", "stamps have a decimal point: taken for seconds; else --time-unit"
    return "us", "stamps are whole numbers: taken for microseconds; else --time-unit"
