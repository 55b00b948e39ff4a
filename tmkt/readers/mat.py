"""MATLAB files (level 5) of events, as CEP-DVS has them: vectors x, y, p and ts.

`ts` counts microseconds: that is our reading, the data set's page does not say it. p is 1 for on, 0
or -1 for off.

A file is a header of 128 bytes, then elements: a tag (type and size, 32 bits each; a small element
has both and up to four bytes of data in its first 8 bytes), data, padding to 8 bytes. An element of
type 14 is a variable: four elements for flags, dimensions, name and values. Type 15 is a variable
compressed with zlib. Source: MathWorks, "MAT-File Format", level 5. SciPy's `loadmat` is not used:
damaged files crash it (1.17.1, measured), and it bounds no memory.
"""

import math
import zlib
from collections.abc import Iterator
from itertools import islice
from struct import unpack_from
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.columns import to_raw
from tmkt.readers.files import Input, Opened
from tmkt.readers.source import Raw

MAGIC = b"MATLAB 5.0 MAT-file"
HEADER = 128  # bytes; the last two tell the byte order
LITTLE_ENDIAN, BIG_ENDIAN = b"IM", b"MI"
LARGEST = 2**28  # bytes of a file, packed or not: CEP-DVS's recordings have far less
LONGEST_NAME, MOST_DIMENSIONS = 63, 32  # MATLAB's and NumPy's limits
NAMES = {"t": "ts", "x": "x", "y": "y", "p": "p"}

VARIABLE, COMPRESSED = 14, 15  # types of elements
TYPES = {
    1: "i1",
    2: "u1",
    3: "i2",
    4: "u2",
    5: "i4",
    6: "u4",
    7: "f4",
    9: "f8",
    12: "i8",
    13: "u8",
}  # of values
NUMERIC = range(6, 16)  # classes of variables
COMPLEX = 0x800  # a variable's flag

Columns = dict[str, NDArray[Any]]  # t, x, y and p as the file has them, of one length


class _Damage(Exception):
    """A fault of a file, in a few words."""


class _Element(NamedTuple):
    type: int
    data: memoryview


def open_mat(source: Input) -> Opened:
    """Open a file and read its columns. Raises InputError for anything else."""
    return Opened(_convert(source, _read_columns(source.file, source.name)), None)


def _convert(source: Input, columns: Columns) -> Iterator[Raw]:
    chunk = source.options.chunk
    for start in range(0, len(columns["t"]), chunk):
        part = {key: column[start : start + chunk] for key, column in columns.items()}
        yield to_raw(part, source.options.time_unit)


def _read_columns(file: IO[bytes], name: str) -> Columns:
    size = file.seek(0, 2)
    file.seek(0)
    if size > LARGEST:
        raise InputError(
            f"{name}: {size} bytes, expected a recording below {LARGEST}; fetch the file again"
        )
    try:
        variables = dict(_variables(file.read()))
    except _Damage as error:
        raise InputError(f"{name}: cannot be read ({error}); fetch the file again") from None
    missing = [column for column in ("x", "y", "p", "ts") if column not in variables]
    if missing:
        raise InputError(
            f"{name}: holds no {', '.join(missing)}, expected x, y, p and ts, one value an event;"
            " fetch the file again"
        )
    columns = {key: variables[column] for key, column in NAMES.items()}
    if len({column.size for column in columns.values()}) != 1:
        found = ", ".join(f"{column.dtype} {column.shape}" for column in columns.values())
        raise InputError(
            f"{name}: columns of {found}, expected numbers of one length; fetch the file again"
        )
    for column in columns.values():
        if column.dtype.kind == "f" and not np.isfinite(column).all():
            raise InputError(
                f"{name}: holds values that are no numbers, expected whole ones; fetch the file"
                " again"
            )
    return columns


def _variables(content: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Give name and values of the real numeric variables among x, y, p and ts."""
    if not content.startswith(MAGIC) or len(content) < HEADER:
        raise _Damage(f"begins with {content[:19]!r}, expected {MAGIC.decode()}")
    mark = content[HEADER - 2 : HEADER]
    if mark not in (LITTLE_ENDIAN, BIG_ENDIAN):
        raise _Damage(f"byte order {mark!r}")
    order = "<" if mark == LITTLE_ENDIAN else ">"
    left = LARGEST
    for element in _elements(memoryview(content)[HEADER:], order):
        if element.type == COMPRESSED:
            unpacked = _decompress(element.data, left)
            left -= len(unpacked)
            element = next(_elements(memoryview(unpacked), order))
        if element.type == VARIABLE and (found := _variable(element.data, order)):
            yield found


def _elements(data: memoryview, order: str) -> Iterator[_Element]:
    at = 0
    while at + 8 <= len(data):
        type, size = unpack_from(f"{order}II", data, at)
        if type >> 16:  # a small element: size and type in one word
            size, type = type >> 16, type & 0xFFFF
            if size > 4:
                raise _Damage(f"a small element of {size} bytes")
            yield _Element(type, data[at + 4 : at + 4 + size])
            at += 8
            continue
        if at + 8 + size > len(data):
            raise _Damage(f"cut off: an element of {size} bytes, {len(data) - at - 8} are left")
        yield _Element(type, data[at + 8 : at + 8 + size])
        at += 8 + (size if type == COMPRESSED else -(-size // 8) * 8)
    if at < len(data):
        raise _Damage(f"cut off: {len(data) - at} bytes are left, less than an element")


def _decompress(data: memoryview, most: int) -> bytes:
    """Unpack at most `most` bytes.

    The checksum is not looked at: those of CEP-DVS's archive do not hold (Knowledge Transfer's
    loader passes over them as well).
    """
    decoder = zlib.decompressobj(-zlib.MAX_WBITS)  # without header and checksum
    try:
        unpacked = decoder.decompress(data[2:], most + 1)
    except zlib.error as error:
        raise _Damage(str(error)) from None
    if len(unpacked) > most:
        raise _Damage(f"unpacks to more than {LARGEST} bytes")
    if not decoder.eof or len(unpacked) < 8:
        raise _Damage("cut off: a compressed variable ends early")
    return unpacked


def _variable(data: memoryview, order: str) -> tuple[str, NDArray[Any]] | None:
    parts = list(islice(_elements(data, order), 4))
    if len(parts) < 4 or len(parts[0].data) < 4:
        return None
    flags, dimensions, name, values = parts
    if len(name.data) > LONGEST_NAME or len(dimensions.data) > 4 * MOST_DIMENSIONS:
        return None
    (word,) = unpack_from(f"{order}I", flags.data)
    found = bytes(name.data).decode("ascii", "replace")
    if found not in NAMES.values() or word & 0xFF not in NUMERIC or word & COMPLEX:
        return None
    if values.type not in TYPES:
        raise _Damage(f"{found} holds values of type {values.type}")
    dtype = np.dtype(order + TYPES[values.type])
    sides = np.frombuffer(dimensions.data, f"{order}i4", len(dimensions.data) // 4).tolist()
    if math.prod(sides) * dtype.itemsize != len(values.data):
        raise _Damage(f"{found} of shape {sides} holds {len(values.data)} bytes of {dtype}")
    return found, np.frombuffer(values.data, dtype).astype(dtype.newbyteorder("="), copy=False)
