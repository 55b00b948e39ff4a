"""A user's own data: `<class>/<name>.<recording>` in one folder, `<class>/<name>.png` in another.

The folders' names are the classes. A recording and an image with one name in one class show the
same thing. Recordings are of one camera: where their files do not say its size, `camera.toml`
beside the classes does, as `width = 640` and `height = 480`.
"""

from functools import partial
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


def folders(classes: tuple[str, ...]) -> Dataset:
    """Give the data set "folders". With `classes`, labels are in their order, and other folders are
    refused.
    """
    return Dataset(
        name=NAME,
        title="your own class/recording and class/image",
        classes=classes,
        view=None,
        find_recordings=partial(_recordings, classes),
        load_images=partial(_images, classes),
        find_classes=class_names,
    )


def class_names(root: Path) -> tuple[str, ...]:
    """Find the folders in `root` that hold recordings, sorted; InputError for none."""
    names = sorted({path.parent.name for path in _files(root, RECORDINGS)})
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


def _files(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(
        p
        for p in root.glob("*/*")
        if p.suffix.lower() in suffixes
        and not p.name.startswith(".")
        and not p.parent.name.startswith(".")
    )


def _recordings(classes: tuple[str, ...], root: Path) -> list[Recording]:
    names = classes or class_names(root)
    paths = _files(root, RECORDINGS)
    if not paths:
        class_names(root)
    view = View(_sensor(root, paths[0]))
    return in_order(
        [
            Recording(path, _label(path, names), f"{path.parent.name}/{path.stem}", view)
            for path in paths
        ]
    )


def _images(
    classes: tuple[str, ...], root: Path | None, size: tuple[int, int] | None = None
) -> StaticImages:
    """Load the images of `classes`, or of all folders, resized to `size`."""
    folder = need_folder(root, "<class>/<name>.png")
    paths = _files(folder, SUFFIXES)
    if not paths:
        raise InputError(
            f"{folder}: holds no images, expected <class>/<name> with one of {' '.join(SUFFIXES)};"
            " check --static"
        )
    names = classes or tuple(sorted({path.parent.name for path in paths}))
    labels = np.array([_label(path, names) for path in paths], np.int64)
    return StaticImages(
        read_images(paths, need_size(size, "folders")),
        labels,
        tuple(f"{path.parent.name}/{path.stem}" for path in paths),
    )


def _label(path: Path, classes: tuple[str, ...]) -> int:
    if path.parent.name not in classes:
        known = ", ".join(classes)[:100]
        raise InputError(
            f"{path}: of class {path.parent.name!r}, expected one of {known}; rename the folder or"
            " move it away"
        )
    return classes.index(path.parent.name)


def _sensor(root: Path, first: Path) -> tuple[int, int]:
    """Read (height, width) from camera.toml, or else from the first recording's file."""
    path = root / CAMERA
    if path.exists():
        return _read_camera(path)
    sensor = None
    if first.suffix not in (".bin", ".mat"):
        source = open_events(first)
        sensor = source.sensor
        source.close()
    if sensor is None:
        raise InputError(
            f"{first}: the file does not say its camera's size; write {path} with the lines: width"
            " = 640, height = 480"
        )
    return sensor


def _read_camera(path: Path) -> tuple[int, int]:
    try:
        said = load_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), expected width = 640 and height = 480; mend it"
        ) from None
    if isinstance(said.get("sensor"), str) and not {"width", "height"} & set(said):
        height, width = parse_sensor(said["sensor"])
        console.note(
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
