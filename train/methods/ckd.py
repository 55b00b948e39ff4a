"""Cross knowledge distillation (CKD, arXiv 2507.09269)."""

from dataclasses import replace

import numpy as np
import torch

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.methods.base import Batch, Losses, Setting, weighted
from tmkt.train.methods.two_streams import TwoStreams
from tmkt.train.mixing import draw_replaced, draw_similar, replace_samples
from tmkt.train.objectives import distillation
from tmkt.train.teacher import Teacher, prepare_teacher


class CrossKnowledgeDistillation(TwoStreams):
    """Knowledge transfer with a teacher: an ANN that sees the images teaches the static stream.

    L = L_static + L_events + alignment * L_DA + distillation * w * KD, with the weight
    w = 1 / (1 + exp(steepness * (progress - switch))): the teacher counts at first, not later.

    The paper's figure shows that the teacher sees the images and that the logits of the static
    stream alone are distilled, with a weight that falls from 1 to 0 about half-way. Our choices are
    the logistic curve, KL with a temperature, the probability of a replacement (Knowledge
    Transfer's) and its semantic similarity: a recording that replaces an image may be of a similar
    class, by the teacher's classifier, and brings its label along. Of such a sample nothing is
    distilled where the classes differ: the teacher saw an image of another one.
    """

    teacher: Teacher

    def __init__(self, recipe: MethodRecipe, net: SpikingNetwork, steps: int) -> None:
        super().__init__(recipe, net, steps)
        self.classes = net.head.out_features

    def prepare(self, setting: Setting) -> None:
        self.teacher = prepare_teacher(self.recipe, setting, self.classes)

    def exchange(self, batch: Batch, rng: np.random.Generator, progress: float) -> Batch:
        """Replace some images by recordings of the batch, of the same or of similar classes."""
        recipe, labels = self.recipe, batch.labels
        where = draw_replaced(len(labels), progress, recipe.sliding_power, rng)
        similarity = self.teacher.class_similarity()
        pair = draw_similar(similarity, labels, recipe.likeness_temperature, rng).to(labels.device)
        return replace(
            batch,
            images=replace_samples(batch.static, batch.events[:, pair], where),
            image_labels=labels.where(~where.to(labels.device), labels[pair]),
            replaced_stills=batch.stills,
        )

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,
    ) -> Losses:
        recipe, labels, source_labels = self.recipe, batch.labels, batch.image_labels
        assert source_labels is not None  # of the exchange
        source, target = self.outputs(net, batch.static, batch.events)
        parts = self.shared_parts(source, target, labels, source_labels)
        parts["distillation"] = distillation(
            source.logits.mean(0),
            self.teacher.logits(batch.stills),
            recipe.distillation_temperature,
            counted=source_labels == labels,
        )
        phase = phase_weight(progress, recipe.distillation_switch, recipe.distillation_steepness)
        weights = {"alignment": recipe.alignment, "distillation": recipe.distillation * phase}
        return Losses(weighted(parts, weights), parts, target.logits)


def phase_weight(progress: float, switch: float, steepness: float) -> float:
    """Compute the weight of distillation: it falls from 1 to 0 and is 1/2 at `switch`.

    1 / (1 + exp(steepness * (progress - switch))).
    """
    return float(torch.sigmoid(torch.tensor(steepness * (switch - progress), dtype=torch.float64)))
