"""`camera.toml` beside recordings: facts that their files do not say themselves.

Its lines: `width = 640` and `height = 480` of the sensor; `columns = "t,x,y,p"` of text files;
`time_unit = "us"` (s, ms, us or ns) of text, NumPy and HDF5 files.
"""

from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple, get_args

from tmkt import console
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.readers.files import FileSource, TimeUnit
from tmkt.readers.open import open_events
from tmkt.readers.source import check_sensor, parse_sensor
from tmkt.readers.text_layout import parse_columns
from tmkt.toml import load_toml

CAMERA = "camera.toml"
FOLDERS_ABOVE = 2  # of a recording's own: those of its session and its class
EXPECTED = "expected width = 640 and height = 480 in pixels"


class Camera(NamedTuple):
    """Facts in a camera.toml; None where it says nothing. `sensor` is (height, width)."""

    sensor: tuple[int, int] | None = None
    columns: tuple[str, ...] | None = None
    time_unit: TimeUnit | None = None
    path: Path | None = None


def read_camera(folder: Path) -> Camera:
    """Read the camera.toml of a folder, if there is one.

    Raises InputError for one that cannot be read, says nothing, or says what cannot be.
    """
    path = folder / CAMERA
    if not path.exists():
        return Camera()
    try:
        said = load_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read ({error}), {EXPECTED}; mend it") from None
    columns = said.get("columns")
    if columns is not None and not isinstance(columns, str):
        raise InputError(f'{path}: columns = {columns!r}, expected columns = "t,x,y,p"; mend it')
    unit = said.get("time_unit")
    if unit is not None and unit not in get_args(TimeUnit):
        known = ", ".join(get_args(TimeUnit))
        raise InputError(f"{path}: time_unit = {unit!r}, expected one of {known}; mend it")
    of_text = columns is not None or unit is not None
    return Camera(
        _sensor(said, path, of_text),
        None if columns is None else parse_columns(columns, f"{path}: columns ="),
        unit,
        path,
    )


def write_camera(folder: Path, sensor: tuple[int, int]) -> None:
    """Write the camera.toml of recordings whose files do not say their sensor (height, width)."""
    height, width = sensor
    with writing(folder / CAMERA) as beside:
        beside.write_text(f"width = {width}\nheight = {height}\n", encoding="utf-8", newline="\n")


def find_camera(recording: Path) -> Camera:
    """Read the camera.toml beside a recording, or the nearest in the two folders above it."""
    for folder in recording.absolute().parents[: 1 + FOLDERS_ABOVE]:
        if (folder / CAMERA).exists():
            return read_camera(folder)
    return Camera()


def open_recording(
    path: Path,
    *,
    sensor: tuple[int, int] | None = None,
    columns: tuple[str, ...] | None = None,
    time_unit: TimeUnit | None = None,
    **options: Any,
) -> FileSource:
    """Open a recording with what its camera.toml says, as `find_camera` finds it.

    Arguments, as those of `open_events`, go before it. Raises InputError as `open_events` and
    `read_camera` do, and where a file says another sensor than its camera.toml.
    """
    camera = find_camera(path)
    source = open_events(
        path,
        sensor=sensor,
        columns=columns or camera.columns,
        time_unit=time_unit or camera.time_unit,
        **options,
    )
    if source.sensor is None:
        source.sensor = camera.sensor
    elif sensor is None and camera.sensor not in (None, source.sensor):
        source.close()
        (height, width), (said_height, said_width) = source.sensor, camera.sensor
        raise InputError(
            f"{path}: recorded with a sensor of {width}x{height}, but {camera.path} says"
            f" {said_width}x{said_height}; mend it"
        )
    return source


def no_sensor(what: object, folder: Path) -> str:
    """Say that a file does not tell its camera's size, and that camera.toml in `folder` may."""
    return (
        f"{what}: the file does not say its camera's size; write {folder / CAMERA} with the lines:"
        " width = 640, height = 480"
    )


def _sensor(said: dict[str, Any], path: Path, optional: bool) -> tuple[int, int] | None:
    """Give (height, width); None only if `optional`."""
    sides = {"width", "height"} & set(said)
    if isinstance(said.get("sensor"), str) and not sides:
        height, width = parse_sensor(said["sensor"])
        _note_once(
            f"{path}: sensor = {said['sensor']!r} is from before 0.2; write width = {width} and"
            f" height = {height}"
        )
        return height, width
    if optional and not sides:
        return None
    if not all(type(said.get(side)) is int for side in ("width", "height")):
        held = ", ".join(f"{key} = {value!r}" for key, value in said.items())[:80] or "nothing"
        raise InputError(f"{path}: holds {held}, {EXPECTED}; mend it")
    return check_sensor((said["height"], said["width"]), str(path))


@lru_cache(maxsize=100)
def _note_once(note: str) -> None:
    """Say it for the first of many recordings."""
    console.note(note)
