"""Opening of recordings of any format."""

from pathlib import Path

from tmkt.errors import InputError, nearest
from tmkt.files import open_plain
from tmkt.readers.detect import FORMATS, HEAD, detect
from tmkt.readers.files import FileSource, Input, Options, TimeUnit
from tmkt.readers.source import Counters, Disorder


def open_events(
    path: Path,
    *,
    sensor: tuple[int, int] | None = None,
    chunk: int = 65536,
    disorder: Disorder = "drop",
    stream: int = 0,
    time_unit: TimeUnit | None = None,
    layout: str | None = None,
    columns: tuple[str, ...] | None = None,
    repair: bool = False,
    format: str | None = None,
) -> FileSource:
    """Open a recording of any format that `FORMATS` names.

    Its content decides the format, or its name if the content cannot.

    - `sensor`: (height, width), needed if the file does not state it.
    - `chunk`: most events a chunk; the events do not depend on it.
    - `disorder`: what happens to stamps that go back.
    - `stream`: index among the event streams of an AEDAT4 file.
    - `time_unit`: of stamps in .npz, .npy, .mat, HDF5 and text files.
    - `layout`: of the addresses in AEDAT 1 and 2 files that name no chip.
    - `columns`: of text files, in order, as ("t", "x", "y", "p").
    - `repair`: take what is left of a damaged file.
    - `format`: a key of FORMATS, which overrules detection.

    Raises InputError for a file that is missing, unknown or damaged in its header. Unless `repair`,
    iterating raises InputError at the end if more than 1 % of the events had to be dropped, and for
    a file that is cut off or damaged if its format can tell.
    """
    if format is not None and format not in FORMATS:
        raise InputError(
            f"--format {format!r}: unknown, expected one of"
            f" {', '.join(FORMATS)}{nearest(format, list(FORMATS))}"
        )
    try:
        file = open_plain(path)  # the source closes it
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}), expected a recording; check the"
            " path"
        ) from None
    try:
        head = file.read(HEAD)
        file.seek(0)
        if not head:
            raise InputError(
                f"{path}: empty, expected a recording; fetch the file again or remove it"
            )
        name = format or detect(head, path)
        options = Options(
            sensor=sensor,
            chunk=chunk,
            stream=stream,
            time_unit=time_unit,
            layout=layout,
            columns=columns,
            repair=repair,
        )
        source = Input(file, str(path), options, Counters())
        return FileSource(name, FORMATS[name](source), source, disorder)
    except BaseException:
        file.close()
        raise
