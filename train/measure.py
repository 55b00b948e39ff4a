"""Measuring a float network on recordings."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmkt.datasets.decoded import Rows
from tmkt.networks import SpikingNetwork
from tmkt.train.health import counted_spikes


@torch.no_grad()
def measure(net: SpikingNetwork, frames: Rows | NDArray[Any], labels: NDArray[np.int64], device: torch.device) -> dict[str, Any]:
    """Accuracy and spike rates of a network in evaluation mode on frames uint8 [N, T, 2, H, W].

    Gives `samples`, `correct`, `accuracy` (None without samples) and `spike_rates`: spikes per neuron and step of each spiking layer.
    """
    net.eval()
    correct = 0
    with counted_spikes(net) as spikes:
        for start in range(0, len(frames), 50):
            chunk = torch.from_numpy(frames[start : start + 50]).to(device, torch.float32).transpose(0, 1)
            answers = net(chunk).logits.mean(0).argmax(1).cpu().numpy()
            correct += int((answers == labels[start : start + 50]).sum())
    share = correct / len(frames) if len(frames) else None
    return {"samples": len(frames), "correct": correct, "accuracy": share, "spike_rates": spikes.rates()}


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """Share of right answers of logits [T, B, classes]."""
    return float((logits.mean(0).argmax(1) == labels).float().mean())
