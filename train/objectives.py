"""The losses that the methods combine."""

from torch import Tensor, nn
from torch.nn import functional as F


def classification(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy of the logits averaged over time. `logits` [T, B, classes], `labels` [B].

    The time mean is what is deployed (a read-out that adds up over the steps). Knowledge Transfer takes it on N-Omniglot and
    TET elsewhere; TMKT does not say: the choice is ours.
    """
    return F.cross_entropy(logits.mean(0), labels)


def cka(x: Tensor, y: Tensor) -> Tensor:
    """Linear centred kernel alignment of two feature sets, for each step: [T, B, F], [T, B, G] to [T], 0 (unrelated) to 1 (equal up to
    rotation and scale).

    <K, L> / (|K| |L| + 1e-7) with K = x x', L = y y' centred over the batch (biased HSIC), as Knowledge Transfer computes it.
    """
    x, y = x - x.mean(1, keepdim=True), y - y.mean(1, keepdim=True)  # centring the features centres the kernel on both sides
    k, other = x @ x.transpose(1, 2), y @ y.transpose(1, 2)
    aligned: Tensor = (k * other).sum((1, 2)) / (k.norm(dim=(1, 2)) * other.norm(dim=(1, 2)) + 1e-7)
    return aligned


def alignment(mixed: Tensor, events: Tensor) -> Tensor:
    """1 - CKA of the membranes [T, B, ...] of two streams, averaged over time.

    Knowledge Transfer (arXiv 2303.13077), which TMKT builds on, with the last spiking convolution's membranes; its learnt weight
    of each step is left out: with it, nothing changed on N-MNIST (measured: 88.4 against 87.5 +- 2.9 at one shot, the sd of three seeds).
    """
    return (1.0 - cka(mixed.flatten(2), events.flatten(2))).mean()


class ModalityGuidance(nn.Module):
    """MAG: tells for each time step whether its frame came from an image or from events (TMKT).

    The papers name the task; the form (binary cross-entropy of a linear probe on the features of the step) is ours.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.probe = nn.Linear(features, 1)

    def forward(self, features: Tensor, from_events: Tensor) -> Tensor:
        """`features` [T, B, F], `from_events` [T, B] of 0 and 1; gives the mean loss."""
        return F.binary_cross_entropy_with_logits(self.probe(features).squeeze(-1), from_events)


class RatioPerception(nn.Module):
    """MRP: estimates which share of a mixed sequence came from events (TMKT).

    The papers name the task; the form (squared error of a linear probe on the features' time mean, through a sigmoid, against the
    realised ratio) is ours.
    """

    def __init__(self, features: int) -> None:
        super().__init__()
        self.probe = nn.Linear(features, 1)

    def forward(self, features: Tensor, from_events: Tensor) -> Tensor:
        """`features` [T, B, F], `from_events` [T, B] of 0 and 1; gives the mean loss."""
        return F.mse_loss(self.probe(features.mean(0)).squeeze(-1).sigmoid(), from_events.mean(0))
