"""Batch norm statistics of a new camera, before the first step (`train.init_statistics`)."""

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe
from tmkt.train.data import TrainingData
from tmkt.train.samples import draw_batch

SAMPLES = 96  # augmented recordings, at least, that the statistics are those of
STREAM = 2  # keeps their draws apart from those of the steps


@torch.no_grad()
def set_statistics(
    net: SpikingNetwork, source: TrainingData, recipe: Recipe, device: torch.device
) -> None:
    """Move the running statistics of a network that was trained elsewhere to the recordings.

    With "estimate" they become those of augmented training recordings (or of images, where these
    are all), with "blend" n / (n + prior) of these and the rest of the old ones, where n recordings
    are trained on. One layer is set after the other, from the input on, so that each sees what it
    will see. The number of samples and the blend are ours; which of the three is best has not been
    measured yet.
    """
    if recipe.train.init_statistics == "keep":
        return
    weight = 1.0
    if recipe.train.init_statistics == "blend":
        weight = source.samples / (source.samples + recipe.train.statistics_prior)
    frames = _draw(source, recipe, device)
    net.eval()
    for norm in net.modules():
        if isinstance(norm, nn.BatchNorm2d):
            _move(norm, net, frames, weight)


def _move(norm: nn.BatchNorm2d, net: SpikingNetwork, frames: Tensor, weight: float) -> None:
    """Move one layer's statistics towards those of `frames` by the share `weight`."""
    kept = {name: tensor.clone() for name, tensor in norm.named_buffers()}
    momentum, norm.momentum = norm.momentum, 1.0  # this pass alone counts
    norm.train()
    net(frames)
    norm.eval()
    norm.momentum = momentum
    for name, tensor in norm.named_buffers():
        if tensor.is_floating_point():
            tensor.copy_(kept[name].lerp(tensor, weight))
        else:
            tensor.copy_(kept[name])


def _draw(source: TrainingData, recipe: Recipe, device: torch.device) -> Tensor:
    """Draw augmented samples of the deployed stream, float [T, B, 2, H, W]."""
    alone = replace(source, images=None) if len(source.frames) else source
    batches = -(-SAMPLES // recipe.train.batch)
    rngs = [np.random.default_rng([recipe.train.seed, i, STREAM]) for i in range(batches)]
    return torch.cat([draw_batch(alone, recipe, rng, device).deployed for rng in rngs], dim=1)
