"""Training on images alone: simulated recordings of photographs teach a backbone."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, Method


class StaticOnly(Method):
    """Classification of the static stream, without recordings."""

    images = "needed"
    needs_recordings = False
    learns_from_features = True

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        output = net(batch.static)
        loss = self.classify(output.logits, batch.labels)
        return Losses(loss, {"static": loss}, output.logits)
