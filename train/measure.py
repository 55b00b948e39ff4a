"""Measuring a float network on recordings."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.datasets.decoded import Rows
from tmkt.networks import SpikingNetwork
from tmkt.train.health import counted_spikes

AT_ONCE = 50  # recordings


@torch.no_grad()
def logits_of(
    net: SpikingNetwork, frames: Rows | NDArray[Any], device: torch.device
) -> Iterator[Tensor]:
    """The network's logits [T, n, classes] on frames [N, T, 2, H, W], AT_ONCE recordings after the
    other, in the mode that it is in.
    """
    for start in range(0, len(frames), AT_ONCE):
        yield net(
            torch.from_numpy(frames[start : start + AT_ONCE])
            .to(device, torch.float32)
            .transpose(0, 1)
        ).logits


@torch.no_grad()
def measure(
    net: SpikingNetwork,
    frames: Rows | NDArray[Any],
    labels: NDArray[np.int64],
    device: torch.device,
) -> dict[str, Any]:
    """Accuracy and spike rates of a network in evaluation mode on frames uint8 [N, T, 2, H, W].

    Gives `samples`, `correct`, `accuracy` and `loss` (cross-entropy of the logits' time mean; both
    None without samples) and `spike_rates`: spikes per neuron and step of each spiking layer.
    """
    net.eval()
    correct, loss = 0, 0.0
    with counted_spikes(net) as spikes:
        for i, chunk in enumerate(logits_of(net, frames, device)):
            logits, right = (
                chunk.mean(0),
                torch.from_numpy(labels[i * AT_ONCE : (i + 1) * AT_ONCE]).to(device),
            )
            correct += int((logits.argmax(1) == right).sum())
            loss += float(F.cross_entropy(logits.float(), right, reduction="sum"))
    count = len(frames)
    share, mean_loss = (correct / count, loss / count) if count else (None, None)
    return {
        "samples": count,
        "correct": correct,
        "accuracy": share,
        "loss": mean_loss,
        "spike_rates": spikes.rates(),
    }


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers of logits [T, B, classes]."""
    return float((logits.mean(0).argmax(1) == labels).float().mean())
