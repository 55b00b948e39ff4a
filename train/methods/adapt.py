"""Adaptation of a trained network to a few recordings, with images of the classes or without."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses
from tmkt.train.methods.mix import Mix


class Adapt(Mix):
    """The mixed batch of `mix` where images are given, the recordings alone where none are.

    A method of ours, for networks that start from a backbone: those that already know much of
    what a camera sees can do without images of the classes.
    """

    images = "optional"

    def exchange(self, batch: Batch, rng: np.random.Generator, progress: float) -> Batch:
        return batch if batch.images is None else super().exchange(batch, rng, progress)

    def losses(
        self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator, progress: float
    ) -> Losses:
        if batch.images is not None:
            return super().losses(net, batch, rng, progress)
        output = net(batch.events)
        loss = self.classify(output.logits, batch.labels)
        return Losses(loss, {"events": loss}, output.logits)
