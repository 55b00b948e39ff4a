"""Images alone, `<class>/<name>.jpg`: the data set "images", from which a backbone learns.

The folders' names are the classes. No recording takes part in the training; a simulated camera
makes recordings of the images. A bundle of such a run is run on recordings of the same classes,
in folders as those of the data set "folders".
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tmkt.datasets import folders
from tmkt.datasets.images import SUFFIXES, need_folder, need_size, read_images
from tmkt.datasets.splits import leave_out
from tmkt.datasets.types import Dataset, StaticImages
from tmkt.errors import InputError, nearest
from tmkt.recipe import DataRecipe

NAME = "images"
LAYOUT = "<class>/<name>.jpg"


def image_folders(classes: tuple[str, ...], camera: tuple[int, int] | None = None) -> Dataset:
    """Give the data set "images". With `classes`, labels are in their order, and the images of
    other folders are left out. `camera` as for "folders".
    """
    return Dataset(
        name=NAME,
        title="your own class/image, without recordings",
        classes=classes,
        view=None,
        find_recordings=folders.folders(classes, camera).find_recordings,
        load_images=partial(load_images, classes),
        find_classes=class_names,
    )


def class_names(root: Path) -> tuple[str, ...]:
    """Find the folders in `root` that hold images, sorted.

    Raises InputError for none, and for more than `folders.MOST_CLASSES`.
    """
    names = sorted({path.parent.name for path in folders.image_files(need_folder(root, LAYOUT))})
    if not names or len(names) > folders.MOST_CLASSES:
        found = f"{len(names)} folders with images" if names else "holds no images"
        raise InputError(
            f"{root}: {found}, expected {LAYOUT} (or {' '.join(SUFFIXES)}) of at most"
            f" {folders.MOST_CLASSES} classes; give the folder that holds the classes"
        )
    return tuple(names)


def load_images(
    classes: tuple[str, ...],
    root: Path | None,
    size: tuple[int, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    value_first: bool = False,
) -> StaticImages:
    """Load the images of `classes`, or of all folders, resized to `size`.

    `progress` is told how many images of how many are read.
    """
    folder = need_folder(root, LAYOUT)
    names = classes or class_names(folder)
    paths = [path for path in folders.image_files(folder) if path.parent.name in names]
    labels = np.array([names.index(path.parent.name) for path in paths], np.int64)
    return StaticImages(
        read_images(paths, need_size(size, NAME), progress, value_first=value_first),
        labels,
        tuple(folders.instance_of(path, folder) for path in paths),
    )


def choose_classes(found: tuple[str, ...], data: DataRecipe, seed: int) -> tuple[str, ...]:
    """Choose the classes that a recipe trains on, in their order: without `leave_out`, and
    `classes_used` of the others, drawn by the seed.

    Fewer classes are part of more classes. Raises InputError for a class that is not there and
    where fewer than two are left.
    """
    for name in data.leave_out:
        if name not in found:
            raise InputError(
                f"data.leave_out: no class {name!r}, expected some of"
                f" {', '.join(found)[:100]}{nearest(name, list(found))}"
            )
    left = [name for name in found if name not in data.leave_out]
    if data.classes_used > len(left):
        raise InputError(
            f"data.classes_used = {data.classes_used}: more than the {len(left)} classes there"
            " are; lower it"
        )
    count = data.classes_used or len(left)
    if count < 2:
        raise InputError(
            f"data set {NAME}: {count} class to learn, expected at least 2; give a folder with"
            " more classes"
        )
    order = np.random.default_rng([seed, 3]).permutation(len(left))
    return tuple(left[i] for i in sorted(order[:count].tolist()))


class ImageSplit(NamedTuple):
    """Images that train, validate and test."""

    train: StaticImages
    validation: StaticImages
    test: StaticImages


def split_images(
    images: StaticImages, classes: Sequence[str], data: DataRecipe, seed: int
) -> ImageSplit:
    """Split images by instance as a recipe says, class by class.

    `data.train_share` of a class's instances are trained on, at least one and never all; the others
    are tested. `data.validation` of the former (a share, or so many of each class) validate, and of
    what is left `data.images_share` is used. The draw depends on the instances and the seed alone,
    so the tested images are the same at every `images_share`. Raises InputError for a class that
    is too small.
    """
    rng = np.random.default_rng([seed, 2])
    parts: tuple[set[str], set[str], set[str]] = (set(), set(), set())
    for label, name in enumerate(classes):
        at = np.flatnonzero(images.labels == label)
        instances = sorted({images.instances[i] for i in at.tolist()})
        n = len(instances)
        if n < 2:
            raise InputError(
                f"class {name!r}: {n} image, expected at least 2, one to train on and one to test;"
                " add images, or name the class in data.leave_out"
            )
        shuffled = [instances[i] for i in rng.permutation(n).tolist()]
        trained = min(max(round(data.train_share * n), 1), n - 1)
        wanted = data.validation
        held = int(wanted) if wanted >= 1 or not wanted else max(round(wanted * trained), 1)
        if held >= trained:
            raise InputError(
                f"class {name!r}: {trained} images to take {held} for validation from, expected"
                " more; lower data.validation, add images, or name the class in data.leave_out"
            )
        used = max(round(data.images_share * (trained - held)), 1)
        parts[0].update(shuffled[held : held + used])
        parts[1].update(shuffled[:held])
        parts[2].update(shuffled[trained:])
    every = set(images.instances)
    return ImageSplit(*(leave_out(images, every - part) for part in parts))
