"""Recordings, images and data sets: the types that all data sets share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import View
from tmkt.readers.files import TimeUnit


@dataclass(frozen=True)
class Recording:
    """Recording on disk.

    `instance` names the thing that was recorded, as in "mnist-train-21"; an image of it has the
    same name. `view` None: the network's input is the whole sensor. `span_us` (from, to): the
    recording is that part of its file, in the file's own clock. `columns` and `time_unit`: of a
    file that does not say them itself. `in_spike_file`: its number is its place in a file of many
    spike trains.
    """

    path: Path
    label: int
    instance: str
    view: View | None = None
    span_us: tuple[int, int] | None = None
    columns: tuple[str, ...] | None = None
    time_unit: TimeUnit | None = None
    in_spike_file: bool = False

    @property
    def title(self) -> str:
        """Last three parts of the path, as in "Test/7/00001.bin", which do not depend on where the
        data lies; with the number, as in "shd/test.h5[7]", in a file of spike trains.
        """
        name = "/".join(self.path.parts[-3:])
        return f"{name}[{self.number}]" if self.in_spike_file else name

    @property
    def number(self) -> int:
        """Number at the end of the instance's name, as 21 in "mnist-train-21"."""
        return int(self.instance.rpartition("-")[2])


@dataclass(frozen=True)
class StaticImages:
    """Ordinary images of one common size: uint8 [N, h, w] (0 = dark), labels int64 [N], and the
    instance that each shows.

    Grey images are as they are. Colour images are the value channel of HSV, max(R, G, B), after
    resizing (Knowledge Transfer's choice).
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    instances: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


class LoadImages(Protocol):
    """Function that loads the images of a data set.

    `root` is the images' folder, None for a set that brings its own. `size` (height, width) is
    needed for images that differ in size, which are resized to it. Sets of one size, as MNIST, keep
    theirs. `value_first`: the value of colour images is taken before they are resized, where that
    makes a difference.
    """

    def __call__(
        self,
        root: Path | None,
        size: tuple[int, int] | None = None,
        *,
        value_first: bool = False,
    ) -> StaticImages: ...


class PublishedSplit(NamedTuple):
    """Parts of a published split. `images_of`: instances whose images may be trained on; None: all
    images.
    """

    train: list[Recording]
    test: list[Recording]
    images_of: set[str] | None


@dataclass(frozen=True)
class Dataset:
    """A data set by name.

    `classes` are the names in the order of the labels; empty for "folders" and "images", whose
    classes `find_classes` finds. `view` is the part of the camera's pixels that recordings show;
    None for these two, whose files say it. `find_recordings` gives all recordings under a root, in
    order of instance. `load_images` is None for a set of events alone. All of them raise InputError
    where they do not find what they look for. `paired`: it is known which image and which recording
    show one thing; without that, no split of both can be instance-disjoint. `paper` is the
    published split, None where there is none.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    view: View | None
    find_recordings: Callable[[Path], list[Recording]]
    load_images: LoadImages | None
    paired: bool = True
    paper: Callable[[Sequence[Recording]], PublishedSplit] | None = None
    find_classes: Callable[[Path], tuple[str, ...]] | None = None

    def class_names(self, root: Path) -> tuple[str, ...]:
        """Give the names of the classes; for "folders" and "images" as they are found in `root`."""
        return self.find_classes(root) if self.find_classes and not self.classes else self.classes


def in_order(recordings: Sequence[Recording]) -> list[Recording]:
    """Sort recordings by instance, so that classes are mixed whatever the file system's order."""
    return sorted(recordings, key=lambda r: (r.instance, r.path.as_posix(), r.span_us or (0, 0)))


def numbered_by_class(recordings: Sequence[Recording]) -> list[list[Recording]]:
    """Group recordings by class, each class in order of its instances' numbers."""
    of_class: dict[int, list[Recording]] = {}
    for recording in recordings:
        of_class.setdefault(recording.label, []).append(recording)
    return [sorted(of_class[label], key=lambda r: r.number) for label in sorted(of_class)]
