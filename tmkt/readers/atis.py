"""`.bin` records of 40 bits: ATIS sensors, N-MNIST, N-Caltech101; also SLAYER's `.bs2`.
`tmkt/readers/bin_records.py` says what a record is.
"""

from collections.abc import Iterator
from typing import IO

import numpy as np

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.bin_records import OVERFLOW_US, OVERFLOW_Y, RECORD, STAMP_US, decode_records
from tmkt.readers.files import Input, Opened, Writer, empty, record_blocks
from tmkt.readers.source import Counters, Raw


def open_atis(source: Input) -> Opened:
    """Overflow records add 8192 us each; a step back of more than 2^22 us is a clock that wrapped,
    and is counted.
    """
    return Opened(_raw(source.file, source.options.chunk, source.counters), None)


def _raw(file: IO[bytes], chunk: int, counters: Counters) -> Iterator[Raw]:
    state = np.zeros(3, np.int64)
    for block in record_blocks(file, RECORD, chunk, counters):
        t, x, y, p = empty(block.size // RECORD)
        n = decode_records(block, state, t, x, y, p)
        counters.wraps = int(state[2])
        yield t[:n], x[:n], y[:n], p[:n]


def looks_like_atis(head: bytes) -> bool:
    """Whether a file's first bytes may be such records: they have no mark, only stamps that hardly
    ever go back or leap.

    At most 1 % of the steps go back (a wrap is none), 99 % are below 2 s; fewer than 4 records are
    no evidence. Measured on 3,710 files: all 510 recordings taken, none of 3,200 others but `.bs2`,
    and no random bytes.
    """
    n = len(head) // RECORD
    if n < 4:
        return False
    records = np.frombuffer(head, np.uint8, n * RECORD).reshape(n, RECORD).astype(np.int64)
    records = records[records[:, 1] != OVERFLOW_Y]
    steps = np.diff((records[:, 2] & 127) << 16 | records[:, 3] << 8 | records[:, 4])
    if len(steps) < 3:
        return False
    backward = np.count_nonzero((steps < 0) & (steps >= -STAMP_US // 2))
    return bool(
        backward <= 0.01 * len(steps) and np.count_nonzero(steps < 2_000_000) >= 0.99 * len(steps)
    )


class AtisWriter(Writer):
    """Writes records. The 23-bit clock wraps; where nothing happens for longer than half its range,
    overflow records say so.
    """

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        height, width = sensor
        if height > OVERFLOW_Y or width > 256:
            raise InputError(
                f"{name}: a sensor of {width}x{height} does not fit .bin records (256 columns, 240"
                " rows); choose another format"
            )
        super().__init__(file, name, sensor)
        self._offset, self._before = 0, 0

    def write(self, events: Events) -> None:
        """Appends a chunk. Raises InputError where an hour passes without an event: the overflow
        records would fill the disk.
        """
        start = 0
        while start < len(events):
            step = int(events.t[start]) - self._offset - STAMP_US  # beyond the clock's range
            if step >= 0:
                if step < self._before - STAMP_US // 2:  # what the reader takes for a wrap
                    self._offset += STAMP_US
                else:
                    self._bridge(step)
            end = int(np.searchsorted(events.t, self._offset + STAMP_US))
            t = events.t[start:end] - self._offset
            data = np.empty((len(t), RECORD), np.uint8)
            data[:, 0], data[:, 1] = events.x[start:end], events.y[start:end]
            data[:, 2] = events.p[start:end] << 7 | (t >> 16).astype(np.uint8)
            data[:, 3], data[:, 4] = t >> 8 & 255, t & 255
            self._file.write(data.tobytes())
            self._before = int(t[-1])
            start = end

    def _bridge(self, step: int) -> None:
        if step > 3600 * 10**6:
            raise InputError(
                f"{self._name}: no event for {step / 1e6:.0f} s, .bin records bridge an hour; use"
                " --from-zero or another format"
            )
        markers = step // OVERFLOW_US + 1
        self._file.write(bytes((0, OVERFLOW_Y, 0, 0, 0)) * markers)
        self._offset += markers * OVERFLOW_US
