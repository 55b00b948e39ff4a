"""Averaged weights: the exponential moving average of what the optimiser passes through
(`train.ema`).
"""

import copy
from typing import TypeVar

import torch
from torch import nn

Network = TypeVar("Network", bound=nn.Module)


def average_of(net: Network) -> Network:
    """A copy of the network that holds the average: it starts at the network's weights and is never
    trained itself.
    """
    return copy.deepcopy(net).requires_grad_(False).eval()


@torch.no_grad()
def update_average(averaged: nn.Module, net: nn.Module, decay: float, steps: int) -> None:
    """averaged = d * averaged + (1 - d) * net after the `steps`-th step, batch norm's running
    statistics included; counters are copied.

    d = min(decay, (1 + steps) / (10 + steps)), so that the untrained start is soon forgotten (the
    rule of TensorFlow's ExponentialMovingAverage with num_updates).
    """
    weight = 1.0 - min(decay, (1 + steps) / (10 + steps))
    for mean, value in zip(averaged.state_dict().values(), net.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, weight)
        else:
            mean.copy_(value)
