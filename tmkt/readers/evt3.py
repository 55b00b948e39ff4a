"""Prophesee EVT3 RAW: words of 16 bits, little-endian (docs.prophesee.ai, "EVT 3.0 Format").

A word changes the decoder's state or sends events from it. Bits 15..12 are its kind: 0 a row; 2 an
event at x; 3 the start and polarity of vectors; 4 and 5 a mask of 12 and 8 events from there,
lowest bit first; 6 and 8 the stamp's 12 low and 12 high bits.
"""

from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.files import Input, Opened, Writer, record_blocks
from tmkt.readers.prophesee import read_header, sensor_of
from tmkt.readers.source import Raw

ROW, EVENT, BASE, VECTOR_12, VECTOR_8, TIME_LOW, TIME_HIGH = 0, 2, 3, 4, 5, 6, 8
CONTINUED_4, TRIGGER, OTHERS, CONTINUED_12 = 7, 10, 14, 15
SIDE = 2048
HALF_RANGE = 2**11  # of the high bits: 8.4 s
LONGEST_BRIDGE_US = 3600 * 10**6

STATE = 9  # places in the decoder's state:
HIGH, LOW, OFFSET, Y, X, P, WRAPS, BAD, AT = range(STATE)


@kernel
def _decode(
    words: NDArray[np.uint16],
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fill the arrays from word `state[AT]` on and give the number of events.

    Decoding stops when less than 12 places are left in the arrays, or at the words' end.
    """
    n = 0
    high, low, offset = state[HIGH], state[LOW], state[OFFSET]
    row, column, polarity = state[Y], state[X], state[P]
    i = state[AT]
    while i < words.size and n + 12 <= t.size:
        word = np.int64(words[i])
        i += 1
        kind, value = word >> 12, word & 0xFFF
        if kind == EVENT:
            if high < 0:
                state[BAD] += 1
                continue
            t[n], x[n], y[n], p[n] = offset + (high << 12 | low), value & 0x7FF, row, value >> 11
            n += 1
        elif kind in (VECTOR_12, VECTOR_8):
            size = 12 if kind == VECTOR_12 else 8
            if high < 0:
                state[BAD] += 1
            else:
                for bit in range(size):
                    if value >> bit & 1:
                        t[n], x[n] = offset + (high << 12 | low), column + bit
                        y[n], p[n] = row, polarity
                        n += 1
            column = min(column + size, 2 * SIDE)  # beyond any sensor: the check drops it
        elif kind == ROW:
            row = value & 0x7FF
        elif kind == BASE:
            column, polarity = value & 0x7FF, value >> 11
        elif kind == TIME_LOW:
            low = value  # may go back a little within one high stamp: never a carry
        elif kind == TIME_HIGH:
            if value != high:
                if high - value > HALF_RANGE:  # 24 bits wrap after 16.8 s
                    offset += 2**24
                    state[WRAPS] += 1
                high, low = value, 0
        elif kind != CONTINUED_4 and kind != TRIGGER and kind != OTHERS and kind != CONTINUED_12:
            state[BAD] += 1
    state[HIGH], state[LOW], state[OFFSET] = high, low, offset
    state[Y], state[X], state[P] = row, column, polarity
    state[AT] = i
    return n


def open_evt3(source: Input) -> Opened:
    """Open a recording.

    Events before the first high stamp and words of unknown kind count as bad records; triggers are
    skipped.
    """
    header = read_header(source.file, source.name)
    return Opened(_read_chunks(source), sensor_of(header))


def _read_chunks(source: Input) -> Iterator[Raw]:
    state = np.zeros(STATE, np.int64)
    state[HIGH] = -1  # no high stamp yet
    for block in record_blocks(source.file, 2, source.options.chunk, source.counters):
        words = block.view(np.uint16)
        state[AT] = 0
        while state[AT] < words.size:
            raw = Raw.empty(source.options.chunk + 11)
            n = _decode(words, state, *raw)
            source.counters.wraps, source.counters.bad_records = int(state[WRAPS]), int(state[BAD])
            yield raw.first(n)


class Evt3Writer(Writer):
    """Writer of one word an event, and of stamps and rows where they change; no vectors."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        height, width = sensor
        if max(sensor) > SIDE:
            raise InputError(
                f"{name}: a sensor of {width}x{height} does not fit EVT3 ({SIDE}x{SIDE}); choose"
                " another format"
            )
        super().__init__(file, name, sensor)
        self._stamp, self._row, self._begun = 0, -1, False
        file.write(
            f"% evt 3.0\n% format EVT3;height={height};width={width}\n% geometry"
            f" {width}x{height}\n% end\n".encode()
        )

    def write(self, events: Events) -> None:
        """Append a chunk.

        Raises InputError for a pause of more than an hour: the high stamps in it would fill the
        disk.
        """
        start = 0
        steps = np.diff(events.t >> 12, prepend=self._stamp >> 12)
        pauses = np.flatnonzero(steps >= HALF_RANGE).tolist()
        for end in [*pauses, len(events)]:
            if end > start:
                self._write(events, slice(start, end))
            if end < len(events):
                self._bridge(int(events.t[end]))
            start = end

    def _bridge(self, until: int) -> None:
        """Write high stamps in a pause, so that the reader sees the 24-bit clock wrap."""
        if until - self._stamp > LONGEST_BRIDGE_US:
            raise InputError(
                f"{self._name}: no event for {(until - self._stamp) / 1e6:.0f} s, EVT3 bridges an"
                " hour; use --from-zero or another format"
            )
        steps = np.arange(self._stamp >> 12, until >> 12, HALF_RANGE - 1)
        self._file.write((TIME_HIGH << 12 | steps & 0xFFF).astype("<u2").tobytes())
        self._stamp, self._begun = int(steps[-1]) << 12, True

    def _write(self, events: Events, part: slice) -> None:
        t = events.t[part]
        words = np.empty((len(t), 4), np.uint16)
        words[:, 0] = TIME_HIGH << 12 | t >> 12 & 0xFFF
        words[:, 1] = TIME_LOW << 12 | t & 0xFFF
        words[:, 2] = ROW << 12 | events.y[part]
        words[:, 3] = EVENT << 12 | events.p[part].astype(np.uint16) << 11 | events.x[part]
        used = np.ones(words.shape, np.bool_)
        used[:, 0] = np.diff(t >> 12, prepend=self._stamp >> 12) != 0
        used[0, 0] |= not self._begun
        used[:, 1] = np.diff(t, prepend=self._stamp) != 0
        used[0, 1] = True
        used[:, 2] = np.diff(events.y[part].astype(np.int64), prepend=self._row) != 0
        self._file.write(words[used].astype("<u2").tobytes())
        self._stamp, self._row, self._begun = int(t[-1]), int(events.y[part][-1]), True
