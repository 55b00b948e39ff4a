"""A user's own data: `<class>/<name>.<recording>` in one folder, `<class>/<name>.png` in another.

The folders' names are the classes. Recordings of one session lie in a folder of their own,
`<class>/<session>/<name>.<recording>`: the session is their instance, so that no split tears it
apart. A recording (or session) and an image with one name in one class show the same thing.
Recordings are of one camera: where their files do not say its size, `camera.toml` beside the
classes does, as `width = 640` and `height = 480`, or the recipe.
"""

from functools import cache, partial
from pathlib import Path

import numpy as np

from tmkt import console
from tmkt.datasets.images import SUFFIXES, need_folder, need_size, read_images
from tmkt.datasets.types import Dataset, Recording, StaticImages, in_order
from tmkt.errors import InputError
from tmkt.events.types import View
from tmkt.readers import open_events, parse_sensor
from tmkt.readers.source import check_sensor
from tmkt.toml import load_toml

RECORDINGS = (
    ".bin",
    ".aedat",
    ".aedat4",
    ".raw",
    ".dat",
    ".npz",
    ".npy",
    ".h5",
    ".hdf5",
    ".es",
    ".mat",
)
NAME = "folders"
CAMERA = "camera.toml"
MOST_CLASSES = 10_000


def folders(classes: tuple[str, ...], camera: tuple[int, int] | None = None) -> Dataset:
    """Give the data set "folders". With `classes`, labels are in their order, and other folders are
    refused. `camera`: (height, width) where the recordings do not say it.
    """
    return Dataset(
        name=NAME,
        title="your own class/recording and class/image",
        classes=classes,
        view=None,
        find_recordings=partial(_recordings, classes, camera),
        load_images=partial(_images, classes),
        find_classes=class_names,
    )


def class_names(root: Path) -> tuple[str, ...]:
    """Find the folders in `root` that hold recordings, sorted; InputError for none."""
    paths = recording_files(root)
    names = sorted({class_of(path, root) for path in paths})
    if len(names) == 1 and all(path.parent.parent != root for path in paths):
        inner = root / names[0]
        found = ", ".join(sorted({path.parent.name for path in paths}))[:100]
        raise InputError(
            f"{root}: holds one folder, {names[0]}, and in it {found}, expected several classes;"
            f" give {inner}"
        )
    if not names:
        what = "holds no recordings" if root.is_dir() else "no such folder"
        raise InputError(
            f"{root}: {what}, expected <class>/<name> with one of {' '.join(RECORDINGS)}; give the"
            " folder that holds the classes"
        )
    if len(names) > MOST_CLASSES:
        raise InputError(
            f"{root}: {len(names)} folders with recordings, expected at most {MOST_CLASSES}"
            " classes; give the folder that holds the classes"
        )
    return tuple(names)


def recording_files(root: Path) -> list[Path]:
    """List the recordings of all classes, those in folders of sessions included."""
    return _files(root, RECORDINGS, ("*/*", "*/*/*"))


def image_files(root: Path) -> list[Path]:
    """List the images of all classes."""
    return _files(root, SUFFIXES, ("*/*",))


def class_of(path: Path, root: Path) -> str:
    """Give the class of a recording or an image: the folder in `root` that holds it."""
    return path.relative_to(root).parts[0]


def instance_of(path: Path, root: Path) -> str:
    """Give the instance of a recording or an image: its class, and its session or its own name."""
    session = path.parent.parent != root
    return f"{class_of(path, root)}/{path.parent.name if session else path.stem}"


def _files(root: Path, suffixes: tuple[str, ...], layouts: tuple[str, ...]) -> list[Path]:
    return sorted(
        p
        for layout in layouts
        for p in root.glob(layout)
        if p.suffix.lower() in suffixes
        and not any(part.startswith(".") for part in p.relative_to(root).parts)
    )


def _recordings(
    classes: tuple[str, ...], camera: tuple[int, int] | None, root: Path
) -> list[Recording]:
    names = classes or class_names(root)
    paths = recording_files(root)
    if not paths:
        class_names(root)
    view = View(_sensor(root, paths[0], camera))
    return in_order(
        [
            Recording(path, _label(path, root, names), instance_of(path, root), view)
            for path in paths
        ]
    )


def _images(
    classes: tuple[str, ...], root: Path | None, size: tuple[int, int] | None = None
) -> StaticImages:
    """Load the images of `classes`, or of all folders, resized to `size`."""
    folder = need_folder(root, "<class>/<name>.png")
    paths = image_files(folder)
    if not paths:
        raise InputError(
            f"{folder}: holds no images, expected <class>/<name> with one of {' '.join(SUFFIXES)};"
            " check --static"
        )
    names = classes or tuple(sorted({path.parent.name for path in paths}))
    labels = np.array([_label(path, folder, names) for path in paths], np.int64)
    return StaticImages(
        read_images(paths, need_size(size, "folders")),
        labels,
        tuple(instance_of(path, folder) for path in paths),
    )


def _label(path: Path, root: Path, classes: tuple[str, ...]) -> int:
    name = class_of(path, root)
    if name not in classes:
        known = ", ".join(classes)[:100]
        raise InputError(
            f"{path}: of class {name!r}, expected one of {known}; rename the folder or move it away"
        )
    return classes.index(name)


def _sensor(root: Path, first: Path, camera: tuple[int, int] | None) -> tuple[int, int]:
    """Give (height, width) by camera.toml or the first recording's file, or else `camera`.

    Raises InputError where none of them says it, and where `camera` contradicts.
    """
    said = said_sensor(root, first)
    if said and camera and said != camera:
        found, expected = (f"{width}x{height}" for height, width in (said, camera))
        raise InputError(
            f"{root}: recorded with a sensor of {found}, expected {expected} as data.camera_width"
            " and data.camera_height say; give recordings of that camera, or leave the keys out"
        )
    if sensor := said or camera:
        return sensor
    raise InputError(
        f"{first}: the file does not say its camera's size; write {root / CAMERA} with the lines:"
        " width = 640, height = 480"
    )


def said_sensor(root: Path, first: Path) -> tuple[int, int] | None:
    """Read (height, width) from camera.toml, or else from the first recording's file.

    None where neither says it.
    """
    path = root / CAMERA
    if path.exists():
        return _read_camera(path)
    if first.suffix in (".bin", ".mat"):
        return None
    source = open_events(first)
    source.close()
    return source.sensor


@cache
def _note_once(text: str) -> None:
    """Print a note; a command that finds the recordings again does not repeat it."""
    console.note(text)


def _read_camera(path: Path) -> tuple[int, int]:
    try:
        said = load_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), expected width = 640 and height = 480; mend it"
        ) from None
    if isinstance(said.get("sensor"), str) and not {"width", "height"} & set(said):
        height, width = parse_sensor(said["sensor"])
        _note_once(
            f"{path}: sensor = {said['sensor']!r} is from before 0.2; write width = {width} and"
            f" height = {height}"
        )
        return height, width
    if not all(type(said.get(side)) is int for side in ("width", "height")):
        held = ", ".join(f"{key} = {value!r}" for key, value in said.items())[:80] or "nothing"
        raise InputError(
            f"{path}: holds {held}, expected width = 640 and height = 480 in pixels; mend it"
        )
    return check_sensor((said["height"], said["width"]), str(path))
