"""Check of `tmkt data check` for a folder of images alone: is it whole, does its split leak."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tmkt.datasets.check import SHOWN_SIZE, duplicate_files, unknown_parts
from tmkt.datasets.folders import class_of, image_files, instance_of
from tmkt.datasets.image_folders import class_names, image_folders, split_images
from tmkt.datasets.images import read_value
from tmkt.datasets.types import StaticImages
from tmkt.errors import InputError
from tmkt.recipe import DataRecipe


def check_images(root: Path, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
    """Read every image of `root`; give a report as `check_data` does, with the recordings at 0.

    Raises InputError where there are no images at all.
    """
    names, paths = class_names(root), image_files(root)
    corrupt = []
    for i, path in enumerate(paths):
        try:
            read_value(path, SHOWN_SIZE)
        except InputError as error:
            corrupt.append({"path": str(path), "error": str(error)})
        if progress:
            progress(i + 1, len(paths))
    duplicates = duplicate_files(paths)
    split = _split(paths, root, names)
    counts = Counter(class_of(path, root) for path in paths)
    problems = [f"{len(corrupt)} images cannot be read"] if corrupt else []
    problems += (
        [f"{len(duplicates)} pairs of images are the same file under two names"]
        if duplicates
        else []
    )
    problems += [f"{split['protocol']}: {split['error']}"] if split["error"] else []
    return {
        "data_set": "images",
        "title": image_folders(names).title,
        "root": str(root),
        "recordings": 0,
        "images": len(paths),
        "classes": [{"name": name, "recordings": 0, "images": counts[name]} for name in names],
        "corrupt": corrupt,
        "classes_without_recordings": [],
        "classes_without_images": [],
        "label_conflicts": [],
        "duplicates": duplicates,
        "protocols": [split],
        "problems": problems,
    }


def _split(paths: list[Path], root: Path, names: tuple[str, ...]) -> dict[str, Any]:
    """Count the parts of the split by the recipes' defaults, as `check_data` does."""
    report = unknown_parts("instance-disjoint")
    images = StaticImages(
        np.zeros((len(paths), 1, 1), np.uint8),
        np.array([names.index(class_of(path, root)) for path in paths], np.int64),
        tuple(instance_of(path, root) for path in paths),
    )
    height, width = SHOWN_SIZE
    data = DataRecipe(name="images", width=width, height=height, bin_us=1)
    try:
        split = split_images(images, names, data, 0)
    except InputError as error:
        return {**report, "error": str(error)}
    return report | {
        "train": 0,
        "test": len(split.test),
        "images": len(split.train),
        "shared_instances": 0,
        "tested_images": len(set(split.test.instances) & set(split.train.instances)),
    }
