"""What the readers of files share: options, blocks of records, and the source around a decoder."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO, Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.check import Check
from tmkt.readers.source import Counters, Disorder, Raw, check_sensor

TimeUnit = Literal["s", "ms", "us", "ns"]


@dataclass(frozen=True)
class Options:
    """What a user may say about a file that does not say it itself."""

    sensor: tuple[int, int] | None = None  # (height, width); a file's own goes before it
    chunk: int = 65536  # events
    stream: int = 0  # which of the file's event streams
    time_unit: TimeUnit | None = (
        # of stamps in .npz, .npy and HDF5 files; None: integers are microseconds, others are
        # refused
        None
    )
    layout: str | None = (
        # of AEDAT 1 and 2 addresses: a key of aedat2.LAYOUTS; None: the header tells, or DVS128
        None
    )
    repair: bool = False  # take what is left of a damaged file


@dataclass(frozen=True)
class Input:
    """What an opener gets: the file at its first byte, its name for messages, what the user says,
    and where to count.
    """

    file: IO[bytes]
    name: str
    options: Options
    counters: Counters


@dataclass
class Opened:
    """A file whose header is read."""

    raw: Iterator[
        Raw
        # chunks as they are decoded, at most Options.chunk events and a packet's rest; arrays are the
        # receiver's own
    ]
    sensor: tuple[int, int] | None  # what the file says
    notes: list[str] = field(default_factory=list)  # what was assumed


Opener = Callable[[Input], Opened]


def record_blocks(
    file: IO[bytes], record: int, chunk: int, counters: Counters
) -> Iterator[NDArray[np.uint8]]:
    """Gives uint8 blocks of `chunk` records of `record` bytes (the last is shorter) up to the
    file's end, where bytes left over are counted.

    The next block overwrites the one before.
    """
    memory = bytearray(record * chunk)
    view, buffer = memoryview(memory), np.frombuffer(memory, np.uint8)
    while True:
        got = 0
        while got < len(view) and (n := file.readinto(view[got:])):  # type: ignore[attr-defined]
            got += n
        left = got % record
        if got > left:
            yield buffer[: got - left]
        if got < len(view):
            counters.left_over_bytes += left
            return


def damaged(source: Input, found: str, left_over: int = 0) -> None:
    """Raises InputError for damage that a format can tell; under `repair` only counts what is left
    over, and the reader goes on or ends.
    """
    if not source.options.repair:
        raise InputError(
            f"{source.name}: {found}; fetch the file again, or take what is left with --repair"
        )
    source.counters.left_over_bytes += left_over


def empty(n: int) -> Raw:
    """Arrays for n events, to be filled."""
    return (
        np.empty(n, np.int64),
        np.empty(n, np.uint16),
        np.empty(n, np.uint16),
        np.empty(n, np.uint8),
    )


class Writer:
    """Writes one recording as one format: the checked events of all chunks, in order; `finish` and
    `close` once.
    """

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:  # noqa: ARG002
        """Raises InputError for a sensor that the format cannot hold. `name` is for messages."""
        self._file, self._name = file, name

    def write(self, events: Events) -> None:
        """Appends a chunk. Raises InputError for stamps that the format cannot hold."""
        raise NotImplementedError

    def finish(self) -> None:
        """Writes what stands at the file's end: by default nothing, as in all formats that are rows
        of records.
        """

    def close(self) -> None:
        """Lets go of what it holds beside the file, also after an error."""


class FileSource:
    """A recording on disk as a `Source`."""

    def __init__(self, format: str, opened: Opened, source: Input, disorder: Disorder) -> None:
        self.name, self.format, self.notes, self.counters = (
            source.name,
            format,
            opened.notes,
            source.counters,
        )
        asked = source.options.sensor
        if opened.sensor and asked and opened.sensor != asked:
            (h, w), (ah, aw) = opened.sensor, asked
            raise InputError(
                f"{self.name}: recorded with a sensor of {w}x{h}, but --sensor says {aw}x{ah};"
                " leave --sensor out"
            )
        sensor = opened.sensor or asked
        self.sensor = None if sensor is None else check_sensor(sensor, self.name)
        self._file, self._raw, self._options, self._disorder = (
            source.file,
            opened.raw,
            source.options,
            disorder,
        )

    def __iter__(self) -> Iterator[Events]:
        if self.sensor is None:
            self.close()
            raise InputError(
                f"{self.name}: {self.format} files do not tell the sensor's size, expected --sensor"
                " WIDTHxHEIGHT"
            )
        return self.chunks(self.sensor)

    def chunks(self, sensor: tuple[int, int]) -> Iterator[Events]:
        """As iteration, with the sensor's size given: the bound of coordinates."""
        check = Check(self.name, sensor, self.counters, self._disorder)
        chunk = self._options.chunk
        try:
            for raw in self._raw:
                for i in range(0, len(raw[0]), chunk):
                    t, x, y, p = raw
                    events = check(
                        (t[i : i + chunk], x[i : i + chunk], y[i : i + chunk], p[i : i + chunk])
                    )
                    if len(events):
                        yield events
            if last := check.finish():
                yield last
        except OSError as error:
            raise InputError(
                f"{self.name}: cannot be read ({error.strerror or error}); check the disk, fetch"
                " the file again"
            ) from None
        finally:
            self.close()
        if not self._options.repair:
            self.counters.require_sound(self.name)
        if self.counters.events == 0:
            other = (
                ", or choose another stream of it with --stream" if self.format == "aedat4" else ""
            )
            raise InputError(
                f"{self.name}: holds no events, expected at least one; remove the file{other}"
            )

    @property
    def position(self) -> int:
        """How many of the file's bytes are read, about."""
        return self._file.tell()

    def close(self) -> None:
        self._file.close()
