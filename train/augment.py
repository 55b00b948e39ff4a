"""Augmentation of a sample: shift, rotation, zoom, mirroring, the same at all its steps; delay."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.recipe import TrainRecipe


def draw_moves(batch: int, recipe: TrainRecipe, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw for each sample a shift in pixels, a rotation in degrees, a relative zoom and whether it
    is mirrored.

    The first three are uniform within the recipe's `shift`, `rotation` and `zoom` (the ranges are
    ours); each sample is mirrored with probability `flip`. Gives float64 [batch, 2, 3], which maps
    a pixel (x, y, 1) of the moved frame to the (x, y) that it comes from, both in pixels from the
    frame's middle.
    """
    shift = rng.uniform(-recipe.shift, recipe.shift, (batch, 2))
    angle = np.radians(rng.uniform(-recipe.rotation, recipe.rotation, batch))
    zoom = 1.0 + rng.uniform(-recipe.zoom, recipe.zoom, batch)
    cos, sin = np.cos(angle) / zoom, np.sin(angle) / zoom
    moves: NDArray[np.float64] = np.stack(
        [np.stack([cos, -sin, shift[:, 0]], 1), np.stack([sin, cos, shift[:, 1]], 1)], 1
    )
    if recipe.flip:  # drawn last and only then: without it the numbers of older runs stay the same
        moves[rng.random(batch) < recipe.flip, 0] *= -1.0
    return moves


def draw_delays(
    batch: int, recipe: TrainRecipe, rng: np.random.Generator
) -> NDArray[np.int64] | None:
    """Draw for each sample by how many bins it begins late, int64 [batch], uniform from -`delay` to
    `delay` of the recipe; None, and nothing is drawn, where that is 0.

    So a network learns windows of a stream, which know of no beginning (ours).
    """
    return rng.integers(-recipe.delay, recipe.delay + 1, batch) if recipe.delay else None


def delayed(frames: Tensor, delays: NDArray[np.int64] | None) -> Tensor:
    """Move recordings [B, T, ...] in time by `delays` of `draw_delays`; free bins are then 0."""
    if delays is None:
        return frames
    source = torch.arange(frames.shape[1]) - torch.from_numpy(delays)[:, None]
    inside = (source >= 0) & (source < frames.shape[1])
    late = frames[torch.arange(len(frames))[:, None], source.clamp(0, frames.shape[1] - 1)]
    late[~inside] = 0
    return late


def warp(frames: Tensor, recipe: TrainRecipe, rng: np.random.Generator, mode: str) -> Tensor:
    """Move float frames [B, C, H, W] as `draw_moves` says; what comes in from outside is 0.

    `mode` "nearest" keeps event counts whole; "bilinear" is for images.
    """
    return moved(frames, draw_moves(len(frames), recipe, rng), mode)


def moved(frames: Tensor, moves: NDArray[np.float64], mode: str) -> Tensor:
    """Move float frames [B, C, H, W] by `moves` of `draw_moves`, as `warp` does."""
    batch, _, height, width = frames.shape
    # grid_sample wants both axes scaled to [-1, 1].
    scale = np.array([[1.0, height / width, 2.0 / width], [width / height, 1.0, 2.0 / height]])
    source = torch.from_numpy((moves * scale).astype(np.float32)).to(
        frames.device, non_blocking=True
    )
    grid = F.affine_grid(source, [batch, 1, height, width], align_corners=False)
    return F.grid_sample(frames, grid, mode=mode, padding_mode="zeros", align_corners=False)
