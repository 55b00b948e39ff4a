"""Checks of `tmkt data check` and `tmkt data list`: is a folder whole, do images and recordings
match, does a split leak.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tmkt.datasets import image_folders
from tmkt.datasets.folders import class_names, class_of, image_files
from tmkt.datasets.protocols import check_paired, split_recordings
from tmkt.datasets.reading import recording_chunks
from tmkt.datasets.registry import NAMES, dataset
from tmkt.datasets.types import Dataset, Recording, StaticImages
from tmkt.errors import InputError
from tmkt.readers.camera_file import CAMERA
from tmkt.readers.source import LARGEST_SIDE
from tmkt.recipe import DataRecipe

SHOWN_SIZE = (48, 48)  # images are read at the papers' size: whether they can be is what counts
PLACES = "TMKT_DATA"  # where `tmkt data list` looks
IMAGES = {  # files by which the images of a set are recognised
    "nmnist": ("train-images*", "raw/train-images*", "MNIST/raw/train-images*"),
    "ncaltech101": ("101_ObjectCategories", "*/101_ObjectCategories"),
    "cepdvs": ("data/img", "CEP-DVS/data/img"),
    "nomniglot": ("images_background", "*/images_background"),
    "cifar10dvs": ("data_batch_1*", "cifar-10-batches-*"),
}


def detect(root: Path) -> str:
    """Find out which data set's recordings a folder holds; InputError where there are none.

    It is "folders" where no other set fits, and "images" where there are no recordings but several
    folders with images.
    Folders of classes whose recordings cannot be taken are an error that says why.
    """
    if not root.is_dir():
        raise InputError(f"{root}: no such folder, expected recordings; check the path")
    if (root / CAMERA).is_file():
        return "folders"
    for name in NAMES:
        try:
            source = dataset(name)
            if source.find_recordings(root):
                return name
        except InputError:
            continue
    if len({class_of(path, root) for path in image_files(root)}) > 1:
        return image_folders.NAME
    try:
        class_names(root)
    except InputError:
        pass
    else:
        dataset("folders").find_recordings(root)  # raises the error that says why
    raise InputError(
        f"{root}: holds no recordings in a layout that is known (docs/datasets.md); say which it"
        " should be with --name"
    )


def check_data(
    source: Dataset,
    root: Path,
    static: Path | None,
    protocol: str,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Read every recording and every image; give a report whose `problems` are empty where all is
    well.

    `protocol` is the one that must not leak. The published split, where there is one, is reported
    in any case. Raises InputError where there are no recordings at all.
    """
    names = source.class_names(root)
    source = dataset(source.name, names)
    recordings = source.find_recordings(root)
    corrupt = _corrupt(recordings, progress)
    problems = [f"{len(corrupt)} recordings cannot be read"] if corrupt else []
    images, why = _images(source, static)
    problems += [why] if why else []
    of_recordings = Counter(r.label for r in recordings)
    of_images = Counter(images.labels.tolist()) if images else Counter[int]()
    missing = [name for label, name in enumerate(names) if not of_recordings[label]]
    unmatched = [name for label, name in enumerate(names) if images and not of_images[label]]
    conflicts = _conflicts(recordings, images)
    duplicates = duplicate_files([r.path for r in recordings])
    problems += [f"{len(missing)} classes have no recordings"] if missing else []
    problems += [f"{len(unmatched)} classes have no images"] if unmatched else []
    problems += (
        [f"{len(conflicts)} things have one class as a recording and another as an image"]
        if conflicts
        else []
    )
    problems += (
        [f"{len(duplicates)} pairs of recordings are the same file under two names"]
        if duplicates
        else []
    )
    protocols = [
        _leaks(source, recordings, images, name)
        for name in ("instance-disjoint", "paper")
        if name != "paper" or source.paper
    ]
    for found in protocols:
        if found["protocol"] == protocol:
            problems += [f"{protocol}: {found['error']}"] if found["error"] else []
            if found["shared_instances"] or found["tested_images"]:
                seen = (
                    f"{found['shared_instances']} as recordings, {found['tested_images']} as images"
                )
                problems.append(f"{protocol}: tested things are trained on, {seen}")
    return {
        "data_set": source.name,
        "title": source.title,
        "root": str(root),
        "recordings": len(recordings),
        "images": len(images) if images else None,
        "classes": [
            {
                "name": name,
                "recordings": of_recordings[label],
                "images": of_images[label] if images else None,
            }
            for label, name in enumerate(names)
        ],
        "corrupt": corrupt,
        "classes_without_recordings": missing,
        "classes_without_images": unmatched,
        "label_conflicts": conflicts,
        "duplicates": duplicates,
        "protocols": protocols,
        "problems": problems,
    }


def _corrupt(
    recordings: Sequence[Recording], progress: Callable[[int, int], None] | None
) -> list[dict[str, str]]:
    found = []
    for i, recording in enumerate(recordings):
        try:
            # A file of spike trains was read as a whole when its recordings were found.
            if not recording.in_spike_file:
                for _ in recording_chunks(recording, (LARGEST_SIDE, LARGEST_SIDE)):
                    pass
        except InputError as error:
            found.append({"path": str(recording.path), "error": str(error)})
        if progress:
            progress(i + 1, len(recordings))
    return found


def _images(source: Dataset, static: Path | None) -> tuple[StaticImages | None, str]:
    """Load the images; give them and what is wrong with them."""
    if source.load_images is None or (static is None and source.name != "digits"):
        return None, ""
    try:
        return source.load_images(static, SHOWN_SIZE), ""
    except InputError as error:
        return None, f"images: {error}"


def _conflicts(recordings: Sequence[Recording], images: StaticImages | None) -> list[str]:
    """Find instances with one label as a recording and another as an image."""
    if images is None:
        return []
    label_of = dict(zip(images.instances, images.labels.tolist(), strict=True))
    return sorted({r.instance for r in recordings if label_of.get(r.instance, r.label) != r.label})


def duplicate_files(files: Sequence[Path]) -> list[list[str]]:
    """Find pairs of files with the same content."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in sorted(set(files)):
        if path.is_file():
            by_size[path.stat().st_size].append(path)
    found = []
    for paths in by_size.values():
        first: dict[bytes, Path] = {}
        for path in paths if len(paths) > 1 else ():
            with open(path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").digest()
            if digest in first:
                found.append([str(first[digest]), str(path)])
            first.setdefault(digest, path)
    return found


def unknown_parts(protocol: str) -> dict[str, Any]:
    """Give the report of a protocol's parts before they are counted."""
    return {
        "protocol": protocol,
        "train": None,
        "test": None,
        "images": None,
        "shared_instances": None,
        "tested_images": None,
        "error": None,
    }


def _leaks(
    source: Dataset, recordings: Sequence[Recording], images: StaticImages | None, protocol: str
) -> dict[str, Any]:
    """Count a protocol's parts (all else by the recipe's defaults), and the tested instances that
    are seen in training. None: not known.
    """
    report = unknown_parts(protocol)
    try:
        data = DataRecipe(
            name=source.name,
            protocol="paper" if protocol == "paper" else "instance-disjoint",
            bin_us=1,
        )
        split = split_recordings(source, recordings, data, 0)
        tested = {r.instance for r in split.test}
        report |= {
            "train": len(split.train),
            "test": len(split.test),
            "shared_instances": len(tested & {r.instance for r in split.train}),
        }
        if images is not None:
            check_paired(source, protocol)
            chosen = split.choose_images(images)
            report |= {
                "images": len(chosen),
                "tested_images": len(tested & set(chosen.instances)) if source.paired else None,
            }
    except InputError as error:
        report["error"] = str(error)
    return report


def places(given: Sequence[Path]) -> list[Path]:
    """Give the folders to look in for data sets: those given, else $TMKT_DATA's, else ./data."""
    said = os.environ.get(PLACES)
    return list(given) or (
        [Path(place) for place in said.split(os.pathsep) if place] if said else [Path("data")]
    )


def known_sets(given: Sequence[Path]) -> list[dict[str, Any]]:
    """List all known data sets, and where their recordings and images were found.

    Looks in the places and in the folders right in them.
    """
    folders = [
        folder
        for place in places(given)
        if place.is_dir()
        for folder in (place, *sorted(f for f in place.iterdir() if f.is_dir()))
    ]
    recordings: dict[str, list[dict[str, Any]]] = defaultdict(list)
    alone: list[str] = []
    for folder in folders:
        try:
            name = detect(folder)
            if name == image_folders.NAME:
                alone.append(str(folder))
                continue
            recordings[name].append(
                {"path": str(folder), "recordings": len(dataset(name).find_recordings(folder))}
            )
        except InputError:
            continue
    rows = []
    for name in NAMES:
        source = dataset(name)
        images = [
            str(folder)
            for folder in folders
            if any(any(folder.glob(pattern)) for pattern in IMAGES.get(name, ()))
        ]
        images += alone if name == image_folders.NAME else []
        protocols = ["instance-disjoint", *(["paper"] if source.paper else [])]
        rows.append(
            {
                "name": name,
                "title": source.title,
                "classes": len(source.classes) or None,
                "protocols": protocols,
                "recordings": recordings[name],
                "images": images,
            }
        )
    return rows
