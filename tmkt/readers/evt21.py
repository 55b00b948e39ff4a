"""Prophesee EVT2.1 RAW: words of 64 bits (docs.prophesee.ai, "EVT 2.1 Format").

Bits 63..60 are the kind of a word: 0 and 1 off and on events (6 low bits of the stamp; x and y of
11 bits; a mask of the 32 pixels from x on, lowest bit first), 8 the stamp's 28 high bits.

Words are little-endian. IMX636 and its kin send the two halves of a word the other way round, which
OpenEB's header calls "endianness=legacy". Where the header says neither, the kinds of the first
words tell; this is our choice.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.kernels import kernel
from tmkt.readers.evt2 import CONTINUED, LONGEST_US, OTHERS, TIME_HIGH, TRIGGER
from tmkt.readers.files import Input, Opened, record_blocks
from tmkt.readers.prophesee import read_header, sensor_of, stated
from tmkt.readers.source import Raw

WIDTH = 32  # pixels of a word
SAMPLE = 4096  # bytes whose kinds tell the order of halves
KINDS = (0, 1, TIME_HIGH, TRIGGER, OTHERS, CONTINUED)

STATE = 5  # places in the decoder's state:
HIGH, OFFSET, WRAPS, BAD, AT = range(STATE)


@kernel
def _decode(
    halves: NDArray[np.uint32],
    first: int,
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fill the arrays from half-word `state[AT]` on and give the number of events.

    `first`: 1 where the half with the kind comes second. Decoding stops when less than 32 places
    are left in the arrays, or at the words' end.
    """
    n = 0
    high, offset = state[HIGH], state[OFFSET]
    i = state[AT]
    while i < halves.size and n + WIDTH <= t.size:
        word, mask = np.int64(halves[i + first]), np.int64(halves[i + 1 - first])
        i += 2
        kind = word >> 28
        if kind <= 1:
            if high < 0:  # before the first full stamp
                state[BAD] += 1
                continue
            now = offset + (high << 6 | word >> 22 & 63)
            column, row = word >> 11 & 0x7FF, word & 0x7FF
            for bit in range(WIDTH):
                if mask >> bit & 1:
                    t[n], x[n], y[n], p[n] = now, column + bit, row, kind
                    n += 1
        elif kind == TIME_HIGH:
            now = word & 0xFFFFFFF
            if high - now > 2**27:  # 28 bits wrap after 4.77 hours
                offset += LONGEST_US
                state[WRAPS] += 1
            high = now
        elif kind != TRIGGER and kind != OTHERS and kind != CONTINUED:
            state[BAD] += 1
    state[HIGH], state[OFFSET], state[AT] = high, offset, i
    return n


def open_evt21(source: Input) -> Opened:
    """Open a recording.

    Events before the first full stamp and words of unknown kind count as bad records; triggers are
    skipped. Raises InputError for big-endian words.
    """
    header = read_header(source.file, source.name)
    order, notes = stated(header, "endianness").lower(), []
    if order not in ("", "little", "legacy"):
        raise InputError(
            f"{source.name}: words are {order}-endian, expected little or legacy; convert the file"
            " with Metavision"
        )
    swapped = order == "legacy"
    if not order:
        here = source.file.tell()
        swapped = _looks_swapped(source.file.read(SAMPLE))
        source.file.seek(here)
        order = "legacy" if swapped else "little"
        notes = [f"the header does not say the order of half-words: taken for {order}, by kind"]
    return Opened(_read_chunks(source, swapped), sensor_of(header), notes)


def _looks_swapped(data: bytes) -> bool:
    """Tell if the first halves of words have the known kinds more often than the second."""
    halves = np.frombuffer(data, "<u4", len(data) // 8 * 2).reshape(-1, 2)
    known = np.isin(halves >> 28, KINDS).sum(0)
    return bool(known[0] > known[1])


def _read_chunks(source: Input, swapped: bool) -> Iterator[Raw]:
    state = np.zeros(STATE, np.int64)
    state[HIGH] = -1  # no full stamp yet
    for block in record_blocks(source.file, 8, source.options.chunk, source.counters):
        halves = block.view(np.uint32)
        state[AT] = 0
        while state[AT] < halves.size:
            raw = Raw.empty(source.options.chunk + WIDTH - 1)
            n = _decode(halves, 0 if swapped else 1, state, *raw)
            source.counters.wraps, source.counters.bad_records = int(state[WRAPS]), int(state[BAD])
            yield raw.first(n)
