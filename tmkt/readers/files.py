"""Common parts of the file readers and writers: options, blocks of records, the source itself."""

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
    """Facts that a user states about a file that does not state them itself."""

    sensor: tuple[int, int] | None = None  # (height, width); a file's own goes before it
    chunk: int = 65536  # events
    stream: int = 0  # index among the file's event streams
    # of stamps in .npz, .npy, .mat, HDF5 and text files; None: microseconds, and stamps that are no
    # integers are refused but in .mat files; text says itself whether it has seconds
    time_unit: TimeUnit | None = None
    # of AEDAT 1 and 2 addresses: a key of aedat2.LAYOUTS; None: the header tells, or DVS128
    layout: str | None = None
    columns: tuple[str, ...] | None = None  # of text, in order; None: the first lines tell
    repair: bool = False  # take what is left of a damaged file


@dataclass(frozen=True)
class Input:
    """Argument of an opener: the file at its first byte, its name for messages, the user's options,
    and the counters to fill.
    """

    file: IO[bytes]
    name: str
    options: Options
    counters: Counters


@dataclass
class Opened:
    """A file whose header is read.

    `raw` gives chunks as they are decoded: at most Options.chunk events and a packet's rest, in
    arrays that belong to the receiver.
    """

    raw: Iterator[Raw]
    sensor: tuple[int, int] | None  # (height, width) by the file
    notes: list[str] = field(default_factory=list)  # what was assumed


Opener = Callable[[Input], Opened]


def record_blocks(
    file: IO[bytes], record: int, chunk: int, counters: Counters
) -> Iterator[NDArray[np.uint8]]:
    """Read blocks of `chunk` records of `record` bytes as uint8; the last block is shorter.

    The next block overwrites the one before. Bytes left over at the file's end are counted.
    """
    memory = bytearray(record * chunk)
    view, buffer = memoryview(memory), np.frombuffer(memory, np.uint8)
    while True:
        got = 0
        while got < len(view) and (n := file.readinto(view[got:])):  # type: ignore[attr-defined]
            got += n
        left_over = got % record
        if got > left_over:
            yield buffer[: got - left_over]
        if got < len(view):
            counters.left_over_bytes += left_over
            return


def report_damage(source: Input, found: str, left_over: int = 0) -> None:
    """Raise InputError for damage that a format can tell.

    Under `repair` the bytes left over are counted instead, and the reader goes on or ends.
    """
    if not source.options.repair:
        raise InputError(
            f"{source.name}: {found}; fetch the file again, or take what is left with --repair"
        )
    source.counters.left_over_bytes += left_over


class Writer:
    """Writer of one recording in one format.

    `write` takes the checked events of all chunks in order; `finish` and `close` are called once.
    """

    def __init__(self, file: IO[bytes], name: str, sensor: tuple[int, int]) -> None:  # noqa: ARG002 - formats look at it
        """Raise InputError for a sensor that the format cannot hold. `name` is for messages."""
        self._file, self._name = file, name

    def write(self, events: Events) -> None:
        """Append a chunk. Raises InputError for stamps that the format cannot hold."""
        raise NotImplementedError

    def finish(self) -> None:
        """Write the file's end. Formats that are rows of records have none."""

    def close(self) -> None:
        """Release everything held beside the file, also after an error."""


class FileSource:
    """A recording on disk as a `Source`."""

    def __init__(self, format: str, opened: Opened, source: Input, disorder: Disorder) -> None:
        self.name, self.format, self.notes = source.name, format, opened.notes
        self.counters = source.counters
        asked = source.options.sensor
        if opened.sensor and asked and opened.sensor != asked:
            (h, w), (ah, aw) = opened.sensor, asked
            raise InputError(
                f"{self.name}: recorded with a sensor of {w}x{h}, but --sensor says {aw}x{ah};"
                " leave --sensor out"
            )
        self.tells_sensor = opened.sensor is not None
        sensor = opened.sensor or asked
        self.sensor = None if sensor is None else check_sensor(sensor, self.name)
        self._file, self._raw = source.file, opened.raw
        self._options, self._disorder = source.options, disorder

    def __iter__(self) -> Iterator[Events]:
        if self.sensor is None:
            self.close()
            raise InputError(
                f"{self.name}: the file does not say its camera's size, expected --sensor"
                " WIDTHxHEIGHT, or a camera.toml beside it with the lines: width = 640, height ="
                " 480"
            )
        return self.chunks(self.sensor)

    def chunks(self, sensor: tuple[int, int]) -> Iterator[Events]:
        """Iterate with the sensor's (height, width) given, which bounds the coordinates."""
        check = Check(self.name, sensor, self.counters, self._disorder)
        chunk = self._options.chunk
        try:
            for raw in self._raw:
                for begin in range(0, len(raw.t), chunk):
                    events = check(raw.part(begin, begin + chunk))
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
        """Approximate number of the file's bytes that are read."""
        return self._file.tell()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
