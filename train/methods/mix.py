"""One mixed batch: most samples from images, some from recordings. A method of ours."""

import numpy as np
import torch

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, Method
from tmkt.train.objectives import classification


class Mix(Method):
    """Classification of a batch of which `real_share` are recordings and the rest is the static
    source.

    Meant for simulated recordings, which differ so little from real ones that one stream, one head
    and one batch norm serve both: a step costs half of one with two streams. A share of 0 learns
    from images alone.
    """

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        """The `logits` are of the whole mixed batch."""
        real = round(self.recipe.real_share * len(batch.labels))
        output = net(torch.cat([batch.events[:, :real], batch.static[:, real:]], dim=1))
        loss = classification(output.logits, batch.labels, self.recipe.loss)
        return Losses(loss, {"mixed": loss}, output.logits)
