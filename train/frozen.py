"""Training of the head alone, on features that are computed once (`train.freeze`, `head_share`).

The answer of a network is the mean of its logits over time, and the head is linear. So the mean of
the features over time is all that the head needs, and a step takes a millisecond.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, TrainRecipe
from tmkt.train.data import TrainingData
from tmkt.train.draws import Places, draw_labels, one_of_each, places_of
from tmkt.train.health import count_spikes
from tmkt.train.methods.base import Batch
from tmkt.train.methods.registry import METHODS
from tmkt.train.samples import draw_batch
from tmkt.train.step import Learner

# Samples in a bank: so many augmented copies of each training recording, and as many images, where
# the method learns from some; but at least LEAST_SAMPLES, and no more than BANK_BYTES hold.
COPIES = 16
LEAST_SAMPLES = 512
BANK_BYTES = 2**28
STREAM = 3  # keeps the draws of a bank apart from those of the steps


def check_frozen(recipe: Recipe) -> None:
    """Raise InputError where the head alone is to learn by a method that teaches the features."""
    if not recipe.train.frozen_steps:
        return
    key = "freeze" if recipe.train.freeze else "head_share"
    if not METHODS[recipe.method.name].learns_from_features:
        able = ", ".join(name for name, one in METHODS.items() if one.learns_from_features)
        raise InputError(
            f"train.{key}: method {recipe.method.name!r} teaches the features, which stay as they"
            f" are, expected one of {able}; set method.name, or leave train.{key} out"
        )
    if recipe.method.loss != "mean":
        raise InputError(
            f"train.{key}: method.loss = {recipe.method.loss!r} needs the features of every step,"
            " of which the mean is kept; set method.loss=mean"
        )


class Head(SpikingNetwork):
    """The head of a network as a network without blocks: its input are features [1, B, F, 1, 1]."""

    def __init__(self, net: SpikingNetwork) -> None:
        nn.Module.__init__(self)
        self.input_shape = (net.features, 1, 1)
        self.blocks = nn.ModuleList()
        self._aligned = [None]
        self.features = net.features
        self.head = net.head  # the same one: what it learns, the network has learned
        self.recompute = False


@dataclass(frozen=True)
class FeatureBank:
    """Features of augmented recordings and of images by a frozen network, means over time.

    `recordings` and `images` are float [N, F, 1, 1], or one of them None; `labels` int64 [N] are
    those of both. `spike_rates` are the network's spikes per neuron and step, by layer.
    """

    recordings: Tensor | None
    images: Tensor | None
    labels: NDArray[np.int64]
    spike_rates: dict[str, float]
    device: torch.device

    @cached_property
    def places(self) -> Places:
        """Indices of each class in `labels`."""
        return places_of(self.labels)

    def describe(self, recipe: TrainRecipe) -> str:
        """Say in one line from what the head learns."""
        kept = {"augmented recordings": self.recordings, "images": self.images}
        what = " and ".join(
            f"{len(features)} {name}" for name, features in kept.items() if features is not None
        )
        megabytes = 4e-6 * sum(one.numel() for one in kept.values() if one is not None)
        return (
            f"The head learns alone for {recipe.frozen_steps} steps, from the features of {what}"
            f" ({megabytes:.1f} MB)"
        )

    def draw(self, size: int, rng: np.random.Generator) -> Batch:
        """Draw a step's batch as `draw_batch` does, with features [1, B, F, 1, 1] for frames."""
        labels = draw_labels(self.places, size, rng)
        recordings, images = (
            None if features is None else features[one_of_each(labels, self.places, rng)][None]
            for features in (self.recordings, self.images)
        )
        return Batch(recordings, images, torch.from_numpy(labels).to(self.device))


@torch.no_grad()
def fill_bank(learner: Learner, source: TrainingData, recipe: Recipe) -> FeatureBank:
    """Compute the features from which the head learns; `train.seed` draws them.

    The network is left in evaluation mode.
    """
    net, device = learner.net, learner.device
    net.eval()
    recordings, images, labels = [], [], []
    with count_spikes(net) as spikes:
        for i in range(_batches(net, source, recipe)):
            rng = np.random.default_rng([recipe.train.seed, i, STREAM])
            batch = draw_batch(source, recipe, rng, device)
            labels.append(batch.labels.cpu().numpy())
            if batch.recordings is not None:
                recordings.append(_features(net, batch.recordings))
            if batch.images is not None:
                with learner.method.around_images(net):
                    images.append(_features(net, batch.static))
    return FeatureBank(
        recordings=torch.cat(recordings) if recordings else None,
        images=torch.cat(images) if images else None,
        labels=np.concatenate(labels),
        spike_rates=spikes.rates(),
        device=device,
    )


def _batches(net: SpikingNetwork, source: TrainingData, recipe: Recipe) -> int:
    """Give the number of batches in a bank: never more than steps that learn from it."""
    streams = (len(source.frames) > 0) + (source.images is not None)
    most = BANK_BYTES // (4 * net.features * streams)
    samples = min(max(COPIES * source.samples, LEAST_SAMPLES), most)
    return min(max(samples // recipe.train.batch, 1), recipe.train.frozen_steps)


def _features(net: SpikingNetwork, frames: Tensor) -> Tensor:
    """Compute the time mean of the features of frames [T, B, 2, H, W]: [B, F, 1, 1]."""
    features: Tensor = net(frames).features.mean(0)
    return features[:, :, None, None]
