"""Splits of recordings and images into parts to train on and to test.

All splits are by instance: no thing that is tested is seen in training, neither in another
recording nor as an image.
"""

import os
from collections.abc import Collection, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field

from tmkt.datasets.types import Recording, StaticImages, in_order
from tmkt.errors import InputError, nearest

# Images that a network has seen. Ours: above ImageNet's 1.3 million, and low enough that a damaged
# file does not ask for all memory.
MAX_IMAGES = 2_000_000


def _few(ranges: dict[str, list[tuple[int, int]]]) -> dict[str, list[tuple[int, int]]]:
    total = sum(
        max(last - first + 1, 0) for found in ranges.values() for first, last in found
    ) + sum(not found for found in ranges.values())
    if total > MAX_IMAGES:
        raise ValueError(f"names {total} instances, expected at most {MAX_IMAGES}")
    return ranges


_Number = Annotated[int, Field(ge=0)]
Ranges = Annotated[
    dict[str, list[tuple[_Number, _Number]]], AfterValidator(_few)
]  # what `to_ranges` gives, as runs and bundles are checked for it


def groups(recordings: Sequence[Recording]) -> list[tuple[str, list[str]]]:
    """Group the instances by class, as splits draw from them: (name, sorted instances) of every
    class.

    Where one instance has recordings of several classes, as the people of DVS128 Gesture have, all
    classes are one group: all recordings of an instance are on one side.
    """
    labels: dict[str, set[int]] = {}
    for recording in recordings:
        labels.setdefault(recording.instance, set()).add(recording.label)
    if any(len(found) > 1 for found in labels.values()):
        return [("all classes", sorted(labels))]
    of_class: dict[int, list[str]] = {}
    for instance, (label,) in labels.items():
        of_class.setdefault(label, []).append(instance)
    folders = _folders(recordings)
    return [
        (f"class {label}{folders[label]}", sorted(instances))
        for label, instances in sorted(of_class.items())
    ]


def _folders(recordings: Sequence[Recording]) -> dict[int, str]:
    """Give the folder of each class as text, " (data/cat)"; nothing where classes share one."""
    of_class: dict[int, set[str]] = {}
    for recording in recordings:
        of_class.setdefault(recording.label, set()).add(str(recording.path.parent))
    try:
        common = {label: os.path.commonpath(folders) for label, folders in of_class.items()}
    except ValueError:  # some are absolute, others relative
        return dict.fromkeys(of_class, "")
    shared = len(set(common.values())) < len(common)
    return {label: "" if shared else f" ({folder})" for label, folder in common.items()}


def instances_in_words(instances: Sequence[str]) -> str:
    """Count recorded instances in words."""
    return f"{len(instances)} recorded instance{'' if len(instances) == 1 else 's'}"


def few_shot(
    recordings: Sequence[Recording], shots: int, seed: int, left: int = 1
) -> tuple[list[Recording], list[Recording]]:
    """Draw `shots` instances of every class to train on; all others are tested.

    Gives (train, test), each in order of instance. All recordings of a drawn instance are trained
    on. The draw depends on the instances and the seed alone. Raises InputError where a class would
    have fewer than `left` instances left to test.
    """
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for what, instances in groups(recordings):
        if len(instances) < shots + left:
            raise InputError(
                f"{what}: {instances_in_words(instances)}, expected more than the {shots} to train"
                " on, so that one is left to test; give more recordings or lower data.shots"
            )
        drawn.update(instances[i] for i in rng.choice(len(instances), shots, replace=False))
    return parted(in_order(recordings), drawn)


def parted(
    recordings: Sequence[Recording], instances: Collection[str]
) -> tuple[list[Recording], list[Recording]]:
    """Part recordings into those of `instances` and the others, each in the order given."""
    return [r for r in recordings if r.instance in instances], [
        r for r in recordings if r.instance not in instances
    ]


def without_instances(images: StaticImages, instances: set[str]) -> StaticImages:
    """Leave out the images that show any of `instances`; InputError if no image is left."""
    left = leave_out(images, instances)
    if not len(left):
        raise InputError(
            f"static images: all {len(images)} show something that is tested, expected others; give"
            " more images"
        )
    return left


def leave_out(images: StaticImages, instances: set[str]) -> StaticImages:
    """Leave out the images that show any of `instances`; there may be none left."""
    keep = np.array([instance not in instances for instance in images.instances], np.bool_)
    kept = tuple(instance for instance, k in zip(images.instances, keep, strict=True) if k)
    return StaticImages(images.images[keep], images.labels[keep], kept)


def choose(
    recordings: Sequence[Recording],
    split: str,
    trained_on: Collection[str],
    images: Collection[str] = (),
    others: Collection[Recording] = (),
) -> list[Recording]:
    """Choose the recordings of a split, in order of instance.

    "train": the instance's recording was trained or calibrated on. "test": neither its recording
    nor its image (`images`) was. "all": every recording. `others` are known not to be what was
    trained on, though it has their name. Raises InputError for another name and if there is none.
    """
    splits = ["test", "train", "all"]
    if split not in splits:
        raise InputError(
            f"split {split!r}: not known, expected test, train or all{nearest(split, splits)}"
        )
    recorded, seen = set(trained_on), {*trained_on, *images}
    ordered = in_order(recordings)
    if split == "all":
        return ordered
    apart = set(others)
    chosen = [
        r
        for r in ordered
        if (
            r.instance in recorded and r not in apart
            if split == "train"
            else r.instance not in seen or r in apart
        )
    ]
    if not chosen:
        why = (
            "show what was trained or calibrated on, as recordings or as images"
            if split == "test"
            else "were not trained on, nor calibrated on"
        )
        raise InputError(
            f"split {split!r}: all {len(ordered)} recordings {why}; choose another --split or"
            " --data"
        )
    return chosen


def to_ranges(instances: Collection[str]) -> dict[str, list[list[int]]]:
    """Write instances "name-7" as ranges of their numbers, [first, last], by name.

    That is short for the tens of thousands of images of a training. An instance without such a
    number, as a user's own file may be named, is its own name with no ranges.
    """
    numbers: dict[str, list[int]] = {}
    names: list[str] = []
    for instance in instances:
        name, _, digits = instance.rpartition("-")
        if name and digits.isdecimal() and digits.isascii() and str(int(digits)) == digits:
            numbers.setdefault(name, []).append(int(digits))
        else:
            names.append(instance)
    ranges: dict[str, list[list[int]]] = {}
    for name, found in sorted(numbers.items()):
        for number in sorted(found):
            known = ranges.setdefault(name, [])
            if known and number <= known[-1][1] + 1:
                known[-1][1] = number
            else:
                known.append([number, number])
    for name in sorted(names):
        for first, last in ranges.pop(name, []):  # "a" beside "a-7": both are written in full
            ranges.update({f"{name}-{number}": [] for number in range(first, last + 1)})
        ranges[name] = []
    return ranges


def from_ranges(ranges: dict[str, list[list[int]]]) -> set[str]:
    """Give the instances that `to_ranges` was given."""
    numbered = {
        f"{name}-{number}"
        for name, found in ranges.items()
        for first, last in found
        for number in range(first, last + 1)
    }
    return numbered | {name for name, found in ranges.items() if not found}


def draw(recordings: Sequence[Recording], limit: int | None) -> list[Recording]:
    """Draw at most `limit` recordings (None: all), in order of instance.

    They are always the same ones, drawn from the whole range of instances.
    """
    ordered = in_order(recordings)
    if limit is None or limit >= len(ordered):
        return ordered
    return [
        ordered[i]
        for i in sorted(np.random.default_rng(0).choice(len(ordered), limit, replace=False))
    ]


def spread(of: int, most: int) -> NDArray[np.int64]:
    """Choose at most `most` of so many places, spread over all of them."""
    count = min(most, of)
    return np.arange(count) * of // max(count, 1)
