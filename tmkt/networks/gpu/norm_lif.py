"""Batch norm and LIF on a GPU: one Triton kernel forward, three backward.

The backward pass keeps the currents alone, in the precision that they came in (bfloat16 behind a
convolution in bfloat16). Everything is computed in float32, sums over a batch in float64. Spikes
have the currents' precision, in which 0 and 1 are exact.
"""

from typing import Any

import torch
import triton
from torch import Tensor

from tmkt.networks.fused import Setting, channels_last
from tmkt.networks.global_batch import all_reduced, processes
from tmkt.networks.gpu import kernels

BLOCK = 512  # neurons of a program at a time
PROGRAMS = 16  # of a processor of the GPU: as many as it runs at once
ROWS, CHANNELS = 32, 64  # of a block of sums
# Without products and sums in one instruction, spikes are those of the CPU, bit for bit.
EXACT = {"enable_fp_fusion": False}


class NormLif(torch.autograd.Function):
    """Spikes, and membranes after the reset where wanted, of currents [T, B, C, ...]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, setting: Setting
    ) -> tuple[Tensor, Tensor | None]:
        x = channels_last(x)
        with torch.cuda.device_of(x):
            return NormLif._forward(ctx, x, weight, bias, setting)

    @staticmethod
    def _forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, setting: Setting
    ) -> tuple[Tensor, Tensor | None]:
        mean, inverse, count = _statistics(x, setting)
        scale = weight.double() * inverse
        shift = bias.double() - mean * scale
        spikes = torch.empty_like(x)
        membrane = torch.empty_like(x, dtype=torch.float32) if setting.store_membrane else None
        steps, size, channels = _sizes(x)
        scale, shift = scale.float(), shift.float()
        kernels.lif_forward[(triton.cdiv(size, BLOCK),)](
            x,
            scale,
            shift,
            spikes,
            spikes if membrane is None else membrane,
            steps,
            size,
            channels,
            channels if len(scale) > 1 else 0,
            setting.tau,
            setting.threshold,
            KEEP=membrane is not None,
            BLOCK=BLOCK,
            **EXACT,
        )
        ctx.save_for_backward(x, weight, scale, shift, mean, inverse)
        ctx.setting, ctx.count = setting, count
        ctx.set_materialize_grads(False)
        return spikes, membrane

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, grad_membrane: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight, scale, shift, mean, inverse = ctx.saved_tensors
        setting, count = ctx.setting, ctx.count
        grad = _before_norm(x, scale, shift, grad_spikes, grad_membrane, setting)
        if setting.norm is None:
            return grad, None, None, None
        middle = mean.float()
        sums, products = _pair_sums(grad, x, middle).unbind(1)  # [groups, C]
        grad_weight, grad_bias = (products * inverse).sum(0), sums.sum(0)
        gain = weight.double() * inverse
        slope = offset = torch.zeros_like(gain)
        if count is not None:
            total = all_reduced(torch.stack([products, sums])) / count
            slope, offset = gain * inverse**2 * total[0], gain * total[1]
        steps, size, channels = _sizes(x)
        out = grad if grad.dtype == x.dtype else torch.empty_like(x)
        kernels.norm_backward[(triton.cdiv(size, BLOCK), steps)](
            x,
            middle,
            grad,
            gain.float(),
            slope.float(),
            offset.float(),
            out,
            size,
            channels,
            channels if len(scale) > 1 else 0,
            BLOCK=BLOCK,
            **EXACT,
        )
        return out, grad_weight.to(weight), grad_bias.to(weight), None


def _statistics(x: Tensor, setting: Setting) -> tuple[Tensor, Tensor, float | None]:
    """Give mean and 1 / deviation, float64 [groups, C], and the number of values of each.

    None for the number: they are the running statistics, or stand for no batch norm.
    """
    norm, channels = setting.norm, x.shape[2]
    if norm is None:
        zeros = torch.zeros(1, channels, dtype=torch.float64, device=x.device)
        return zeros, torch.ones_like(zeros), None
    if not norm.uses_batch:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        inverse = (norm.running_var.double() + norm.eps).rsqrt()
        return norm.running_mean.double()[None], inverse[None], None
    groups = len(x) if norm.parts_steps else 1
    count = float(x.numel() // channels // groups * processes())
    sums = all_reduced(_pair_sums(x, x, torch.zeros(groups, channels, device=x.device))) / count
    mean = sums[:, 0]
    variance = (sums[:, 1] - mean**2).clamp_min(0.0)
    for group in range(groups):
        norm.note(mean[group], variance[group], count)
    return mean, (variance + norm.eps).rsqrt(), count


def _before_norm(
    x: Tensor,
    scale: Tensor,
    shift: Tensor,
    grad_spikes: Tensor | None,
    grad_membrane: Tensor | None,
    setting: Setting,
) -> Tensor:
    """Compute the gradient of the normalised currents: float32, without batch norm as x."""
    steps, size, channels = _sizes(x)
    dtype = x.dtype if setting.norm is None else torch.float32
    grad = torch.empty_like(x, dtype=dtype)
    programs = min(_processors(x) * PROGRAMS, triton.cdiv(size, BLOCK))
    from_spikes, from_membrane = (
        grad if given is None else channels_last(given) for given in (grad_spikes, grad_membrane)
    )
    kernels.lif_backward[(programs,)](
        x,
        scale,
        shift,
        from_spikes,
        from_membrane,
        torch.empty(programs, steps, BLOCK, device=x.device),
        grad,
        steps,
        size,
        channels,
        channels if len(scale) > 1 else 0,
        setting.tau,
        setting.threshold,
        setting.alpha,
        SURROGATE=setting.surrogate,
        SPIKES=grad_spikes is not None,
        MEMBRANE=grad_membrane is not None,
        BLOCK=BLOCK,
        **EXACT,
    )
    return grad


def _pair_sums(a: Tensor, b: Tensor, mean: Tensor) -> Tensor:
    """Add up a and a * (b - mean) over all but the channels and the groups of `mean` [groups, C].

    Gives float64 [groups, 2, C].
    """
    groups, channels = mean.shape
    rows = a.numel() // channels // groups
    parts = triton.cdiv(channels, CHANNELS)
    most = triton.cdiv(_processors(a) * PROGRAMS, parts * groups)
    splits = max(min(most, triton.cdiv(rows, ROWS)), 1)
    out = torch.empty(groups, splits, 2, channels, dtype=torch.float64, device=a.device)
    kernels.pair_sums[(parts, splits, groups)](
        a, b, mean, out, rows, channels, BLOCK_ROWS=ROWS, BLOCK_CHANNELS=CHANNELS, **EXACT
    )
    return out.sum(1)


def _sizes(x: Tensor) -> tuple[int, int, int]:
    """Give the steps, the neurons and the channels of currents [T, B, C, ...]."""
    size = x.numel() // len(x)
    if size >= 2**31 - BLOCK:
        raise ValueError(f"{size} neurons in a layer and batch: use a smaller batch")
    return len(x), size, x.shape[2]


def _processors(x: Tensor) -> int:
    """Give the number of multiprocessors of the tensor's GPU; 1 in Triton's interpreter."""
    if x.device.type == "cpu":
        return 1
    return torch.cuda.get_device_properties(x.device).multi_processor_count
