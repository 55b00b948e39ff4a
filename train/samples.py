"""The samples of one step as they are drawn, before the device computes a batch from them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmkt.recipe import Recipe
from tmkt.train.ahead import host_tensor
from tmkt.train.augment import delayed, draw_delays, draw_moves, moved
from tmkt.train.data import TrainingData
from tmkt.train.draws import draw_rows, one_of_each
from tmkt.train.encodings import DrawnImages, draw_images, encode
from tmkt.train.methods.base import Batch


@dataclass(frozen=True)
class Samples:
    """Labels int64 [B], recordings [B, T, 2, H, W] as they lie on disk, with the moves that
    augment them, the bins by which they are late, and images. `no_image`, bool [B]: the recording
    takes the place of the image, which is of another class; None for no such sample.

    They are in memory of the host, which is pinned for a GPU: counts travel as single bytes, and
    become floats and are moved over there.
    """

    labels: Tensor
    recordings: Tensor | None
    moves: NDArray[np.float64] | None
    delays: NDArray[np.int64] | None
    images: DrawnImages | None
    no_image: Tensor | None = None

    def batch(self, recipe: Recipe, sensor: tuple[int, int], device: torch.device) -> Batch:
        """Compute the batch on `device`: each recording moved by itself, the images encoded."""
        events: Tensor | None = None
        if self.recordings is not None:
            assert self.moves is not None
            frames = delayed(self.recordings.to(device, non_blocking=True), self.delays).float()
            events = (
                moved(frames.flatten(1, 2), self.moves, "nearest")
                .unflatten(1, (recipe.data.bins, 2))
                .transpose(0, 1)
                .contiguous()
            )
        images = None if self.images is None else encode(self.images, recipe, sensor, device)
        if self.no_image is not None:
            assert events is not None
            assert images is not None
            none = self.no_image.to(device, non_blocking=True)
            images = torch.where(none.view(1, -1, 1, 1, 1), events, images)
        return Batch(events, images, self.labels.to(device, non_blocking=True))


def draw_samples(
    data: TrainingData,
    recipe: Recipe,
    rng: np.random.Generator,
    device: torch.device,
    step: int | None = None,
) -> Samples:
    """Draw a step's samples as `train.draw` says, each with a recording and an image.

    Where images alone are trained on, each has an image; where its class has none, its recording is
    shown in the image's place, too. A recording's image is drawn at random among those of its
    class, and each is warped by itself. Pairing by class alone is Knowledge Transfer's way (arXiv
    2303.13077); TMKT's papers do not say whether they pair instances. Without a `step` there are no
    epochs: classes are drawn in equal shares.
    """
    recordings, moves, delays, images, at, no_image = None, None, None, None, None, None
    if len(data.frames):
        labels, rows = draw_rows(data.labels, data.places, recipe.train, rng, step)
        recordings = host_tensor(data.frames[rows], device)
        moves = draw_moves(len(labels), recipe.train, rng)
        delays = draw_delays(len(labels), recipe.train, rng)
    else:
        assert data.images is not None
        labels, at = draw_rows(data.images.labels, data.image_places, recipe.train, rng, step)
    if data.images is not None:
        at = one_of_each(labels, data.image_places, rng) if at is None else at
        images = draw_images(data.images.images[at], recipe, data.sensor, rng, device)
        if data.without_images:
            no_image = host_tensor(np.isin(labels, data.without_images), device)
    return Samples(host_tensor(labels, device), recordings, moves, delays, images, no_image)


def draw_batch(
    data: TrainingData,
    recipe: Recipe,
    rng: np.random.Generator,
    device: torch.device,
    step: int | None = None,
) -> Batch:
    """Draw a step's batch, as `draw_samples` says, and compute it on `device`."""
    return draw_samples(data, recipe, rng, device, step).batch(recipe, data.sensor, device)
