"""Augmentation: one small shift, rotation and zoom a sample, the same for all its time steps."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tmkt.recipe import TrainRecipe


def warp(frames: Tensor, recipe: TrainRecipe, rng: np.random.Generator, mode: str) -> Tensor:
    """Warps float frames [B, C, H, W] by up to `shift` pixels, `rotation` degrees and a relative `zoom`, drawn uniformly for each sample.

    `mode` "nearest" keeps event counts whole; "bilinear" is for images. What comes in from outside is 0. Ranges: ours.
    """
    batch, _, height, width = frames.shape
    shift = rng.uniform(-recipe.shift, recipe.shift, (batch, 2))
    angle = np.radians(rng.uniform(-recipe.rotation, recipe.rotation, batch))
    zoom = 1.0 + rng.uniform(-recipe.zoom, recipe.zoom, batch)
    cos, sin, aspect = np.cos(angle) / zoom, np.sin(angle) / zoom, height / width
    # grid_sample wants where each target pixel comes from, with both axes scaled to [-1, 1].
    source = np.empty((batch, 2, 3), np.float32)
    source[:, 0] = np.stack([cos, -sin * aspect, 2.0 * shift[:, 0] / width], axis=1)
    source[:, 1] = np.stack([sin / aspect, cos, 2.0 * shift[:, 1] / height], axis=1)
    grid = F.affine_grid(torch.from_numpy(source).to(frames.device), [batch, 1, height, width], align_corners=False)
    return F.grid_sample(frames, grid, mode=mode, padding_mode="zeros", align_corners=False)
