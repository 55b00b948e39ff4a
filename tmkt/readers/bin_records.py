"""Reads and writes recordings: the 40-bit `.bin` records of ATIS sensors, N-MNIST and N-Caltech101.

A record is 5 bytes, big-endian: x (8 bits), y (8), polarity (1), time stamp in microseconds (23). y
= 240 is no event but says that the sensor's clock ran over. The file knows neither its sensor nor
its number of events.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.files import writing
from tmkt.kernels import kernel

RECORD = 5  # bytes
OVERFLOW_Y = 240
OVERFLOW_US = (
    2**13
)  # what one overflow record adds to all later stamps (the published readers of N-MNIST)
STAMP_US = 2**23  # the stamp's range: 8.388608 s


@kernel
def decode_records(
    data: NDArray[np.uint8],
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fills the arrays from 5-byte records; gives the number of events (records less overflow
    records).

    `state`, zeros at a recording's start, carries over to its next part: what is added to stamps,
    the last stamp, how often it wrapped.
    """
    n = 0
    offset, before = state[0], state[1]
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
            state[2] += 1
        before = stamp
        t[n] = stamp + offset
        x[n] = data[at]
        y[n] = data[at + 1]
        p[n] = data[at + 2] >> 7
        n += 1
    state[0], state[1] = offset, before
    return n


def read_bin(path: Path, sensor: tuple[int, int]) -> Events:
    """Reads a `.bin` recording of a sensor of (height, width) pixels.

    An overflow record (y = 240) adds 8192 us to all later stamps. Writers that leave overflow
    records out let the 23-bit stamp wrap: a step back of more than 2^22 us is read as such a wrap,
    and 2^23 us are added. Everything else that is wrong raises InputError: a missing, empty or
    truncated file, and what `check_events` refuses.
    """
    try:
        if path.exists() and not path.is_file():  # a pipe would be waited for
            raise InputError(
                f"{path}: cannot be read (is not a file), expected a .bin recording; check the path"
            )
        data = np.fromfile(path, np.uint8)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}), expected a .bin recording; check"
            " the path"
        ) from None
    if data.size == 0:
        raise InputError(
            f"{path}: empty, expected records of {RECORD} bytes; fetch the file again or remove it"
        )
    n, left = divmod(data.size, RECORD)
    if left:
        raise InputError(
            f"{path}: truncated, {n} records of {RECORD} bytes and {left} bytes left over; fetch"
            " the file again or remove it"
        )
    t, x, y, p = (
        np.empty(n, np.int64),
        np.empty(n, np.uint16),
        np.empty(n, np.uint16),
        np.empty(n, np.uint8),
    )
    n = decode_records(data, np.zeros(3, np.int64), t, x, y, p)
    events = Events(t[:n], x[:n], y[:n], p[:n], sensor)
    check_events(events, path)
    return events


def check_events(events: Events, source: object) -> None:
    """Refuses what no network may be fed with; every reader ends here. `source` is named in the
    error.

    Raises InputError for no events at all, coordinates outside the sensor, a polarity other than 0
    and 1, negative stamps and stamps that go backwards.
    """
    height, width = events.sensor
    total = len(events)
    if total == 0:
        raise InputError(f"{source}: holds no events, expected at least one; remove the file")
    outside = int(np.count_nonzero((events.x >= width) | (events.y >= height)))
    if outside:
        reach = f"x up to {events.x.max()}, y up to {events.y.max()}"
        raise InputError(
            f"{source}: {outside} of {total} events lie outside the sensor ({reach}), expected x <"
            f" {width} and y < {height}; choose the data set that this recording belongs to, or"
            " remove the file"
        )
    wrong = int(np.count_nonzero(events.p > 1))
    if wrong:
        raise InputError(
            f"{source}: {wrong} of {total} events have a polarity above 1, expected 0 or 1; fetch"
            " the file again or remove it"
        )
    if events.t.min() < 0:
        raise InputError(
            f"{source}: {np.count_nonzero(events.t < 0)} of {total} time stamps are negative; fetch"
            " the file again or remove it"
        )
    steps = np.diff(events.t)
    backward = int(np.count_nonzero(steps < 0))
    if backward:
        raise InputError(
            f"{source}: {backward} of {total} time stamps go backwards (by up to {-steps.min()}"
            " us), expected none; the file is damaged, fetch it again or remove it"
        )


def encode_bin(events: Events, source: object) -> NDArray[np.uint8]:
    """The bytes of a `.bin` recording. `source` is named in errors.

    Raises InputError for a recording of 2^23 us or longer and for a sensor of more than 240 rows (y
    = 240 marks an overflow) or 256 columns: this format cannot hold them. Overflow records are
    never written.
    """
    check_events(events, source)
    height, width = events.sensor
    if height > OVERFLOW_Y or width > 256:
        raise InputError(
            f"{source}: a sensor of {height} x {width} does not fit .bin records (240 rows, 256"
            " columns); crop the recording"
        )
    if events.t[-1] >= STAMP_US:
        raise InputError(
            f"{source}: lasts until {events.t[-1]} us, .bin records hold less than {STAMP_US} us;"
            " cut the recording"
        )
    data: NDArray[Any] = np.empty((len(events), RECORD), np.uint8)
    data[:, 0], data[:, 1] = events.x, events.y
    data[:, 2] = events.p << 7 | (events.t >> 16).astype(np.uint8)
    data[:, 3], data[:, 4] = events.t >> 8 & 255, events.t & 255
    return data


def write_bin(events: Events, path: Path) -> None:
    """Writes a `.bin` recording that `read_bin` gives back unchanged; InputError as in
    `encode_bin`, or if the disk refuses.
    """
    data = encode_bin(events, path)
    with writing(path) as beside:
        beside.write_bytes(data.tobytes())
