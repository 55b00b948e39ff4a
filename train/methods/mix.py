"""One mixed batch: most samples are images, some are recordings. A method of ours."""

from dataclasses import replace

import numpy as np
import torch

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, Method


class Mix(Method):
    """Classification of a batch that mixes recordings (the share `real_share`) and static source.

    It is meant for simulated recordings, which differ so little from real ones that one stream, one
    head and one batch norm serve both: a step costs half of one with two streams. A share of 0
    learns from images alone.
    """

    learns_from_features = True

    def exchange(
        self,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Batch:
        """Put recordings in the place of the first images."""
        real = round(self.recipe.real_share * len(batch.labels))
        mixed = torch.cat([batch.events[:, :real], batch.static[:, real:]], dim=1)
        return replace(batch, images=mixed)

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Losses:
        """Compute the loss of the mixed batch; `logits` are those of all its samples."""
        output = net(batch.static)
        loss = self.classify(output.logits, batch.labels)
        return Losses(loss, {"mixed": loss}, output.logits)
