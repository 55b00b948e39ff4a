"""Event Stream `.es`, version 2, DVS events.

The format is described at github.com/neuromorphic-paris/event_stream. A 20-byte header; then a byte
an event: 255 adds 127 us, 254 resets a decoder and is skipped. Any other byte adds its upper 7 bits
to the time, its lowest bit is the polarity, and x and y follow, 16 bits each, little-endian. y
grows upwards in the file, downwards in `Events`.
"""

from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.files import Input, Opened, Writer
from tmkt.readers.source import Raw

MAGIC = b"Event Stream"
HEADER = 20
KINDS = {0: "generic", 1: "DVS", 2: "ATIS", 3: "asynchronous ATIS", 4: "colour"}
DVS = 1
PAUSE, RESET, PAUSE_US = 255, 254, 127
EVENT = 5  # bytes
LONGEST_PAUSE_US = 3600 * 10**6

STATE = 2  # places in the decoder's state:
NOW, STOPPED = range(STATE)  # the time; the byte at which decoding stopped


@kernel
def _decode(
    data: NDArray[np.uint8],
    height: int,
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fill the arrays and give the number of events.

    Decoding stops at the end, before an event that is not whole, or when the arrays are full.
    """
    n = 0
    now, i = state[NOW], 0
    while i < data.size and n < t.size:
        first = np.int64(data[i])
        if first >= RESET:
            if first == PAUSE:
                now += PAUSE_US
            i += 1
            continue
        if i + EVENT > data.size:
            break
        now += first >> 1
        up = np.int64(data[i + 3]) | np.int64(data[i + 4]) << 8
        t[n], x[n], p[n] = now, np.int64(data[i + 1]) | np.int64(data[i + 2]) << 8, first & 1
        y[n] = height - 1 - up if up < height else 65535  # beyond any sensor: the check drops it
        n += 1
        i += EVENT
    state[NOW], state[STOPPED] = now, i
    return n


def open_event_stream(source: Input) -> Opened:
    """Open a file of DVS events of version 2. Raises InputError for other versions and kinds."""
    head = source.file.read(HEADER)
    if len(head) < HEADER or not head.startswith(MAGIC):
        raise InputError(
            f"{source.name}: an Event Stream header of {len(head)} bytes, expected {HEADER}; fetch"
            " the file again"
        )
    if head[12] != 2 or head[15] != DVS:
        found = f"version {head[12]}.{head[13]}.{head[14]}, {KINDS.get(head[15], 'unknown')} events"
        raise InputError(
            f"{source.name}: an Event Stream of {found}, expected version 2 and DVS events; convert"
            " the file"
        )
    width, height = int.from_bytes(head[16:18], "little"), int.from_bytes(head[18:20], "little")
    return Opened(_read_chunks(source, height), (height, width))


def _read_chunks(source: Input, height: int) -> Iterator[Raw]:
    state = np.zeros(STATE, np.int64)
    rest = b""
    while True:
        read = source.file.read(EVENT * source.options.chunk)
        data = np.frombuffer(bytearray(rest + read), np.uint8)
        while len(data):
            raw = Raw.empty(source.options.chunk)
            n = _decode(data, height, state, *raw)
            data = data[state[STOPPED] :]
            yield raw.first(n)
            if n < len(raw.t):
                break
        rest = data.tobytes()
        if not read:
            source.counters.left_over_bytes += len(rest)
            return


class EventStreamWriter(Writer):
    """Writer of version 2.0.0, DVS events."""

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:
        super().__init__(file, name, sensor)
        self._height, self._last = sensor[0], 0
        file.write(
            MAGIC
            + bytes((2, 0, 0, DVS))
            + sensor[1].to_bytes(2, "little")
            + sensor[0].to_bytes(2, "little")
        )

    def write(self, events: Events) -> None:
        """Append a chunk.

        Raises InputError for a pause of more than an hour: its bytes would fill the disk.
        """
        if len(events) == 0:
            return
        steps = np.diff(events.t, prepend=self._last)
        if steps.max() > LONGEST_PAUSE_US:
            raise InputError(
                f"{self._name}: no event for {steps.max() / 1e6:.0f} s, .es bridges an hour; use"
                " --from-zero or another format"
            )
        pauses = steps // PAUSE_US
        at = np.cumsum(pauses + EVENT) - EVENT
        data = np.full(int(at[-1]) + EVENT, PAUSE, np.uint8)
        data[at] = steps % PAUSE_US << 1 | events.p
        data[at + 1], data[at + 2] = events.x & 255, events.x >> 8
        up = self._height - 1 - events.y.astype(np.int64)
        data[at + 3], data[at + 4] = up & 255, up >> 8
        self._file.write(data.tobytes())
        self._last = int(events.t[-1])
