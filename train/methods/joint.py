"""Joint training: images and recordings side by side, tied by nothing but the network."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, weighted
from tmkt.train.methods.two_streams import TwoStreams


class Joint(TwoStreams):
    """L = L_static + L_events: the published methods without mixing, replacing and alignment.

    A method with two streams has to beat this baseline. Each stream is a batch of its own, as in
    those methods.
    """

    learns_from_features = True

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        source, target = self.outputs(net, batch.static, batch.events)
        parts = {
            "static": self.classify(source.logits, batch.labels),
            "events": self.classify(target.logits, batch.labels),
        }
        return Losses(weighted(parts, {}), parts, target.logits)
