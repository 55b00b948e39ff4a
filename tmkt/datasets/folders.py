"""A user's own data: `<class>/<name>.<recording>` in one folder, `<class>/<name>.png` in another.

The folders' names are the classes. Recordings of one session lie in a folder of their own,
`<class>/<session>/<name>.<recording>`: the session is their instance, so that no split tears it
apart. A recording (or session) and an image with one name in one class show the same thing.
Recordings are of one camera: where their files do not say its size, `camera.toml` beside the
classes does (`tmkt/readers/camera_file.py`), or the recipe.
"""

from functools import partial
from pathlib import Path

import numpy as np

from tmkt.datasets.images import SUFFIXES, need_folder, need_size, read_images
from tmkt.datasets.types import Dataset, Recording, StaticImages, in_order
from tmkt.errors import InputError
from tmkt.events.types import View
from tmkt.readers import open_events
from tmkt.readers.camera_file import Camera, no_sensor, read_camera
from tmkt.readers.detect import RECORDINGS, recordings_among

NAME = "folders"
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
    if len(names) == 1 and all(session_of(path, root) for path in paths):
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
    """List the recordings of all classes, those in folders of sessions included.

    Beside recordings of other formats, only those files of text count that look like events.
    """
    return recordings_among(_files(root, RECORDINGS, ("*/*", "*/*/*")))


def image_files(root: Path) -> list[Path]:
    """List the images of all classes."""
    return _files(root, SUFFIXES, ("*/*",))


def class_of(path: Path, root: Path) -> str:
    """Give the class of a recording or an image: the folder in `root` that holds it."""
    return path.relative_to(root).parts[0]


def instance_of(path: Path, root: Path) -> str:
    """Give the instance of a recording or an image: its class, and its session or its own name."""
    return f"{class_of(path, root)}/{session_of(path, root) or path.stem}"


def session_of(path: Path, root: Path) -> str | None:
    """Give the session of a recording, the folder in its class's that holds it; None outside of
    any.
    """
    return None if path.parent.parent == root else path.parent.name


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
    said = read_camera(root)
    view = View(_sensor(root, _own_sensor(said, paths[0]), paths[0], camera))
    return in_order(
        [
            Recording(
                path,
                _label(path, root, names),
                instance_of(path, root),
                view,
                columns=said.columns,
                time_unit=said.time_unit,
            )
            for path in paths
        ]
    )


def _images(
    classes: tuple[str, ...],
    root: Path | None,
    size: tuple[int, int] | None = None,
    *,
    value_first: bool = False,
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
        read_images(paths, need_size(size, "folders"), value_first=value_first),
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


def _sensor(
    root: Path, said: tuple[int, int] | None, first: Path, camera: tuple[int, int] | None
) -> tuple[int, int]:
    """Give (height, width) as `said` by camera.toml or the first recording, or else `camera`.

    Raises InputError where none of them says it, and where `camera` contradicts.
    """
    if said and camera and said != camera:
        found, expected = (f"{width}x{height}" for height, width in (said, camera))
        raise InputError(
            f"{root}: recorded with a sensor of {found}, expected {expected} as data.camera_width"
            " and data.camera_height say; give recordings of that camera, or leave the keys out"
        )
    if sensor := said or camera:
        return sensor
    raise InputError(no_sensor(first, root))


def _own_sensor(camera: Camera, first: Path) -> tuple[int, int] | None:
    """Give (height, width) by camera.toml, or else by the first recording's file.

    None where neither says it.
    """
    if camera.sensor or first.suffix in (".bin", ".mat"):
        return camera.sensor
    source = open_events(first, columns=camera.columns, time_unit=camera.time_unit)
    source.close()
    return source.sensor
