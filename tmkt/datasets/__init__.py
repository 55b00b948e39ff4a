"""Data sets: recordings, and images of the same kind of things, as users have them on disk.
docs/datasets.md has their layouts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, nearest
from tmkt.events.frames import InputContract
from tmkt.events.types import View


@dataclass(frozen=True)
class Recording:
    """A recording on disk. `instance` names the thing that was recorded, as in "mnist-train-21"; an
    image of it has the same name.

    `view` None: the network's input is the sensor. `span_us` (from, to): the recording is that part
    of its file, in the file's own clock.
    """

    path: Path
    label: int
    instance: str
    view: View | None = None
    span_us: tuple[int, int] | None = None


@dataclass(frozen=True)
class StaticImages:
    """Ordinary images of one common size: uint8 [N, h, w] (0 = dark), labels int64 [N], and the
    instance that each shows.

    Grey images are as they are. Of colour images it is the value channel of HSV, max(R, G, B),
    after resizing (Knowledge Transfer's choice).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    instances: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class LoadImages(Protocol):
    """Gives the static source. `root` is the images' folder, None for a set that brings its own.
    Images that differ in size are resized to `size` (height, width), which they need; sets of one
    size, as MNIST, keep theirs.
    """

    def __call__(self, root: Path | None, size: tuple[int, int] | None = None) -> StaticImages: ...


class PaperSplit(Protocol):
    """A published split of recordings: gives (train, test, the instances whose images may be
    trained on; None: all images).
    """

    def __call__(
        self, recordings: Sequence[Recording]
    ) -> tuple[list[Recording], list[Recording], set[str] | None]: ...


@dataclass(frozen=True)
class Dataset:
    """A data set by name.

    `classes` are its names in the order of the labels, empty for "folders", whose folders they are;
    `view` is what recordings show of the camera, None for "folders", whose files say it.
    `find_recordings` gives all recordings under a root, in order of instance; `load_images` the
    static source, None for events alone. Both raise InputError where they do not find what they
    look for. `paired`: whether an image and a recording of one thing are known to be so; where not,
    no split of both can be instance-disjoint. `paper` is the published split, None where there is
    none.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    view: View | None
    find_recordings: Callable[[Path], list[Recording]]
    load_images: LoadImages | None
    paired: bool = True
    paper: PaperSplit | None = None

    def class_names(self, root: Path) -> tuple[str, ...]:
        """The names of the classes, for "folders" as they are found in `root`."""
        from tmkt.datasets import folders

        return self.classes or folders.class_names(root)


NAMES = (
    "nmnist",
    "digits",
    "ncaltech101",
    "cepdvs",
    "nomniglot",
    "cifar10dvs",
    "dvsgesture",
    "folders",
)


def dataset(name: str, classes: Sequence[str] = ()) -> Dataset:
    """The data set called `name`, one of NAMES; InputError for any other. `classes` are those of
    "folders" where they are known already.
    """
    if name not in NAMES:
        raise InputError(
            f"data set {name!r}: not known, expected one of"
            f" {', '.join(NAMES)}{nearest(name, list(NAMES))}"
        )
    from tmkt.datasets import (
        cepdvs,
        cifar10,
        cifar10dvs,
        digits,
        dvsgesture,
        folders,
        mnist,
        ncaltech101,
        nmnist,
        nomniglot,
    )

    ten = tuple(str(digit) for digit in range(10))
    if name == "nmnist":
        return Dataset(
            name,
            "N-MNIST and MNIST",
            ten,
            View(nmnist.SENSOR),
            nmnist.find_recordings,
            mnist.load_images,
            paper=nmnist.paper_split,
        )
    if name == "digits":
        return Dataset(
            name,
            "simulated digits (tmkt data simulate)",
            ten,
            View(digits.SENSOR),
            digits.find_recordings,
            digits.load_images,
        )
    if name == "ncaltech101":
        c = ncaltech101
        return Dataset(
            name,
            "N-Caltech101 and Caltech101",
            c.CLASSES,
            c.VIEW,
            c.find_recordings,
            c.load_images,
            paper=c.paper_split,
        )
    if name == "cepdvs":
        p = cepdvs
        return Dataset(
            name,
            "CEP-DVS",
            p.CLASSES,
            p.VIEW,
            p.find_recordings,
            p.load_images,
            paper=p.paper_split,
        )
    if name == "nomniglot":
        o = nomniglot
        return Dataset(
            name,
            "N-Omniglot and Omniglot",
            o.CLASSES,
            o.VIEW,
            o.find_recordings,
            o.load_images,
            paper=o.paper_split,
        )
    if name == "cifar10dvs":
        d = cifar10dvs
        title = "CIFAR10-DVS and CIFAR-10"
        return Dataset(
            name,
            title,
            cifar10.CLASSES,
            d.VIEW,
            d.find_recordings,
            cifar10.load_images,
            paired=False,
            paper=d.paper_split,
        )
    if name == "dvsgesture":
        g = dvsgesture
        return Dataset(
            name, "DVS128 Gesture", g.CLASSES, g.VIEW, g.find_recordings, None, paper=g.paper_split
        )
    return folders.folders(tuple(classes))


def in_order(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings in order of instance, which mixes the classes and does not depend on the file
    system.
    """
    return sorted(recordings, key=lambda r: (r.instance, r.path.as_posix(), r.span_us or (0, 0)))


def load_frames(
    recordings: Sequence[Recording],
    contract: InputContract,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Reads recordings and bins them: frames uint8 [N, bins, 2, height, width] and labels int64
    [N].

    `progress` is called with the number of recordings done, after each. Raises InputError for an
    empty list and as `read_recording` does.
    """
    from tmkt.datasets.reading import count_frames

    if not recordings:
        raise InputError(
            "no recordings to read, expected at least one; choose another --data or --split"
        )
    frames = np.empty((len(recordings), contract.bins, *contract.shape), np.uint8)
    for i, recording in enumerate(recordings):
        frames[i] = count_frames(recording, contract)
        if progress:
            progress(i + 1)
    return frames, np.array([recording.label for recording in recordings], np.int64)
