"""AEDAT 3.1, the form of the official DVS128 Gesture archive: packets of events after lines of
text.

A packet's header is 28 bytes, little-endian: type and source (int16), event size, offset of the
stamp within an event, number of stamp overflows, capacity, number of events, number of valid ones
(int32). Polarity events (type 1) are 8 bytes: a word with bit 0 = valid, bit 1 = on, y in bits
2..16, x in bits 17..31, and a stamp in microseconds (31 bits). Source: iniVation's specification of
AEDAT 3.1.
"""

import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError

HEADER = struct.Struct("<hhiiiiii")
POLARITY, EVENT = 1, 8
END_OF_TEXT = b"#!END-HEADER\r\n"
LARGEST = 2**32  # bytes of a file


def read_aedat3(path: Path) -> tuple[NDArray[Any], ...]:
    """t, x, y, p of all polarity events, not yet checked. Raises InputError for a file that is
    damaged or cut off.
    """
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(
                f"{path}: {path.stat().st_size} bytes, expected a recording below {LARGEST}; fetch"
                " the file again"
            )
        data = path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}), expected a recording; check the"
            " path"
        ) from None
    at = _end_of_text(data, path)
    parts: list[tuple[NDArray[Any], ...]] = []
    while at < len(data):
        if at + HEADER.size > len(data):
            raise _cut(path, at, len(data))
        kind, _, size, _, overflow, capacity, number, _ = HEADER.unpack_from(data, at)
        if size <= 0 or number < 0 or capacity < number or overflow < 0:
            raise InputError(
                f"{path}: a damaged packet at byte {at} ({number} events of {size} bytes); fetch"
                " the file again"
            )
        at += HEADER.size
        if at + size * capacity > len(data):
            raise _cut(path, at, len(data))
        if kind == POLARITY:
            if size != EVENT:
                raise InputError(
                    f"{path}: polarity events of {size} bytes at byte {at}, expected {EVENT}; fetch"
                    " the file again"
                )
            words = np.frombuffer(data, "<u4", 2 * number, at).reshape(-1, 2)
            words = words[(words[:, 0] & 1) == 1]
            address = words[:, 0]
            t = words[:, 1].astype(np.int64) + (overflow << 31)
            parts.append((t, address >> 17 & 0x7FFF, address >> 2 & 0x7FFF, address >> 1 & 1))
        at += size * capacity
    if not parts:
        raise InputError(f"{path}: holds no events, expected at least one; remove the file")
    t, x, y, p = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    order = np.argsort(
        t, kind="stable"
    )  # packets of one source are in order; this costs little and makes sure
    return t[order], x[order], y[order], p[order]


def _end_of_text(data: bytes, path: Path) -> int:
    if not data.startswith(b"#!AER-DAT3.1"):
        raise InputError(
            f"{path}: begins with {data[:14]!r}, expected #!AER-DAT3.1; convert the file with"
            " iniVation's DV"
        )
    end = data.find(END_OF_TEXT, 0, 2**16)
    if end < 0:
        raise InputError(f"{path}: its header has no end (#!END-HEADER); fetch the file again")
    return end + len(END_OF_TEXT)


def _cut(path: Path, at: int, size: int) -> InputError:
    return InputError(
        f"{path}: cut off, the packet at byte {at} reaches beyond the file's {size} bytes; fetch"
        " the file again"
    )
