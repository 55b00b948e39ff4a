"""What a training sees: its recordings and images in memory, and the batch of each step."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmkt.datasets import StaticImages, dataset, load_frames
from tmkt.datasets.splits import few_shot, without_instances
from tmkt.errors import InputError
from tmkt.frames import InputContract
from tmkt.recipe import Recipe
from tmkt.train.augment import warp
from tmkt.train.methods import Batch
from tmkt.train.static_frames import static_frames


@dataclass(frozen=True)
class TrainingData:
    """Frames uint8 [N, T, 2, H, W] and labels int64 [N] of the training and the test recordings, and the static source (None: not used).

    No image shows a thing whose recording is tested. `trained_on` holds the instances of the training recordings.
    """

    sensor: tuple[int, int]
    classes: tuple[str, ...]
    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    trained_on: list[str]
    test_frames: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    images: StaticImages | None

    def fingerprint(self) -> bytes:
        """sha256 of all that training sees: a resumed training must go on with the same."""
        digest = hashlib.sha256()
        for array in (self.frames, self.labels, *((self.images.images, self.images.labels) if self.images else ())):
            digest.update(f"{array.shape}".encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.digest()


def load_training_data(recipe: Recipe, data: Path, static: Path | None, needs_images: bool) -> TrainingData:
    """Reads all recordings of `data` and the images of `static`, split as the recipe says (`train.seed` draws the few shots).

    All recordings are read before anything else, so that a damaged file shows at once: 23 kB each for N-MNIST. Raises InputError for
    what cannot be read, for too few recordings of a class and for a class without images.
    """
    source = dataset(recipe.data.name)
    found = source.find_recordings(data)
    contract = InputContract(source.sensor, recipe.data.bins, recipe.data.bin_us, recipe.data.max_count)
    all_frames, all_labels = load_frames(found, contract)
    train, test = few_shot(found, recipe.data.shots, recipe.train.seed)
    _need_all(source.classes, {recording.label for recording in train}, f"{data}: holds no recording of class")
    images = None
    if needs_images:
        images = without_instances(source.load_images(static), {recording.instance for recording in test})
        _need_all(source.classes, set(images.labels.tolist()), f"{static or source.name}: leaves, without those that are tested, no image of class")
    at = {recording: i for i, recording in enumerate(found)}
    train_at, test_at = ([at[recording] for recording in part] for part in (train, test))
    trained_on = sorted({recording.instance for recording in train})
    return TrainingData(
        source.sensor,
        source.classes,
        all_frames[train_at],
        all_labels[train_at],
        trained_on,
        all_frames[test_at],
        all_labels[test_at],
        images,
    )


def _need_all(classes: tuple[str, ...], found: set[int], complaint: str) -> None:
    for label, name in enumerate(classes):
        if label not in found:
            raise InputError(f"{complaint} {name!r}, expected all of {', '.join(classes)}; give a fuller folder")


def draw_batch(data: TrainingData, recipe: Recipe, rng: np.random.Generator, device: torch.device) -> Batch:
    """Draws a step's batch: classes in equal shares, for each a random recording and a random image of that class, each warped by itself.

    The pairing by class alone is Knowledge Transfer's (arXiv 2303.13077); whether TMKT pairs instances is not said.
    """
    classes, size = len(data.classes), recipe.train.batch
    rounds = [rng.permutation(classes) for _ in range(-(-size // classes))]
    labels = np.concatenate(rounds)[:size]
    events = torch.from_numpy(data.frames[_one_of_each(labels, data.labels, rng)]).to(device, torch.float32)
    events = warp(events.flatten(1, 2), recipe.train, rng, "nearest").unflatten(1, (recipe.data.bins, 2)).transpose(0, 1).contiguous()
    images: Tensor | None = None
    if data.images is not None:
        chosen = torch.from_numpy(data.images.images[_one_of_each(labels, data.images.labels, rng)]).to(device)
        images = warp(static_frames(chosen, data.sensor), recipe.train, rng, "bilinear")
    return Batch(events, images, torch.from_numpy(labels).to(device))


def _one_of_each(wanted: NDArray[np.int64], labels: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
    """For each wanted label a random index into `labels` where it stands."""
    order = np.argsort(labels, kind="stable")
    first = np.searchsorted(labels, wanted, sorter=order)
    count = np.searchsorted(labels, wanted, side="right", sorter=order) - first
    chosen: NDArray[np.int64] = order[first + rng.integers(count)]
    return chosen
