"""Joint training: images and recordings side by side, and nothing that ties them but the network."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, weighted
from tmkt.train.methods.two_streams import TwoStreams
from tmkt.train.objectives import classification


class Joint(TwoStreams):
    """L = L_static + L_events: what is left of the published methods without mixing, replacing and
    alignment.

    The comparison that a method with two streams has to beat. Each stream is a batch of its own, as
    in those.
    """

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        source, target = self.outputs(net, batch.static, batch.events)
        loss = self.recipe.loss
        parts = {
            "static": classification(source.logits, batch.labels, loss),
            "events": classification(target.logits, batch.labels, loss),
        }
        return Losses(weighted(parts, {}), parts, target.logits)
