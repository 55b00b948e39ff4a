"""The `.bin` format of ATIS sensors, N-MNIST and N-Caltech101; also SLAYER's `.bs2`.

A record is 5 bytes, big-endian: x (8 bits), y (8), polarity (1), time stamp in microseconds (23).
A record with y = 240 is no event: it marks an overflow of the sensor's clock. The file holds
neither the size of its sensor nor its number of events.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.files import open_plain, writing
from tmkt.kernels import kernel
from tmkt.readers.files import Input, Opened, Writer, record_blocks
from tmkt.readers.source import Counters, Raw
from tmkt.readers.strict import check_events, collect, strict

RECORD = 5  # bytes
MOST_ROWS, MOST_COLUMNS = 240, 256
OVERFLOW_Y = 240
OVERFLOW_US = 2**13  # added to all later stamps by one overflow record (N-MNIST's own readers)
STAMP_US = 2**23  # the stamp's range: 8.388608 s
LONGEST_BRIDGE_US = 3600 * 10**6
CHUNK = 2**18  # events at a time

STATE = 3  # places in the decoder's state, zeros at a recording's start:
OFFSET, LAST, WRAPS = range(STATE)  # added to stamps, the last stamp, how often the clock wrapped


@kernel
def decode_records(
    data: NDArray[np.uint8],
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fill the arrays from 5-byte records and give the number of events.

    Overflow records are no events. `state` carries over to the recording's next part.
    """
    n = 0
    offset, before = state[OFFSET], state[LAST]
    for i in range(data.size // RECORD):
        at = i * RECORD
        if data[at + 1] == OVERFLOW_Y:
            offset += OVERFLOW_US
            continue
        stamp = (
            (np.int64(data[at + 2] & 127) << 16)
            | (np.int64(data[at + 3]) << 8)
            | np.int64(data[at + 4])
        )
        if before - stamp > STAMP_US // 2:
            offset += STAMP_US
            state[WRAPS] += 1
        before = stamp
        t[n] = stamp + offset
        x[n] = data[at]
        y[n] = data[at + 1]
        p[n] = data[at + 2] >> 7
        n += 1
    state[OFFSET], state[LAST] = offset, before
    return n


def open_atis(source: Input) -> Opened:
    """Open a recording of any length.

    Overflow records add 8192 us each. A step back of more than 2^22 us means that the clock
    wrapped: 2^23 us are added, and the wrap is counted.
    """
    return Opened(_read_chunks(source.file, source.options.chunk, source.counters), None)


def _read_chunks(file: IO[bytes], chunk: int, counters: Counters) -> Iterator[Raw]:
    state = np.zeros(STATE, np.int64)
    for block in record_blocks(file, RECORD, chunk, counters):
        raw = Raw.empty(block.size // RECORD)
        n = decode_records(block, state, *raw)
        counters.wraps = int(state[WRAPS])
        yield raw.first(n)


def looks_like_atis(head: bytes) -> bool:
    """Tell by a file's first bytes if they may be such records.

    The format has no mark, but stamps hardly ever go back or leap: at most 1 % of the steps go back
    (a wrap is none) and 99 % are below 2 s. Fewer than 4 records are no evidence. Measured on 3,710
    files: it accepts all 510 recordings, none of 3,200 other files but `.bs2`, and no random bytes.
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
    small = np.count_nonzero(steps < 2_000_000)
    return bool(backward <= 0.01 * len(steps) and small >= 0.99 * len(steps))


def bin_chunks(path: Path, sensor: tuple[int, int], chunk: int) -> Iterator[Events]:
    """Read a `.bin` recording of a sensor of (height, width) pixels; nothing is repaired.

    Overflow records and wraps of the clock count as in `open_atis`. Raises InputError for a
    missing, empty or truncated file and for events that `strict` refuses.
    """
    try:
        with open_plain(path) as file:
            size = file.seek(0, 2)
            file.seek(0)
            records, left_over = divmod(size, RECORD)
            if size == 0:
                raise InputError(
                    f"{path}: empty, expected records of {RECORD} bytes; fetch the file again or"
                    " remove it"
                )
            if left_over:
                raise InputError(
                    f"{path}: truncated, {records} records of {RECORD} bytes and {left_over} bytes"
                    " left over; fetch the file again or remove it"
                )
            yield from strict(_read_chunks(file, min(chunk, records), Counters()), sensor, path)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}), expected a .bin recording; check"
            " the path"
        ) from None


def read_bin(path: Path, sensor: tuple[int, int]) -> Events:
    """Read a whole `.bin` recording. Raises InputError as `bin_chunks` and `collect` do."""
    return collect(bin_chunks(path, sensor, CHUNK), sensor, path)


def encode_bin(events: Events, source: object) -> NDArray[np.uint8]:
    """Give the bytes of a `.bin` recording, without overflow records. `source` is named in errors.

    Raises InputError for what this format cannot hold: a recording of 2^23 us or longer, a sensor
    of more than 240 rows (y = 240 marks an overflow) or 256 columns.
    """
    check_events(events, source)
    height, width = events.sensor
    if height > MOST_ROWS or width > MOST_COLUMNS:
        raise InputError(
            f"{source}: a sensor of {width}x{height} does not fit .bin records (256 columns, 240"
            " rows); crop the recording"
        )
    if events.t[-1] >= STAMP_US:
        raise InputError(
            f"{source}: lasts until {events.t[-1]} us, .bin records hold less than {STAMP_US} us;"
            " cut the recording"
        )
    return _pack(events.t, events.x, events.y, events.p)


def write_bin(events: Events, path: Path) -> None:
    """Write a `.bin` recording that `read_bin` gives back unchanged.

    Raises InputError as `encode_bin` does, and if the disk refuses.
    """
    data = encode_bin(events, path)
    with writing(path) as beside:
        beside.write_bytes(data.tobytes())


def _pack(
    stamps: NDArray[np.int64], x: NDArray[np.uint16], y: NDArray[np.uint16], p: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Pack events with stamps below 2^23 into records: uint8 [n, 5]."""
    data = np.empty((len(stamps), RECORD), np.uint8)
    data[:, 0], data[:, 1] = x, y
    data[:, 2] = p << 7 | (stamps >> 16).astype(np.uint8)
    data[:, 3], data[:, 4] = stamps >> 8 & 255, stamps & 255
    return data


class AtisWriter(Writer):
    """Writer of recordings of any length: its 23-bit clock wraps.

    Overflow records bridge pauses longer than half the clock's range.
    """

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        height, width = sensor
        if height > MOST_ROWS or width > MOST_COLUMNS:
            raise InputError(
                f"{name}: a sensor of {width}x{height} does not fit .bin records (256 columns, 240"
                " rows); choose another format"
            )
        super().__init__(file, name, sensor)
        self._offset, self._last = 0, 0

    def write(self, events: Events) -> None:
        """Append a chunk.

        Raises InputError for a pause of more than an hour: its overflow records would fill the
        disk.
        """
        start = 0
        while start < len(events):
            beyond = int(events.t[start]) - self._offset - STAMP_US  # the clock's range
            if beyond >= 0:
                if beyond < self._last - STAMP_US // 2:  # the reader takes it for a wrap
                    self._offset += STAMP_US
                else:
                    self._bridge(beyond)
            end = int(np.searchsorted(events.t, self._offset + STAMP_US))
            part = slice(start, end)
            stamps = events.t[part] - self._offset
            data = _pack(stamps, events.x[part], events.y[part], events.p[part])
            self._file.write(data.tobytes())
            self._last = int(stamps[-1])
            start = end

    def _bridge(self, pause_us: int) -> None:
        if pause_us > LONGEST_BRIDGE_US:
            raise InputError(
                f"{self._name}: no event for {pause_us / 1e6:.0f} s, .bin records bridge an hour;"
                " use --from-zero or another format"
            )
        markers = pause_us // OVERFLOW_US + 1
        self._file.write(bytes((0, OVERFLOW_Y, 0, 0, 0)) * markers)
        self._offset += markers * OVERFLOW_US
