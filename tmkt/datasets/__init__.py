"""Data sets: recordings, and images of the same kind of things, as users have them on disk."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, nearest
from tmkt.frames import InputContract, events_to_frames
from tmkt.recordings import read_bin


@dataclass(frozen=True)
class Recording:
    """A recording on disk. `instance` names the thing that was recorded, as in "mnist-train-21"; an image of it has the same name."""

    path: Path
    label: int
    instance: str


@dataclass(frozen=True)
class StaticImages:
    """Ordinary images: uint8 [N, h, w] (0 = dark), labels int64 [N], and the instance that each shows."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    instances: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Dataset:
    """A data set by name. `sensor` is (height, width).

    `find_recordings` gives all recordings under a root, in order of instance. `load_images` gives the static source; it takes the root
    of the images, None for a set that brings its own. Both raise InputError where they do not find what they look for.
    """

    name: str
    sensor: tuple[int, int]
    classes: tuple[str, ...]
    find_recordings: Callable[[Path], list[Recording]]
    load_images: Callable[[Path | None], StaticImages]


def dataset(name: str) -> Dataset:
    """The data set called `name`: "nmnist" (its images are MNIST's) or "digits". InputError for any other name."""
    from tmkt.datasets import digits, mnist, nmnist

    ten = tuple(str(digit) for digit in range(10))
    known = {
        "nmnist": Dataset("nmnist", nmnist.SENSOR, ten, nmnist.find_recordings, mnist.load_images),
        "digits": Dataset("digits", digits.SENSOR, ten, digits.find_recordings, digits.load_images),
    }
    if name not in known:
        raise InputError(f"data set {name!r}: not known, expected one of {', '.join(known)}{nearest(name, list(known))}")
    return known[name]


def in_order(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings in order of instance, which mixes the classes and does not depend on the file system."""
    return sorted(recordings, key=lambda r: (r.instance, r.path.as_posix()))


def load_frames(
    recordings: Sequence[Recording], contract: InputContract, progress: Callable[[int], None] | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads recordings and bins them: frames uint8 [N, bins, 2, height, width] and labels int64 [N].

    `progress` is called with the number of recordings done, after each. Raises InputError for an empty list and as `read_bin` does.
    """
    if not recordings:
        raise InputError("no recordings to read, expected at least one; choose another --data or --split")
    frames = np.empty((len(recordings), contract.bins, *contract.shape), np.uint8)
    for i, recording in enumerate(recordings):
        frames[i] = events_to_frames(read_bin(recording.path, contract.sensor), contract)
        if progress:
            progress(i + 1)
    return frames, np.array([recording.label for recording in recordings], np.int64)
