"""The class `nothing` of a training: `data.background`."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from tmkt.datasets.background import NOTHING, noise_frames, other_frames, pause_frames
from tmkt.datasets.decoded import contract_of
from tmkt.datasets.types import StaticImages
from tmkt.errors import InputError
from tmkt.recipe import Recipe
from tmkt.train.data import TrainingData

STREAM = 6  # keeps the draws of noise apart from others of the same seed
LEAST_SAMPLES = 100  # of noise and of pauses, however few recordings a class has


def with_background(data: TrainingData, recipe: Recipe) -> TrainingData:
    """Add the last class, `nothing`, to what is trained on, as `data.background` says; validation
    and test stay as they are.

    Its recordings are simulated noise, as many as a class has in the mean but at least
    LEAST_SAMPLES, as many windows around pauses between recordings, and the windows of a folder of
    other things. Its images, where images train, are evenly grey, each of another brightness, as
    many as a class has: what a camera sees of a blank wall. `train.seed` draws them. Raises
    InputError for a class of that name, and as `other_frames` does.
    """
    wanted = recipe.data.background
    if wanted == "none":
        return data
    if NOTHING in data.classes:
        raise InputError(
            f"data.background = {wanted!r}: the recordings have a class {NOTHING!r}, too, expected"
            " none of that name; rename it, or leave background out"
        )
    nothing = len(data.classes)
    rng = np.random.default_rng([recipe.train.seed, STREAM])
    count = max(-(-len(data.frames) // nothing), LEAST_SAMPLES)
    contract = contract_of(recipe.data, data.sensor)
    parts = [
        noise_frames(count, contract, data.view, rng),
        pause_frames(count, data.frames, rng),
    ]
    if wanted != "generated":
        parts.append(other_frames(Path(wanted), contract, data.view))
    frames = np.concatenate(parts)
    return replace(
        data,
        classes=(*data.classes, NOTHING),
        nothing=nothing,
        frames=data.frames.with_more(frames),
        labels=np.concatenate([data.labels, np.full(len(frames), nothing)]),
        images=None if data.images is None else _with_blank(data.images, nothing, rng),
    )


def _with_blank(images: StaticImages, label: int, rng: np.random.Generator) -> StaticImages:
    """Add evenly grey images of a class `label`."""
    count = -(-len(images) // label)
    levels = rng.integers(0, 256, count).astype(np.uint8)
    blank = np.broadcast_to(levels[:, None, None], (count, *images.images.shape[1:]))
    return StaticImages(
        np.concatenate([images.images, blank]),
        np.concatenate([images.labels, np.full(count, label)]),
        (*images.instances, *(NOTHING for _ in range(count))),
    )
