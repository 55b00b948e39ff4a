"""Data of a training: its recordings and images."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt import console
from tmkt.datasets import folders
from tmkt.datasets.decoded import Rows, decoded_frames, input_contract
from tmkt.datasets.protocols import Split, check_paired, split_recordings
from tmkt.datasets.registry import dataset
from tmkt.datasets.seen import digest_of
from tmkt.datasets.simulated import SIMULATED, is_simulated
from tmkt.datasets.splits import spread
from tmkt.datasets.types import Recording, StaticImages
from tmkt.errors import InputError
from tmkt.events.coverage import Coverage, describe_cut
from tmkt.events.types import View
from tmkt.recipe import DataRecipe, Recipe
from tmkt.train.draws import Places, places_of
from tmkt.train.start import seen_by_init

HASHED_AT_ONCE = 256  # rows


@dataclass(frozen=True)
class TrainingData:
    """The recordings that train, validate and test, and the images of the static source.

    Frames are [N, T, 2, H, W], uint8 counts (float32 for `data.frames = "float"`), labels int64
    [N]. There may be no validation recordings, and no images (None) where the method uses none.
    Frames may lie on disk: an index or a slice of them is an array. Under the instance-disjoint
    protocol no image shows a thing whose recording is tested or validates. `trained_on` and
    `validated_on` hold the instances of those recordings. `coverage`: how much of all recordings
    the bins leave out; None where that is not known. `frames_seen`: digests of the recordings that
    train or validate, of "folders" alone, whose names do not tell them from other folders'.
    `seen_before`: the instances that the network has seen which the training starts from.
    `simulated`: where images alone are trained on, there are no `frames` to train on, those that
    validate and test are simulated recordings of images, and these are some of training images,
    with their labels, for the quantiser. `test_are`: what a result has to say of the recordings
    that are tested, None where they are a real camera's, as far as is known. `view`: the part of
    a camera that the recordings show. `nothing`: the class of noise, None without one.
    """

    sensor: tuple[int, int]
    classes: tuple[str, ...]
    protocol: str
    frames: Rows
    labels: NDArray[np.int64]
    trained_on: list[str]
    validation_frames: Rows
    validation_labels: NDArray[np.int64]
    validated_on: list[str]
    test_frames: Rows
    test_labels: NDArray[np.int64]
    images: StaticImages | None
    coverage: Coverage | None = None
    frames_seen: list[str] | None = None
    seen_before: set[str] = field(default_factory=set)
    simulated: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None
    test_are: str | None = None
    view: View | None = None
    nothing: int | None = None

    @property
    def samples(self) -> int:
        """Number of recordings, or else of images, that an epoch passes over."""
        return len(self.frames) or len(self.images or ())

    @cached_property
    def places(self) -> Places:
        """Indices of each class in `labels`; every batch needs them."""
        return places_of(self.labels)

    @cached_property
    def image_places(self) -> Places:
        """Indices of each class in the labels of the images; empty without images.

        A class of which there is none has the first image: what is drawn stands for it.
        """
        if self.images is None:
            return {}
        stand_in = np.zeros(1, np.int64)
        return {**dict.fromkeys(self.places, stand_in), **places_of(self.images.labels)}

    @cached_property
    def without_images(self) -> list[int]:
        """Classes with recordings and without images, where others have some."""
        return sorted(set(self.places) - set(self.images.labels.tolist())) if self.images else []

    def fingerprint(self) -> bytes:
        """Hash all that training sees: a resumed training must go on with the same data."""
        digest = hashlib.sha256()
        for frames in (
            (self.frames, self.validation_frames) if len(self.validation_frames) else (self.frames,)
        ):
            digest.update(f"{frames.shape}".encode())
            for start in range(0, len(frames), HASHED_AT_ONCE):
                digest.update(np.ascontiguousarray(frames[start : start + HASHED_AT_ONCE]).data)
        for array in (
            self.labels,
            *((self.images.images, self.images.labels) if self.images else ()),
        ):
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()

    def describe_cut(self, data: DataRecipe) -> str | None:
        """Say how much of the recordings the recipe's bins leave out; None for nothing."""
        if self.coverage is None:
            return None
        options = ("--set data.bins=", "--set data.bin_us=")
        return describe_cut(self.coverage, data.bins, data.bin_us, *options)

    def calibration(self, most: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Choose at most `most` training recordings for the quantiser: frames and labels.

        They are spread over all recordings, since these are in order of instance, perhaps of class.
        """
        if self.simulated is not None:
            frames, labels = self.simulated
            return frames[:most], labels[:most]
        chosen = spread(len(self.frames), most)
        return self.frames[chosen], self.labels[chosen]

    def seen(self) -> set[str]:
        """Collect the instances besides `trained_on` that must not be tested.

        They are those of the images, of the recordings that validated, and those seen before.
        """
        shown = self.images.instances if self.images else ()
        return {*shown, *self.validated_on, *self.seen_before}


def load_training_data(
    recipe: Recipe,
    data: Path,
    static: Path | None,
    needs_images: bool,
    test: Path | None = None,
) -> TrainingData:
    """Read all recordings of `data` and the images of `static`, split as the recipe says.

    With `test`, all recordings of that folder are tested, which may lack classes, and those of
    `data` train. `train.seed` draws the split. All recordings are decoded first, with a progress
    bar, so that a damaged file shows at once. Raises InputError for a file that cannot be read, for
    too few recordings of a class and, where images are grey, for a class without images: before the
    simulated camera its recordings take their place.
    """
    source = dataset(recipe.data.name)
    classes = source.class_names(data)
    source = dataset(recipe.data.name, classes, recipe.data.camera)
    found = source.find_recordings(data)
    tested = None if test is None else source.find_recordings(test)
    split = split_recordings(source, found, recipe.data, recipe.train.seed, tested)
    every = [*found, *(tested or [])]
    contract = input_contract(recipe.data, every)
    with console.late_progress("read recordings") as show:
        frames, coverage = decoded_frames(
            every, recipe.data, contract, lambda done: show(done, len(every))
        )
    labels = np.array([recording.label for recording in every], np.int64)
    known, seen_before = seen_by_init(recipe, every)
    split = _without_tests(split, known, recipe)
    _need_all(
        classes,
        {recording.label for recording in split.train},
        f"{data}: holds no recording of class",
        "give a fuller folder",
    )
    images = None
    if needs_images:
        if source.load_images is None:
            raise InputError(
                f"{source.title}: has no images, and method {recipe.method.name!r} learns from"
                " some; choose another method or data set"
            )
        check_paired(source, split.protocol)
        shown = source.load_images(static, contract.sensor, value_first=recipe.data.value_first)
        images = split.choose_images(shown)
        imaged = set(images.labels.tolist())
        where = f"{static or source.name}: no images to train on of class"
        if recipe.static.encoding == "grey":
            advice = (
                "give a fuller folder, or set static.encoding = 'simulated': recordings of a class"
                " then take the place of its images"
            )
            _need_all(classes, imaged, where, advice)
        elif lacking := [name for label, name in enumerate(classes) if label not in imaged]:
            console.note(f"{where} {', '.join(lacking)[:200]}; recordings take their place")
    at = {recording: i for i, recording in enumerate(every)}

    def rows(part: Sequence[Recording]) -> tuple[Rows, NDArray[np.int64]]:
        index = np.array([at[recording] for recording in part], np.int64)
        return Rows(frames, index), labels[index]

    def instances(part: Sequence[Recording]) -> list[str]:
        return sorted({recording.instance for recording in part})

    (train, train_labels), (validation, validation_labels), (test_frames, test_labels) = map(
        rows, (split.train, split.validation, split.test)
    )
    seen = None
    if source.name == folders.NAME and recipe.data.frames == "counts":
        digests = {digest_of(frames) for part in (train, validation) for frames in part.each()}
        seen = sorted(digests)
        again = sum(digest_of(frames) in digests for frames in test_frames.each())
        if again:
            console.note(
                f"warning: {again} of {len(test_frames)} recordings to test show the network the"
                " same as one that is trained on; remove them, or they count as known"
            )
    return TrainingData(
        sensor=contract.sensor,
        classes=classes,
        protocol=split.protocol,
        frames=train,
        labels=train_labels,
        trained_on=instances(split.train),
        validation_frames=validation,
        validation_labels=validation_labels,
        validated_on=instances(split.validation),
        test_frames=test_frames,
        test_labels=test_labels,
        images=images,
        coverage=coverage,
        frames_seen=seen,
        seen_before=seen_before,
        test_are=SIMULATED if is_simulated(test or data) else None,
        view=every[0].view,
    )


def _without_tests(split: Split, known: set[Recording], recipe: Recipe) -> Split:
    """Take recordings that a network has seen before out of its validation and test."""
    validation, test = (
        [recording for recording in part if recording not in known]
        for part in (split.validation, split.test)
    )
    note_left_out(recipe, len(split.test), len(test))
    return replace(split, validation=validation, test=test)


def note_left_out(recipe: Recipe, before: int, left: int) -> None:
    """Note that of so many samples to test only some are `left`, which train.init has not seen."""
    if left < before:
        console.note(
            f"{before - left} of {before} test recordings are left out: train.init ="
            f" {recipe.train.init!r} has seen what they show"
        )


def _need_all(classes: tuple[str, ...], found: set[int], complaint: str, advice: str) -> None:
    for label, name in enumerate(classes):
        if label not in found:
            raise InputError(
                f"{complaint} {name!r}, expected all of {', '.join(classes)[:200]}; {advice}"
            )
