"""Read protobuf messages from their bytes (https://protobuf.dev/programming-guides/encoding/).

A host that runs bundles needs neither `protobuf` nor `onnx`.
"""

from collections.abc import Iterator

VARINT, EIGHT_BYTES, LENGTH, FOUR_BYTES = 0, 1, 2, 5


class DamagedError(ValueError):
    """The bytes are not a protobuf message."""


def fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield number, wire type and bytes of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at, longest=5)
        number, wire = tag >> 3, tag & 7
        if tag >= 2**32 or number == 0:
            raise DamagedError("a field's tag out of range")
        start = at
        if wire == VARINT:
            _, at = _varint(data, at, longest=10)
        elif wire == LENGTH:
            size, start = _varint(data, at, longest=5)
            at = start + size
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            at += 8 if wire == EIGHT_BYTES else 4
        else:
            raise DamagedError(f"wire type {wire}")
        if at > len(data):
            raise DamagedError("a field longer than its message")
        yield number, wire, data[start:at]


def integers(data: memoryview) -> list[int]:
    """Read numbers of type int64 that follow each other."""
    found, at = [], 0
    while at < len(data):
        value, at = _varint(data, at, longest=10)
        value &= 2**64 - 1
        found.append(value - 2**64 if value >= 2**63 else value)
    return found


def _varint(data: memoryview, at: int, longest: int) -> tuple[int, int]:
    """Read a number of at most `longest` bytes; return it and the place after it."""
    value = 0
    for i, byte in enumerate(data[at : at + longest]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise DamagedError("a number without an end")
