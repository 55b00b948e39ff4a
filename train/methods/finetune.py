"""Static pre-training: the network learns the images first, then the recordings."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, Method


class Finetune(Method):
    """Classification of the static stream first, then of the event stream.

    The first part takes the share `pretrain_share` of the steps. This is Knowledge Transfer's
    baseline "fine-tune" (arXiv 2303.13077); its schedule is not published. Ours: one schedule of
    the learning rate over both parts, so that the second starts at a lower rate; batch norm's
    statistics go on from those of the images.
    """

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,
    ) -> Losses:
        """Compute the loss of the stream that is learned; `logits` are that stream's."""
        name, stream = (
            ("static", batch.static)
            if progress < self.recipe.pretrain_share
            else ("events", batch.events)
        )
        output = net(stream)
        loss = self.classify(output.logits, batch.labels)
        return Losses(loss, {name: loss}, output.logits)
