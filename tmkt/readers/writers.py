"""Formats that recordings are written in, and the one way to write them."""

from collections.abc import Iterable
from contextlib import closing
from pathlib import Path

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.files import writing
from tmkt.readers.aedat2 import Aedat2Writer
from tmkt.readers.aedat4_writer import Aedat4Writer
from tmkt.readers.atis import AtisWriter
from tmkt.readers.dat import DatWriter
from tmkt.readers.event_stream import EventStreamWriter
from tmkt.readers.evt2 import Evt2Writer
from tmkt.readers.evt3 import Evt3Writer
from tmkt.readers.files import Writer
from tmkt.readers.hdf5_writer import Hdf5Writer
from tmkt.readers.numpy_files import NpzWriter
from tmkt.readers.text_writer import TextWriter

WRITERS: dict[str, type[Writer]] = {
    "atis": AtisWriter,
    "aedat2": Aedat2Writer,
    "aedat4": Aedat4Writer,
    "evt2": Evt2Writer,
    "evt3": Evt3Writer,
    "dat": DatWriter,
    "npz": NpzWriter,
    "hdf5": Hdf5Writer,
    "es": EventStreamWriter,
    "csv": TextWriter,
}
SUFFIXES = {
    ".bin": "atis",
    ".aedat": "aedat2",
    ".aedat4": "aedat4",
    ".dat": "dat",
    ".npz": "npz",
    ".h5": "hdf5",
    ".hdf5": "hdf5",
    ".es": "es",
    ".csv": "csv",
    ".txt": "csv",
}


ENDINGS = {format: ending for ending, format in reversed(SUFFIXES.items())} | {
    "evt2": ".raw",
    "evt3": ".raw",
}


def format_to_write(path: Path, asked: str | None) -> str:
    """Give the key in WRITERS by `asked`, or else by the name's ending.

    Raises InputError if neither tells, and for a format that cannot be written.
    """
    name = asked or SUFFIXES.get(path.suffix.lower())
    if name in WRITERS:
        return name
    if name is not None or path.suffix.lower() == ".npy":
        found = f"{name or path.suffix.lower()} cannot be written"
    else:
        found = "the name's ending says no format"
    raise InputError(f"{path}: {found}, expected --to {', '.join(WRITERS)}")


def write_events(chunks: Iterable[Events], path: Path, format: str, sensor: tuple[int, int]) -> int:
    """Write checked chunks in order as `format` (a key of WRITERS); give the number of events.

    Memory stays bounded, and `path` appears only when all is written. Raises InputError for a
    sensor or stamps that the format cannot hold.
    """
    total = 0
    with (
        writing(path) as beside,
        open(beside, "w+b") as file,
        closing(WRITERS[format](file, str(path), sensor)) as writer,
    ):
        for events in chunks:
            writer.write(events)
            total += len(events)
        writer.finish()
    return total
