"""Time-step mixup knowledge transfer (TMKT, arXiv 2509.12959 and 2511.12150)."""

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.methods.base import Batch, Losses, Method, without_running_statistics
from tmkt.train.mixing import p_from_ratio, time_step_mixup
from tmkt.train.objectives import ModalityGuidance, RatioPerception, alignment, classification


class Tmkt(Method):
    """A mixed stream and the event stream through one network with one head.

    L = CE(mixed) + CE(events) + alignment * (1 - CKA) + modality_guidance * MAG + ratio_perception * MRP. The parts are the paper's;
    weights and the forms of MAG and MRP are not published, the choice is ours. One head for both
    streams: with a head of its own, the event stream's sees nothing but the few recordings (measured: 20 points at one shot).
    """

    def __init__(self, recipe: MethodRecipe, net: SpikingNetwork, steps: int) -> None:
        super().__init__(recipe, net, steps)
        self.p = p_from_ratio(recipe.mix_ratio, steps)
        self.modality = ModalityGuidance(net.features)
        self.ratio = RatioPerception(net.features)

    def losses(self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator, progress: float) -> Losses:  # noqa: ARG002
        mixed, from_events = time_step_mixup(batch.static, batch.events, self.p, rng)
        with without_running_statistics(net):
            source = net(mixed)
        target = net(batch.events)
        parts = {
            "mixed": classification(source.logits, batch.labels),
            "events": classification(target.logits, batch.labels),
            "alignment": alignment(source.membrane, target.membrane),
            "modality_guidance": self.modality(source.features, from_events),
            "ratio_perception": self.ratio(source.features, from_events),
        }
        weights = {"mixed": 1.0, "events": 1.0, **self.recipe.model_dump(include={"alignment", "modality_guidance", "ratio_perception"})}
        total = sum((weights[name] * loss for name, loss in parts.items()), start=target.logits.new_zeros(()))
        return Losses(total, parts, target.logits)
