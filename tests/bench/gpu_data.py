"""Data of the GPU's checks and times: random counts and images in the papers' shapes."""

from typing import Any

import numpy as np

from tmkt.datasets.decoded import Rows
from tmkt.datasets.types import StaticImages
from tmkt.recipe import Recipe, load_recipe, parse_recipe
from tmkt.train import RECIPES
from tmkt.train.data import TrainingData

DENSITY = 0.1  # of events in a frame


def random_data(recipe: Recipe, classes: int, samples: int) -> TrainingData:
    """Make recordings and images of every class; for a recipe without recordings, images alone."""
    rng, data = np.random.default_rng(0), recipe.data
    assert data.sensor is not None
    shape = samples, data.bins, 2, *data.sensor
    frames = (rng.random(shape, np.float32) < DENSITY).astype(np.uint8)
    labels = np.arange(samples) % classes
    images = rng.integers(0, 256, (samples, *data.sensor), np.uint8)
    index, none = np.arange(samples), np.arange(0)
    alone = data.images_alone
    return TrainingData(
        sensor=data.sensor,
        classes=tuple(map(str, range(classes))),
        protocol=data.protocol,
        frames=Rows(frames, none if alone else index),
        labels=labels[none] if alone else labels,
        trained_on=[] if alone else [f"recording-{i}" for i in index],
        validation_frames=Rows(frames, none),
        validation_labels=labels[none],
        validated_on=[],
        test_frames=Rows(frames, index[:4]),
        test_labels=labels[:4],
        images=StaticImages(images, labels, tuple(f"image-{i}" for i in index)),
        simulated=(frames[:4], labels[:4]) if alone else None,
    )


def small_recipe(method: str, **train: Any) -> Recipe:
    """Give a recipe of a small network by any method, without augmentation."""
    data: dict[str, Any] = {"name": "digits", "bins": 4, "bin_us": 30_000}
    static = {"encoding": "grey"}
    if method == "static-only":
        data["name"], static["encoding"] = "images", "simulated"
    own = {"name": method}
    if method == "ckd":
        own |= {"teacher_steps": 2, "teacher_width": 4}
    return parse_recipe(
        {
            "data": {**data, "width": 16, "height": 16},
            "network": {"channels": [8, 16], "strides": [1, 2], "pools": [2, 1]},
            "static": static,
            "method": own,
            "train": {"steps": 4, "batch": 8, "threads": 2, "warmup_steps": 1, **train},
        },
        method,
    )


def papers_recipe(name: str, tiny: bool, *settings: str) -> Recipe:
    """Give a recipe of a paper on counts; with `tiny` so small that a CPU takes a moment."""
    small = []
    if tiny:
        small = ["data.bins=2", "data.width=28", "data.height=28", "train.batch=2"]
    if tiny and name.startswith("ncaltech101"):
        small += ["network.name=small", "network.channels=[8,16]"]
        small += ["network.strides=[2,1]", "network.pools=[1,2]"]
    return load_recipe(name, RECIPES, ["data.frames=counts", *small, *settings])
