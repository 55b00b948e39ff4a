"""Exponential moving average of the weights (`train.ema`)."""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def average_of(net: Network) -> Network:
    """Copy the network to hold the average; it starts at the network's weights."""
    return copy.deepcopy(net).requires_grad_(False).eval()


@torch.no_grad()
def update_average(averaged: nn.Module, net: nn.Module, decay: float, steps: int) -> None:
    """Update the average after the `steps`-th step: d * averaged + (1 - d) * net.

    Batch norm's running statistics are averaged, too; counters are copied. d = min(decay,
    (1 + steps) / (10 + steps)), so that the untrained start is soon forgotten (the rule of
    TensorFlow's ExponentialMovingAverage with num_updates).
    """
    weight = 1.0 - min(decay, (1 + steps) / (10 + steps))
    for mean, value in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)
