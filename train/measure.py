"""Measure a float network on recordings: logits, accuracy, spike rates."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.datasets.decoded import Rows
from tmkt.networks import SpikingNetwork
from tmkt.train.health import count_spikes

AT_ONCE = 50  # recordings


@torch.no_grad()
def logits_of(net: SpikingNetwork, frames: Rows | NDArray[Any]) -> Iterator[Tensor]:
    """Compute the logits [T, n, classes] of frames [N, T, 2, H, W], AT_ONCE recordings at a time.

    The network runs on the device and in the mode (training, evaluation) that it is in.
    """
    device = next(net.parameters()).device
    for start in range(0, len(frames), AT_ONCE):
        chunk = torch.from_numpy(frames[start : start + AT_ONCE]).to(device).float()
        yield net(chunk.transpose(0, 1)).logits


@torch.no_grad()
def measure(
    net: SpikingNetwork,
    frames: Rows | NDArray[Any],
    labels: NDArray[np.int64],
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measure a network in evaluation mode on frames uint8 [N, T, 2, H, W].

    `progress` is called with the recordings done and their number.
    Gives `samples`, `correct`, `accuracy` and `loss` (cross-entropy of the logits' time mean; both
    None without samples) and `spike_rates`, the spikes per neuron and step of each spiking layer.
    """
    net.eval()
    correct, loss = 0, 0.0
    with count_spikes(net) as spikes:
        for i, chunk in enumerate(logits_of(net, frames)):
            logits = chunk.mean(0)
            wanted = torch.from_numpy(labels[i * AT_ONCE : (i + 1) * AT_ONCE]).to(logits.device)
            correct += int((logits.argmax(1) == wanted).sum())
            if progress:
                progress(min((i + 1) * AT_ONCE, len(frames)), len(frames))
            loss += float(F.cross_entropy(logits.float(), wanted, reduction="sum"))
    count = len(frames)
    return {
        "samples": count,
        "correct": correct,
        "accuracy": correct / count if count else None,
        "loss": loss / count if count else None,
        "spike_rates": spikes.rates(),
    }


def accuracy(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute the share of right answers of logits [T, B, classes], as float32 []."""
    return (logits.mean(0).argmax(1) == labels).float().mean()
