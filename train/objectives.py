"""Losses that the training methods combine."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmkt.networks.global_batch import whole_batch

TET_SHARE = 1e-3  # of the squared error in the TET loss: Knowledge Transfer's lambda
TET_TARGET = 0.5  # of all logits, in that error: Knowledge Transfer's firing threshold


def classification(
    logits: Tensor,
    labels: Tensor,
    form: Literal["mean", "tet"] = "mean",
    step_weights: Tensor | None = None,
    smoothing: float = 0.0,
) -> Tensor:
    """Compute the classification loss of `logits` [T, B, classes] against `labels` [B].

    "mean" is the cross-entropy of the logits' time mean, which is what is deployed (a read-out that
    adds up over the steps). Knowledge Transfer takes it on N-Omniglot and "tet" elsewhere; TMKT and
    CKD do not say. "tet" is the mean over the steps of (1 - TET_SHARE) * cross-entropy + TET_SHARE
    * squared distance to TET_TARGET, each step by itself, weighted by `step_weights` [T] where
    given (temporal efficient training, arXiv 2202.11946, as Knowledge Transfer computes it).
    `smoothing` is the share of a label that all classes have in equal parts (label smoothing,
    Szegedy et al. 2016, arXiv 1512.00567).
    """
    if form == "mean":
        return F.cross_entropy(logits.mean(0), labels, label_smoothing=smoothing)
    steps, batch = logits.shape[:2]
    entropy = (
        F.cross_entropy(
            logits.flatten(0, 1),
            labels.repeat(steps),
            reduction="none",
            label_smoothing=smoothing,
        )
        .view(steps, batch)
        .mean(1)
    )
    distance = (logits - TET_TARGET).square().mean((1, 2))
    step_losses = (1.0 - TET_SHARE) * entropy + TET_SHARE * distance
    return (step_losses if step_weights is None else step_weights * step_losses).mean()


def cka(x: Tensor, y: Tensor) -> Tensor:
    """Compute the linear centred kernel alignment of two feature sets, step by step.

    Takes [T, B, F] and [T, B, G], gives [T] from 0 (unrelated) to 1 (equal up to rotation, scale).
    <K, L> / (|K| |L| + 1e-7) with K = x x', L = y y' centred over the batch (biased HSIC), as
    Knowledge Transfer computes it; in float32 whatever the network computes in.
    """
    with torch.autocast(x.device.type, enabled=False):
        x, y = (z.to(torch.promote_types(z.dtype, torch.float32)) for z in (x, y))
        # Centring the features centres the kernel on both sides.
        x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)
        k, other = x @ x.transpose(1, 2), y @ y.transpose(1, 2)
    aligned: Tensor = (k * other).sum((1, 2)) / (k.norm(dim=(1, 2)) * other.norm(dim=(1, 2)) + 1e-7)
    return aligned


def alignment(source: Tensor, events: Tensor, step_weights: Tensor | None = None) -> Tensor:
    """Compute 1 - CKA of the membranes [T, B, ...] of two streams, averaged over time.

    `step_weights` [T] weigh the steps where given. Knowledge Transfer (arXiv 2303.13077), on which
    TMKT and CKD build, takes the membranes of the last spiking convolution.
    """
    apart = 1.0 - cka(whole_batch(source.flatten(2), 1), whole_batch(events.flatten(2), 1))
    return (apart if step_weights is None else step_weights * apart).mean()


class StepWeights(nn.Module):
    """Knowledge Transfer's learned coefficient of each time step: sigmoid(eta), eta = 1 at first.

    It weighs the step's alignment; 1 minus it weighs the step's classification of events.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.eta = nn.Parameter(torch.ones(steps))

    def forward(self) -> Tensor:
        """Give the coefficients [T], between 0 and 1."""
        return self.eta.sigmoid()


def distillation(
    student: Tensor, teacher: Tensor, temperature: float, counted: Tensor | None = None
) -> Tensor:
    """Compute the distillation loss of logits [B, classes], as a mean over the batch, in which
    samples that are not `counted`, bool [B], have a loss of 0. All count if None.

    temperature^2 * KL(softmax(teacher / temperature) || softmax(student / temperature)), by Hinton
    et al. (arXiv 1503.02531). CKD (arXiv 2507.09269) says that logits are distilled, but not how:
    the choice is ours.
    """
    log_student = F.log_softmax(student / temperature, dim=1)
    log_teacher = F.log_softmax(teacher / temperature, dim=1)
    losses = F.kl_div(log_student, log_teacher, log_target=True, reduction="none")
    if counted is not None:
        losses = losses * counted[:, None]
    return temperature**2 * losses.sum() / len(student)


class _Reversed(torch.autograd.Function):
    """Identity whose gradient has the other sign (Ganin and Lempitsky 2015, arXiv 1409.7495)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ARG004
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # noqa: ARG004
        return -gradient


class ModalityGuidance(nn.Module):
    """MAG (TMKT): a probe predicts for each step whether its frame was an image or events.

    The papers name the task; the form (binary cross-entropy of a linear probe on the features of
    the step) is ours, and so is the choice of sign: the features learn to show the modality, or
    with `reverse` to hide it from the probe, as domain-adversarial training has it.
    """

    def __init__(self, features: int, reverse: bool = False) -> None:
        super().__init__()
        self.probe = nn.Linear(features, 1)
        self.reverse = reverse

    def forward(self, features: Tensor, from_events: Tensor) -> Tensor:
        """Compute the mean loss of `features` [T, B, F]; `from_events` [T, B] holds 0 and 1."""
        if self.reverse:
            features = _Reversed.apply(features)  # type: ignore[no-untyped-call]
        return F.binary_cross_entropy_with_logits(self.probe(features).squeeze(-1), from_events)


class RatioPerception(nn.Module):
    """MRP (TMKT): a probe estimates the share of a mixed sequence that came from events.

    The papers name the task; the form (squared error of a linear probe on the features' time mean,
    through a sigmoid, against the realised ratio) is ours.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.probe = nn.Linear(features, 1)

    def forward(self, features: Tensor, from_events: Tensor) -> Tensor:
        """Compute the mean loss of `features` [T, B, F]; `from_events` [T, B] holds 0 and 1."""
        return F.mse_loss(self.probe(features.mean(0)).squeeze(-1).sigmoid(), from_events.mean(0))
