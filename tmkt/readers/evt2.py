"""Prophesee EVT2 RAW: words of 32 bits, little-endian (docs.prophesee.ai, "EVT 2.0 Format").

Bits 31..28 are the kind of a word: 0 and 1 an off and an on event (6 low bits of the stamp, x, y of
11 bits), 8 the stamp's 28 high bits.
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

TIME_HIGH, TRIGGER, OTHERS, CONTINUED = 8, 10, 14, 15
LONGEST_US = 2**34
SIDE = 2048

STATE = 4  # places in the decoder's state:
HIGH, OFFSET, WRAPS, BAD = range(STATE)


@kernel
def _decode(
    words: NDArray[np.uint32],
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fill the arrays and give the number of events."""
    n = 0
    high, offset = state[HIGH], state[OFFSET]
    for i in range(words.size):
        word = np.int64(words[i])
        kind = word >> 28
        if kind <= 1:
            if high < 0:  # before the first full stamp
                state[BAD] += 1
                continue
            t[n] = offset + (high << 6 | word >> 22 & 63)
            x[n] = word >> 11 & 0x7FF
            y[n] = word & 0x7FF
            p[n] = kind
            n += 1
        elif kind == TIME_HIGH:
            now = word & 0xFFFFFFF
            if high - now > 2**27:  # 28 bits wrap after 4.77 hours
                offset += LONGEST_US
                state[WRAPS] += 1
            high = now
        elif kind != TRIGGER and kind != OTHERS and kind != CONTINUED:
            state[BAD] += 1
    state[HIGH], state[OFFSET] = high, offset
    return n


def open_evt2(source: Input) -> Opened:
    """Open a recording.

    Events before the first full stamp and words of unknown kind count as bad records; triggers are
    skipped.
    """
    header = read_header(source.file, source.name)
    return Opened(_read_chunks(source), sensor_of(header))


def _read_chunks(source: Input) -> Iterator[Raw]:
    state = np.zeros(STATE, np.int64)
    state[HIGH] = -1  # no full stamp yet
    for block in record_blocks(source.file, 4, source.options.chunk, source.counters):
        raw = Raw.empty(block.size // 4)
        n = _decode(block.view(np.uint32), state, *raw)
        source.counters.wraps, source.counters.bad_records = int(state[WRAPS]), int(state[BAD])
        yield raw.first(n)


class Evt2Writer(Writer):
    """Writer with stamps below 2^34 us."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        height, width = sensor
        if max(sensor) > SIDE:
            raise InputError(
                f"{name}: a sensor of {width}x{height} does not fit EVT2 ({SIDE}x{SIDE}); choose"
                " another format"
            )
        super().__init__(file, name, sensor)
        self._high = -1
        file.write(
            f"% evt 2.0\n% format EVT2;height={height};width={width}\n% geometry"
            f" {width}x{height}\n% end\n".encode()
        )

    def write(self, events: Events) -> None:
        """Append a chunk. Raises InputError for stamps that the format cannot hold."""
        if len(events) and events.t[-1] >= LONGEST_US:
            raise InputError(
                f"{self._name}: stamps of {events.t[-1]} us do not fit EVT2 (below 2^34); use"
                " --from-zero"
            )
        high = events.t >> 6
        words = np.empty((len(events), 2), np.uint32)
        words[:, 0] = TIME_HIGH << 28 | high
        words[:, 1] = (
            events.p.astype(np.int64) << 28
            | (events.t & 63) << 22
            | events.x.astype(np.int64) << 11
            | events.y
        )
        used = np.ones(words.shape, np.bool_)
        used[:, 0] = np.diff(high, prepend=self._high) != 0
        self._file.write(words[used].astype("<u4").tobytes())
        self._high = int(high[-1]) if len(events) else self._high
