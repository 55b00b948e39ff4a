"""Time-step mixup knowledge transfer (TMKT, arXiv 2509.12959 and 2511.12150)."""

from dataclasses import replace

import numpy as np

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.methods.base import Batch, Losses, weighted
from tmkt.train.methods.two_streams import TwoStreams
from tmkt.train.mixing import draw_partners, p_from_ratio, time_step_mixup
from tmkt.train.objectives import ModalityGuidance, RatioPerception


class Tmkt(TwoStreams):
    """A mixed stream, which begins as an image and ends as a recording, and an event stream.

    L = L_mixed + L_events + alignment * L_DA + modality_guidance * MAG + ratio_perception * MRP.
    The parts are the paper's. Weights, ratio and the forms of MAG and MRP are not published: those
    are our choice. A weight of 0 leaves its part out, a ratio of 0 the mixup. There is one head by
    default: a head of its own for the event stream sees only the few recordings (measured: it costs
    20 points at one shot). The ratio goes from `mix_ratio` to `mix_ratio_end` over the training;
    the papers do not say whether theirs changes. With `mix_partner` = "same" both streams show the
    same frames behind the switch, so that alignment has nothing to do there; the papers do not say
    which recording is mixed in.
    """

    def __init__(self, recipe: MethodRecipe, net: SpikingNetwork, steps: int) -> None:
        super().__init__(recipe, net, steps)
        self.modality = (
            ModalityGuidance(net.features, reverse=recipe.modality_gradient == "reverse")
            if recipe.modality_guidance
            else None
        )
        self.ratio = RatioPerception(net.features) if recipe.ratio_perception else None

    def exchange(
        self,
        batch: Batch,
        rng: np.random.Generator,
        progress: float,  # noqa: ARG002
    ) -> Batch:
        """Draw the recordings that are mixed in, where they are not the event stream's own."""
        if self.recipe.mix_partner == "same":
            return batch
        partners = draw_partners(batch.labels, rng).to(batch.labels.device)
        return replace(batch, partners=batch.events[:, partners])

    def losses(
        self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator, progress: float
    ) -> Losses:
        recipe = self.recipe
        way = recipe.mix_ratio_end - recipe.mix_ratio
        ratio = recipe.mix_ratio + way * progress**recipe.mix_power
        mixed, from_events = time_step_mixup(
            batch.static,
            batch.events if batch.partners is None else batch.partners,
            p_from_ratio(ratio, len(batch.events)),
            rng,
        )
        source, target = self.outputs(net, mixed, batch.events)
        parts = self.shared_parts(source, target, batch.labels)
        if self.modality is not None:
            parts["modality_guidance"] = self.modality(source.features, from_events)
        if self.ratio is not None:
            parts["ratio_perception"] = self.ratio(source.features, from_events)
        weights = recipe.model_dump(include={"alignment", "modality_guidance", "ratio_perception"})
        return Losses(weighted(parts, weights), parts, target.logits)
