"""Data of any training: recordings, with images where the method uses them, or images alone."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt import console
from tmkt.datasets.decoded import Rows
from tmkt.datasets.image_folders import (
    LAYOUT,
    choose_classes,
    class_names,
    load_images,
    split_images,
)
from tmkt.datasets.images import need_folder
from tmkt.datasets.splits import leave_out, spread
from tmkt.datasets.types import StaticImages
from tmkt.errors import InputError
from tmkt.recipe import Recipe
from tmkt.runs import CALIBRATION_RECORDINGS, SIMULATED
from tmkt.train.background import with_background
from tmkt.train.data import TrainingData, load_training_data, note_left_out
from tmkt.train.encodings import record_images
from tmkt.train.methods.registry import METHODS, learns_from_images
from tmkt.train.start import seen_by_init


def load_source(
    recipe: Recipe, data: Path | None, static: Path | None, test: Path | None = None
) -> TrainingData:
    """Read what a recipe trains on: the recordings of `data`, with the images of `static` where its
    method uses them, or these images alone.

    `test` is the folder of the recordings to test, where they are not a part of `data`. Raises
    InputError as `load_training_data` and `load_images_alone` do, where `data` is needed and
    missing, and where a folder of recordings is given for a method without them.
    """
    if METHODS[recipe.method.name].needs_recordings:
        if data is None:
            raise InputError("train: no folder of recordings; give one")
        with_images = learns_from_images(recipe, static)
        loaded = load_training_data(recipe, data, static, with_images, test)
        return with_background(loaded, recipe)
    for option, folder in (("--data", data), ("--test", test)):
        if folder is not None:
            raise InputError(
                f"{option} {folder}: recordings, but method {recipe.method.name!r} learns from"
                f" images alone; leave {option} out, and give the images with --static DIR"
            )
    return load_images_alone(recipe, static)


def load_images_alone(recipe: Recipe, static: Path | None) -> TrainingData:
    """Read the images of `static`, split as the recipe says; `train.seed` draws the split.

    The images that validate and test are recorded here, once, by the simulated camera: each by a
    camera of its own, drawn by the seed from the ranges that training draws from, but unmoved by
    augmentation (the choice is ours: augmentation is a means of training, the camera's ranges are
    what is learned). So are CALIBRATION_RECORDINGS of the training images, for the quantiser.
    Raises InputError for a folder or file that cannot be read, and for a class that is too small.
    """
    seed, sensor = recipe.train.seed, recipe.data.sensor
    assert sensor is not None  # a recipe for images alone gives it
    root = need_folder(static, LAYOUT)
    classes = choose_classes(class_names(root), recipe.data, seed)
    with console.late_progress("read images") as show:
        images = load_images(classes, root, sensor, show, value_first=recipe.data.value_first)
    train, validation, test = split_images(images, classes, recipe.data, seed)
    _, seen_before = seen_by_init(recipe, [])
    note_left_out(recipe, len(test), len(leave_out(test, seen_before)))
    validation, test = (leave_out(part, seen_before) for part in (validation, test))
    quantiser = spread(len(train), CALIBRATION_RECORDINGS)
    shown = [validation.images, test.images, train.images[quantiser]]
    recorded: list[NDArray[np.uint8]] = []
    with console.late_progress("simulate recordings") as show:
        for turn, part in enumerate(shown):
            before = sum(map(len, recorded))
            recorded.append(
                record_images(
                    part,
                    recipe,
                    sensor,
                    np.random.default_rng([seed, 4, turn]),
                    lambda done, before=before: show(before + done, sum(map(len, shown))),  # type: ignore[misc]
                )
            )
    validation_frames, test_frames, calibration = recorded
    return TrainingData(
        sensor=sensor,
        classes=classes,
        protocol=recipe.data.protocol,
        frames=_rows(test_frames[:0]),
        labels=train.labels[:0],
        trained_on=[],
        validation_frames=_rows(validation_frames),
        validation_labels=validation.labels,
        validated_on=_instances(validation),
        test_frames=_rows(test_frames),
        test_labels=test.labels,
        images=train,
        simulated=(calibration, train.labels[quantiser]),
        seen_before=seen_before,
        test_are=SIMULATED,
    )


def _rows(frames: NDArray[np.uint8]) -> Rows:
    return Rows(frames, np.arange(len(frames)))


def _instances(images: StaticImages) -> list[str]:
    return sorted(set(images.instances))
