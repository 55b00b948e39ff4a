"""The samples of one step as they were drawn, before the device computes a batch from them."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmkt.recipe import Recipe
from tmkt.train.augment import delayed, moved
from tmkt.train.encodings import DrawnImages, encode
from tmkt.train.methods.base import Batch


@dataclass(frozen=True)
class Samples:
    """Labels int64 [B], recordings [B, T, 2, H, W] as they lie on disk, with the moves that
    augment them, the bins by which they are late, and images.

    They are in memory of the host, which is pinned for a GPU: counts travel as single bytes, and
    become floats and are moved over there.
    """

    labels: Tensor
    recordings: Tensor | None
    moves: NDArray[np.float64] | None
    delays: NDArray[np.int64] | None
    images: DrawnImages | None

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
        return Batch(events, images, self.labels.to(device, non_blocking=True))
