"""The interface of a family of networks, and the layers that families share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tmkt.errors import InputError
from tmkt.networks.cpu.winograd import applies, winograd
from tmkt.networks.lif import LIF


@dataclass(frozen=True)
class Backbone:
    """The spiking blocks of a network, without its head.

    Each block maps [T, B, C, H, W] to the input of the next one. The output of the last block has
    `features` values for each sample and step. `aligned`: the neurons whose membranes the alignment
    losses read; None: the losses read the features.
    """

    blocks: Sequence[nn.Module]
    features: int
    aligned: LIF | None


def convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Convolve [T, B, C, H, W], with T and B as one batch and channels last in memory.

    Training on a CPU uses Winograd's algorithm where it is faster. Evaluation always uses the plain
    convolution.
    """
    skips = conv.kernel_size == (1, 1) and conv.padding == (0, 0) and conv.stride != (1, 1)
    if skips:
        # oneDNN writes beyond its memory in the backward pass of a strided 1x1 convolution of few
        # channels and even maps, and the process dies (torch 2.13.0; 4 channels, 34 x 34): so what
        # the stride leaves out is left out first.
        x = x[..., :: conv.stride[0], :: conv.stride[1]]
    flat = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
    if skips:
        y = F.conv2d(flat, conv.weight, conv.bias, groups=conv.groups)
    else:
        y = winograd(flat, conv.weight) if conv.training and applies(conv, flat) else conv(flat)
    parted: Tensor = y.unflatten(0, x.shape[:2])
    return parted


def average_pool(x: Tensor, size: int) -> Tensor:
    """Average `size` x `size` windows of [T, B, C, H, W]; drop a remainder of rows and columns."""
    pooled: Tensor = _AveragePool.apply(x.flatten(0, 1), size)  # type: ignore[no-untyped-call]
    parted: Tensor = pooled.unflatten(0, x.shape[:2])
    return parted


def max_pool(x: Tensor, size: int) -> Tensor:
    """Take the largest of `size` x `size` windows of [T, B, C, H, W], of spikes: whether any fired;
    drop a remainder of rows and columns.
    """
    parted: Tensor = F.max_pool2d(x.flatten(0, 1), size).unflatten(0, x.shape[:2])
    return parted


class _AveragePool(torch.autograd.Function):
    """torch's average pooling without keeping the input for the backward pass.

    The input would be a sixth of all that VGGSNN keeps.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, size: int) -> Tensor:
        ctx.shape, ctx.size = x.shape, size
        return F.avg_pool2d(x, size)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (images, channels, height, width), size = ctx.shape, ctx.size
        down, across = grad.shape[2:]
        whole = (
            grad.new_empty if (down * size, across * size) == (height, width) else grad.new_zeros
        )
        out = whole(images, height, width, channels)
        windows = (
            out[:, : down * size, : across * size]
            .unflatten(1, (down, size))
            .unflatten(3, (across, size))
        )
        windows.copy_((grad / size**2).permute(0, 2, 3, 1)[:, :, None, :, None])
        return out.permute(0, 3, 1, 2), None


def map_size(
    size: tuple[int, int], kernel: int = 3, stride: int = 1, padding: int = 1, pool: int = 1
) -> tuple[int, int]:
    """Return height and width after a convolution and a pooling."""
    height, width = (((n + 2 * padding - kernel) // stride + 1) // pool for n in size)
    return height, width


def need_map(size: tuple[int, int], input_shape: tuple[int, int, int], what: str) -> None:
    """Raise InputError if the maps of `what` have shrunk to nothing."""
    if min(size) < 1:
        raise InputError(
            f"network: {what} leave nothing of a {input_shape[1:]} input; use fewer or smaller"
            " ones, or a larger data.width and data.height"
        )
