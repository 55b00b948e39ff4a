"""What each training method combines. A new method is one class here and its name in tmkt/recipe.py."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from torch import Tensor, nn

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.mixing import p_from_ratio, time_step_mixup
from tmkt.train.objectives import ModalityGuidance, RatioPerception, alignment, classification


@dataclass(frozen=True)
class Batch:
    """One step's samples: `events` float [T, B, 2, H, W], `images` float [B, 2, H, W] of the same classes or None, `labels` [B]."""

    events: Tensor
    images: Tensor | None
    labels: Tensor


@dataclass(frozen=True)
class Losses:
    """The weighted `total` to minimise, its `parts` unweighted, and the `logits` [T, B, classes] of the event stream."""

    total: Tensor
    parts: dict[str, Tensor]
    logits: Tensor


class Method(nn.Module):
    """A method's own heads, which are not deployed, and its losses on a batch.

    Made for a network with that many `features`, on sequences of `steps` frames. `needs_images`: whether it uses a static source.
    """

    needs_images: bool

    def __init__(self, recipe: MethodRecipe, features: int, steps: int) -> None:  # noqa: ARG002
        super().__init__()
        self.recipe = recipe

    def losses(self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator) -> Losses:
        raise NotImplementedError


class EventsAlone(Method):
    """The recordings alone: cross-entropy on the event stream."""

    needs_images = False

    def losses(self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator) -> Losses:  # noqa: ARG002
        output = net(batch.events)
        loss = classification(output.logits, batch.labels)
        return Losses(loss, {"events": loss}, output.logits)


class Tmkt(Method):
    """Time-step mixup knowledge transfer: a mixed stream and the event stream through one network with one head.

    L = CE(mixed) + CE(events) + alignment * (1 - CKA) + modality_guidance * MAG + ratio_perception * MRP. The parts are the paper's
    (arXiv 2509.12959, 2511.12150); weights and the forms of MAG and MRP are not published, the choice is ours. One head for both
    streams: with a head of its own, the event stream's sees nothing but the few recordings (measured: 20 points at one shot).
    """

    needs_images = True

    def __init__(self, recipe: MethodRecipe, features: int, steps: int) -> None:
        super().__init__(recipe, features, steps)
        self.p = p_from_ratio(recipe.mix_ratio, steps)
        self.modality = ModalityGuidance(features)
        self.ratio = RatioPerception(features)

    def losses(self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator) -> Losses:
        if batch.images is None:
            raise ValueError("TMKT needs images beside the events")
        images = batch.images.expand(batch.events.shape[0], *batch.images.shape)
        mixed, from_events = time_step_mixup(images, batch.events, self.p, rng)
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


METHODS: dict[str, type[Method]] = {"tmkt": Tmkt, "events": EventsAlone}


@contextmanager
def without_running_statistics(net: nn.Module) -> Iterator[None]:
    """Batch norm normalises by its batch, but keeps no trace of it in its running statistics.

    These are what is deployed, and a deployed network sees events alone (batch norm kept apart for each domain).
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
