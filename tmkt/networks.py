"""The network that is trained: a small VGG of spiking convolutions that a Loihi-style chip can hold."""

import logging
from typing import NamedTuple

from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn
from torch.nn import functional as F

from tmkt.errors import InputError
from tmkt.recipe import NetworkRecipe

# SpikingJelly's first step looks for Triton, and torch warns on standard error that a CPU has none.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


class NetworkOutput(NamedTuple):
    """What a forward pass over T steps and B samples gives.

    `logits` [T, B, classes] of each step; `features` [T, B, F], the pooled spikes that the classifier reads; `membrane` [T, B, ...] of the
    last spiking layer after its reset, which the alignment losses read (methods: KT 3.3).
    """

    logits: Tensor
    features: Tensor
    membrane: Tensor


class Block(nn.Module):
    """Convolution, batch norm, LIF, and average pooling over `pool` x `pool` where pool > 1."""

    def __init__(self, channels_in: int, channels_out: int, stride: int, pool: int, tau: float, threshold: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(channels_out)
        # h = v + (x - v) / tau, spike at h >= threshold, hard reset to 0: the LIF that the integer program reproduces.
        self.neuron = neuron.LIFNode(
            tau=tau,
            decay_input=True,
            v_threshold=threshold,
            v_reset=0.0,
            surrogate_function=surrogate.ATan(alpha=2.0 / threshold),
            detach_reset=True,
            step_mode="m",
            store_v_seq=True,
        )
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        """[T, B, C, H, W] to [T, B, C', H', W']. Convolution and batch norm see T and B as one batch."""
        steps, batch = x.shape[:2]
        y: Tensor = self.bn(self.conv(x.flatten(0, 1))).unflatten(0, (steps, batch))
        y = self.neuron(y)
        if self.pool > 1:
            y = F.avg_pool2d(y.flatten(0, 1), self.pool).unflatten(0, (steps, batch))
        return y


class SpikingNetwork(nn.Module):
    """Blocks of spiking convolutions and a linear head; the answer is the mean of the head's logits over the time steps."""

    def __init__(self, recipe: NetworkRecipe, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.input_shape = input_shape
        blocks = []
        channels, height, width = input_shape
        for out, stride, pool in zip(recipe.channels, recipe.strides, recipe.pools, strict=True):
            blocks.append(Block(channels, out, stride, pool, recipe.tau, recipe.threshold))
            channels, height, width = out, ((height - 1) // stride + 1) // pool, ((width - 1) // stride + 1) // pool
        if height < 1 or width < 1:
            raise InputError(
                f"network: strides {recipe.strides} and pools {recipe.pools} leave nothing of a {input_shape[1:]} input; use fewer or smaller ones"
            )
        self.blocks = nn.ModuleList(blocks)
        self._last = blocks[-1].neuron
        self.features = channels * height * width
        self.head = nn.Linear(self.features, classes)

    def forward(self, x: Tensor) -> NetworkOutput:
        """`x` float [T, B, C, H, W]. States start at zero: every call is a new sample."""
        functional.reset_net(self)
        for block in self.blocks:
            x = block(x)
        features = x.flatten(2)
        return NetworkOutput(self.head(features), features, self._last.v_seq)
