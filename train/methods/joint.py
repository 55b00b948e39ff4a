"""Joint training: images and recordings side by side, tied by nothing but the network."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, weighted
from tmkt.train.methods.two_streams import TwoStreams


class Joint(TwoStreams):
    """L = L_static + L_events: the published methods without mixing, replacing and alignment.

    A method with two streams has to beat this baseline. Each stream is a batch of its own, as in
    those methods. With `image_share` below 1 only that share of the static stream's steps is shown,
    the first: as many image frames as TMKT keeps at the ratio 1 - `image_share`, to tell what it
    loses by seeing fewer.
    """

    learns_from_features = True

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        shown = max(round(self.recipe.image_share * len(batch.static)), 1)
        source, target = self.outputs(net, batch.static[:shown], batch.events)
        parts = {
            "static": self.classify(source.logits, batch.labels),
            "events": self.classify(target.logits, batch.labels),
        }
        return Losses(weighted(parts, {}), parts, target.logits)
