"""Readers of event recordings and live streams: one file a format, one check behind all of them
(`check.py`), one interface (`source.py`).
"""

from pathlib import Path

from tmkt.errors import InputError, nearest
from tmkt.readers.detect import FORMATS, HEAD, detect
from tmkt.readers.files import FileSource, Input, Options, TimeUnit
from tmkt.readers.source import Counters, Disorder, Source, parse_sensor

__all__ = ["Counters", "Disorder", "FileSource", "Source", "open_events", "parse_sensor"]


def open_events(
    path: Path,
    *,
    sensor: tuple[int, int] | None = None,
    chunk: int = 65536,
    disorder: Disorder = "drop",
    stream: int = 0,
    time_unit: TimeUnit | None = None,
    layout: str | None = None,
    repair: bool = False,
    format: str | None = None,
) -> FileSource:
    """Opens a recording of any format that `FORMATS` names, chosen by its content; the name decides
    where content cannot.

    `sensor` (height, width) is needed where the file does not say it. `chunk` is the most events a
    chunk; the events do not depend on it. `disorder`: what happens to stamps that go back.
    `stream`: which of the event streams of an AEDAT4 file. `time_unit`: of stamps in .npz, .npy and
    HDF5 files. `layout`: of the addresses in AEDAT 1 and 2 files that name no chip. Iterating
    raises InputError at the end where more than 1 % of the events had to be dropped, and where a
    file is cut off or damaged and its format can tell, unless `repair`. Raises InputError for a
    file that is missing, unknown or damaged in its header.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise InputError(
            f"{path}: cannot be read (is not a file), expected a recording; check the path"
        )
    if format is not None and format not in FORMATS:
        raise InputError(
            f"--format {format!r}: unknown, expected one of"
            f" {', '.join(FORMATS)}{nearest(format, list(FORMATS))}"
        )
    try:
        file = open(path, "rb")  # noqa: SIM115
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
        source = Input(
            file, str(path), Options(sensor, chunk, stream, time_unit, layout, repair), Counters()
        )
        return FileSource(name, FORMATS[name](source), source, disorder)
    except BaseException:
        file.close()
        raise
