"""Knowledge transfer (KT, arXiv 2303.13077)."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.train.methods.base import Batch, Losses, weighted
from tmkt.train.methods.two_streams import TwoStreams
from tmkt.train.mixing import draw_replaced, replace_samples


class KnowledgeTransfer(TwoStreams):
    """Two streams; recordings replace the images of the static one, until both are events.

    L = L_static + L_events + alignment * L_DA, as in its code (Transfer-for-DVS, b07d5dc). A whole
    static sequence is replaced by its own pair with probability progress^3; labels stay. The
    recipe's defaults for this method are the published ones: two heads, TET loss, learned
    coefficients, batch norm statistics of both streams.
    """

    def losses(
        self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator, progress: float
    ) -> Losses:
        where = draw_replaced(len(batch.labels), progress, self.recipe.sliding_power, rng)
        static = replace_samples(batch.static, batch.events, where)
        source, target = self.outputs(net, static, batch.events)
        parts = self.shared_parts(source, target, batch.labels)
        return Losses(weighted(parts, {"alignment": self.recipe.alignment}), parts, target.logits)
