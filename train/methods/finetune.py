"""Static pre-training: first the images, then the recordings, through the same network."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, Method
from tmkt.train.objectives import classification


class Finetune(Method):
    """Classification of the static stream for the first `pretrain_share` of the steps, then of the
    event stream.

    Knowledge Transfer's baseline "fine-tune" (arXiv 2303.13077); its schedule is not published.
    Ours: one schedule of the learning rate over both, which starts the second part at a lower rate;
    batch norm's statistics go on from those of the images.
    """

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,
    ) -> Losses:
        """The `logits` are of the stream that is learned."""
        name, stream = (
            ("static", batch.static)
            if progress < self.recipe.pretrain_share
            else ("events", batch.events)
        )
        output = net(stream)
        loss = classification(output.logits, batch.labels, self.recipe.loss)
        return Losses(loss, {name: loss}, output.logits)
