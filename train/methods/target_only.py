"""Training on the recordings alone: the baseline of all methods."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, Method


class TargetOnly(Method):
    """Classification of the event stream, without images."""

    images = "none"
    learns_from_features = True

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        output = net(batch.events)
        loss = self.classify(output.logits, batch.labels)
        return Losses(loss, {"events": loss}, output.logits)
