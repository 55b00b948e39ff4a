"""The sets of the backbone's benchmark: where their recordings and images lie, how they become
frames, how they are split.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from gesture_clips import make_clips

from tmkt.datasets.decoded import Rows, decoded_frames, input_contract
from tmkt.datasets.folders import folders
from tmkt.datasets.image_folders import class_names
from tmkt.datasets.simulated import Simulation, simulate_images
from tmkt.datasets.types import StaticImages
from tmkt.proposal.method import random_camera
from tmkt.recipe import DataRecipe, Recipe
from tmkt.train.data import TrainingData, load_training_data

CLIPS = Path(__file__).parents[2] / "build" / "gesture-clips"
PHOTOGRAPHS = CLIPS.with_name("caltech101-events")
OBJECTS = ("box", "mouse", "scissors")  # those of BioLab's that both sessions show


@dataclass(frozen=True)
class Few:
    """A set with few recordings.

    `shots`: recordings a class to train on, 0 for all. `images_of_all`: there are images of every
    class, not only of some, which serve before the simulated camera alone. `figure`: what of a
    result is shown, since classes may be tested with unequal numbers of recordings. `load` gives
    the data of a recipe whose seed draws the recordings, from the folder of all sets.
    """

    name: str
    settings: list[str]
    shots: tuple[int, ...]
    images_of_all: bool
    figure: str
    load: Callable[[Path, Recipe, int, bool], TrainingData]


def _with_shots(recipe: Recipe, shots: int) -> Recipe:
    return recipe.model_copy(update={"data": recipe.data.model_copy(update={"shots": shots})})


def _loader(events: str, images: str) -> Callable[[Path, Recipe, int, bool], TrainingData]:
    def load(shared: Path, recipe: Recipe, shots: int, with_images: bool) -> TrainingData:
        return load_training_data(
            _with_shots(recipe, shots), shared / events, shared / images, with_images
        )

    return load


def _gestures(shared: Path, recipe: Recipe, shots: int, with_images: bool) -> TrainingData:
    if not CLIPS.is_dir():
        make_clips(shared / "dvsgesture", CLIPS)
    return _loader("events", "images")(CLIPS, recipe, shots, with_images)


def _photographs(shared: Path, recipe: Recipe, shots: int, with_images: bool) -> TrainingData:
    """Load Caltech101 as the papers have N-Caltech101, but recorded by the simulated camera: the
    first time takes 20 minutes of one core.
    """
    images = shared / "caltech101" / "101_ObjectCategories"
    simulate_images(images, PHOTOGRAPHS, Simulation())
    return load_training_data(_with_shots(recipe, shots), PHOTOGRAPHS, images, with_images)


def _sessions(train: str, test: str) -> Callable[[Path, Recipe, int, bool], TrainingData]:
    """Load BioLab's objects: trained in one session, tested in the other.

    Slices of one session are not independent, so none of the trained session is tested. Of the
    objects, Caltech101 has photographs of scissors.
    """

    def load(shared: Path, recipe: Recipe, shots: int, with_images: bool) -> TrainingData:
        frames, labels, names = _slices(shared / "biolab" / "events" / train, recipe.data)
        test_frames, test_labels, _ = _slices(shared / "biolab" / "events" / test, recipe.data)
        rng = np.random.default_rng(recipe.train.seed)
        of_class = [np.flatnonzero(labels == label) for label in range(len(OBJECTS))]
        drawn = [rng.choice(one, shots or len(one), replace=False) for one in of_class]
        chosen = np.sort(np.concatenate(drawn))
        none = np.array([], np.int64)
        sensor = (frames.shape[3], frames.shape[4])
        return TrainingData(
            sensor=sensor,
            classes=OBJECTS,
            protocol="other session",
            frames=Rows(frames, chosen),
            labels=labels[chosen],
            trained_on=[names[i] for i in chosen],
            validation_frames=Rows(frames, none),
            validation_labels=labels[none],
            validated_on=[],
            test_frames=Rows(test_frames, np.arange(len(test_labels))),
            test_labels=test_labels,
            images=_of_objects(shared / "biolab" / "images", sensor) if with_images else None,
        )

    return load


def _of_objects(root: Path, size: tuple[int, int]) -> StaticImages:
    """Read the photographs of a folder that show one of the objects."""
    names = class_names(root)
    load = folders(names).load_images
    assert load is not None
    found = load(root, size, value_first=False)
    shown = [i for i, label in enumerate(found.labels) if names[label] in OBJECTS]
    return StaticImages(
        found.images[shown],
        np.array([OBJECTS.index(names[found.labels[i]]) for i in shown]),
        tuple(found.instances[i] for i in shown),
    )


def _slices(root: Path, data: DataRecipe) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Read frames, labels and names of a session's slices."""
    found = [
        replace(one, label=OBJECTS.index(one.path.parent.name))
        for one in folders(()).find_recordings(root)
        if one.path.parent.name in OBJECTS
    ]
    frames, _ = decoded_frames(found, data, input_contract(data, found), lambda _: None)
    labels = np.array([one.label for one in found], np.int64)
    return frames, labels, [one.instance for one in found]


# Of all sets. Its camera is the one before N-MNIST's images; budget and augmentation are
# nmnist-fewshot's.
RECIPE = "nmnist-fewshot-sim"
BUDGET = [
    "train.steps=200",
    "train.batch=24",
    "train.threads=1",
    "train.ema=0.0",
    "train.learning_rate=5e-3",
    "train.shift=3",
    "train.rotation=10.0",
    "train.zoom=0.1",
]
FOLDERS = [*BUDGET, "data.name=folders"]
QUARTER = [*FOLDERS, "data.downsample=4"]  # of a sensor of 128 x 128


def _camera(span_us: int) -> list[str]:
    """Settings of the simulated camera that `tmkt init` proposes for recordings of this length."""
    return [f"static.{key}={value}" for key, value in random_camera(span_us).items()]


SETS = {
    one.name: one
    for one in (
        Few("nmnist", BUDGET, (1, 5, 20), True, "accuracy", _loader("nmnist", "mnist")),
        Few(
            "pokerdvs",
            [*FOLDERS, "data.bin_us=2500", *_camera(25_000)],
            (1, 2, 5),
            images_of_all=True,
            figure="accuracy",
            load=_loader("pokerdvs/events", "pokerdvs/images"),
        ),
        *(
            Few(
                f"biolab-{train}-{test}",
                [*QUARTER, "data.bin_us=10000", *_camera(100_000)],
                (1, 5, 20, 0),
                images_of_all=False,
                figure="recall",
                load=_sessions(train, test),
            )
            for train, test in (("s1", "s0"), ("s0", "s1"))
        ),
        Few(
            "caltech101",
            [
                *BUDGET,
                "data.name=ncaltech101",
                "data.width=36",
                "data.height=36",
                "data.bin_us=30000",
                *_camera(300_000),
            ],
            (5, 20, 0),
            images_of_all=True,
            figure="accuracy",
            load=_photographs,
        ),
        Few(
            "gestures",
            [*QUARTER, "data.bin_us=5000", *_camera(50_000)],
            (1,),
            True,
            "accuracy",
            _gestures,
        ),
    )
}
