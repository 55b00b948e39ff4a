"""Measuring a float network on recordings."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tmkt.datasets.decoded import Rows
from tmkt.networks import SpikingNetwork
from tmkt.train.health import counted_spikes


@torch.no_grad()
def measure(net: SpikingNetwork, frames: Rows | NDArray[Any], labels: NDArray[np.int64], device: torch.device) -> dict[str, Any]:
    """Accuracy and spike rates of a network in evaluation mode on frames uint8 [N, T, 2, H, W].

    Gives `samples`, `correct`, `accuracy` and `loss` (cross-entropy of the logits' time mean; both None without samples) and `spike_rates`:
    spikes per neuron and step of each spiking layer.
    """
    net.eval()
    correct, loss = 0, 0.0
    with counted_spikes(net) as spikes:
        for start in range(0, len(frames), 50):
            chunk = torch.from_numpy(frames[start : start + 50]).to(device, torch.float32).transpose(0, 1)
            logits, right = net(chunk).logits.mean(0), torch.from_numpy(labels[start : start + 50]).to(device)
            correct += int((logits.argmax(1) == right).sum())
            loss += float(F.cross_entropy(logits.float(), right, reduction="sum"))
    count = len(frames)
    share, mean_loss = (correct / count, loss / count) if count else (None, None)
    return {"samples": count, "correct": correct, "accuracy": share, "loss": mean_loss, "spike_rates": spikes.rates()}


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers of logits [T, B, classes]."""
    return float((logits.mean(0).argmax(1) == labels).float().mean())
