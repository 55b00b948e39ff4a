"""ECF, the codec of events in Prophesee's HDF5 files (filter 0x8ECF).

Its source describes it: github.com/prophesee-ai/hdf5_ecf. A chunk holds at most 65535 events: four
bytes (their number << 2, and how coordinates are packed), the first stamp (64 bits), then columns:

- stamps: a byte each run, high nibble the step in us, low nibble the length. Length 15: the next 16
  bits are the length. Step 15: the low nibbles of such bytes, lowest first, are a longer step
  before the next run;
- then either all of y, x, p in 24 bits an event, four events in three 32-bit words (the first and
  fourth whole, the others with their low bits in one word and their high bits in the next);
- or y in runs of 16-bit words (5 low bits the length; 31: the next word is), followed by x and p in
  12 bits an event, four in three 16-bit words (split alike), or by x in words of 11 bits and a mask
  of five neighbours to the right, and p in runs of bytes (7 bits of length; 127: the next 16 bits
  are).

All little-endian.
"""

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import kernel
from tmkt.readers.source import Raw

MOST_EVENTS = 65535
HEADER = 12  # bytes
PACKED_YXP, PACKED_XP = 2, 1  # bits of the header: how coordinates are packed


@kernel
def _decode(
    data: NDArray[np.uint8],
    n: int,
    mode: int,
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> bool:
    """Fill the arrays; tell if they are full.

    They are not if the data end early or a run is longer than the events that are left.
    """
    size = data.size
    now = np.int64(0)
    for k in range(8):
        now |= np.int64(data[4 + k]) << 8 * k
    at, i = HEADER, 0
    while i < n:
        if at >= size:
            return False
        step, length = np.int64(data[at] >> 4), np.int64(data[at] & 15)
        at += 1
        shift = 0
        if step == 15:
            far = np.int64(0)
            while step == 15:
                if shift > 56 or at >= size:
                    return False
                far |= length << shift
                shift += 4
                step, length = np.int64(data[at] >> 4), np.int64(data[at] & 15)
                at += 1
            now += far
        now += step
        if length == 15:
            if at + 2 > size:
                return False
            length = np.int64(data[at]) | np.int64(data[at + 1]) << 8
            at += 2
        if length > n - i:
            return False
        for _ in range(length):
            t[i] = now
            i += 1
    if mode & PACKED_YXP:
        return _decode_yxp(data, at, n, x, y, p)
    i = 0
    while i < n:
        if at + 2 > size:
            return False
        word = np.int64(data[at]) | np.int64(data[at + 1]) << 8
        at += 2
        length = word & 31
        if length == 31:
            if at + 2 > size:
                return False
            length = np.int64(data[at]) | np.int64(data[at + 1]) << 8
            at += 2
        if length > n - i:
            return False
        for _ in range(length):
            y[i] = word >> 5
            i += 1
    if mode & PACKED_XP:
        return _decode_xp(data, at, n, x, p)
    return _decode_masks(data, at, n, x, p)


@kernel
def _decode_yxp(
    data: NDArray[np.uint8],
    at: int,
    n: int,
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> bool:
    if at + (n + 3) // 4 * 12 > data.size:
        return False
    for i in range(0, n, 4):
        group = at + i // 4 * 12
        a, b, c = _word(data, group), _word(data, group + 4), _word(data, group + 8)
        values = (a >> 8, (a & 0xFF) | (b >> 16) << 8, (b & 0xFFFF) | (c >> 24) << 16, c & 0xFFFFFF)
        for k in range(min(4, n - i)):
            y[i + k], x[i + k], p[i + k] = (
                values[k] >> 12 & 0x7FF,
                values[k] >> 1 & 0x7FF,
                values[k] & 1,
            )
    return True


@kernel
def _word(data: NDArray[np.uint8], at: int) -> np.int64:
    return (
        np.int64(data[at])
        | np.int64(data[at + 1]) << 8
        | np.int64(data[at + 2]) << 16
        | np.int64(data[at + 3]) << 24
    )


@kernel
def _decode_xp(
    data: NDArray[np.uint8], at: int, n: int, x: NDArray[np.uint16], p: NDArray[np.uint8]
) -> bool:
    if at + (n + 3) // 4 * 6 > data.size:
        return False
    for i in range(0, n, 4):
        group = at + i // 4 * 6
        a = np.int64(data[group]) | np.int64(data[group + 1]) << 8
        b = np.int64(data[group + 2]) | np.int64(data[group + 3]) << 8
        c = np.int64(data[group + 4]) | np.int64(data[group + 5]) << 8
        values = (a >> 4, (a & 15) | (b >> 8) << 4, (b & 255) | (c >> 12) << 8, c & 0xFFF)
        for k in range(min(4, n - i)):
            x[i + k], p[i + k] = values[k] >> 1, values[k] & 1
    return True


@kernel
def _decode_masks(
    data: NDArray[np.uint8], at: int, n: int, x: NDArray[np.uint16], p: NDArray[np.uint8]
) -> bool:
    size = data.size
    i = 0
    while i < n:
        if at + 2 > size:
            return False
        word = np.int64(data[at]) | np.int64(data[at + 1]) << 8
        at += 2
        x[i] = word >> 5
        i += 1
        for k in range(5):
            # The encoder looks beyond the end: it sets bits of events that are not there.
            if word >> (4 - k) & 1 and i < n:
                x[i] = (word >> 5) + k + 1
                i += 1
    i = 0
    while i < n:
        if at >= size:
            return False
        value, length = data[at] >> 7, np.int64(data[at] & 127)
        at += 1
        if length == 127:
            if at + 2 > size:
                return False
            length = np.int64(data[at]) | np.int64(data[at + 1]) << 8
            at += 2
        if length > n - i:
            return False
        for _ in range(length):
            p[i] = value
            i += 1
    return True


def decode_chunk(data: bytes) -> Raw:
    """Decode the events of one chunk. Raises ValueError if it is damaged."""
    head = int.from_bytes(data[:4], "little")
    n = head >> 2
    if n > MOST_EVENTS or len(data) < HEADER:
        raise ValueError(f"{n} events in {len(data)} bytes")
    raw = Raw.empty(n)
    if not _decode(np.frombuffer(bytearray(data), np.uint8), n, head & 3, *raw):
        raise ValueError(f"{len(data)} bytes hold fewer than {n} events")
    return raw
