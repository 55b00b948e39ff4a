"""Batch norm and LIF on a CPU: one compiled pass over memory each way."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tmkt.networks.cpu import lif_kernels as kernels
from tmkt.networks.cpu.threads import parallel_for
from tmkt.networks.fused import Setting, channels_last
from tmkt.networks.global_batch import all_reduced


class NormLif(torch.autograd.Function):
    """Spikes, and membranes after the reset where wanted, of currents float32 [T, B, C, ...]."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, setting: Setting
    ) -> tuple[Tensor, Tensor | None]:
        steps, channels = x.shape[0], x.shape[2]
        data, width = _flat(x), channels * -(-kernels.LANES // channels)
        norm = setting.norm
        batch_statistics = norm is not None and norm.uses_batch
        count = float(x.numel() // channels)
        if norm is None:
            mean, inverse = np.zeros(channels), np.ones(channels)
        elif batch_statistics:
            sums = np.concatenate(
                [
                    _over(data.reshape(-1), width, channels, kernels.channel_sums, 2).reshape(-1),
                    [count],
                ]
            )
            sums = all_reduced(torch.from_numpy(sums)).numpy()
            count = float(sums[-1])
            mean = sums[:channels] / count
            variance = np.maximum(sums[channels:-1] / count - mean**2, 0.0)
            norm.note(torch.from_numpy(mean), torch.from_numpy(variance), count)
            inverse = 1.0 / np.sqrt(variance + norm.eps)
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            mean, inverse = (
                norm.running_mean.double().numpy(),
                1.0 / np.sqrt(norm.running_var.double().numpy() + norm.eps),
            )
        scale = weight.double().numpy() * inverse
        shift = bias.double().numpy() - mean * scale
        spikes = torch.empty_like(channels_last(x))
        membrane = torch.empty_like(spikes) if setting.store_membrane else None
        tiled = _tile(scale, width), _tile(shift, width)
        numbers = np.float32(setting.tau), np.float32(setting.threshold)
        outputs = (
            _flat(spikes),
            np.empty((steps, 0), np.float32) if membrane is None else _flat(membrane),
        )
        parallel_for(
            data.shape[1],
            width,
            lambda _, begin, end: kernels.lif_forward(data, *tiled, *numbers, *outputs, begin, end),
        )
        ctx.save_for_backward(x, weight)
        ctx.setting, ctx.statistics, ctx.tiled = (
            setting,
            (mean, inverse, count, batch_statistics),
            tiled,
        )
        ctx.set_materialize_grads(False)
        return spikes, membrane

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, grad_membrane: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor | None, None]:
        x, weight = ctx.saved_tensors
        setting, (mean, inverse, count, batch_statistics) = ctx.setting, ctx.statistics
        steps, channels = x.shape[0], x.shape[2]
        data, width = _flat(x), len(ctx.tiled[0])
        none = np.empty((steps, 0), np.float32)
        from_spikes, from_membrane = (
            none if grad is None else _flat(grad) for grad in (grad_spikes, grad_membrane)
        )
        grad = torch.empty_like(channels_last(x))
        out, tiled_mean = _flat(grad), _tile(mean, width)
        numbers = (
            np.float32(setting.tau),
            np.float32(setting.threshold),
            setting.surrogate,
            np.float32(setting.alpha),
        )

        def run(
            x: NDArray[np.float32],
            sums: NDArray[np.float64],
            products: NDArray[np.float64],
            begin: int,
            end: int,
        ) -> None:
            kernels.lif_backward(
                x,
                *ctx.tiled,
                tiled_mean,
                *numbers,
                from_spikes,
                from_membrane,
                out,
                sums,
                products,
                begin,
                end,
            )

        sums, products = _over(data, width, channels, run, 2)
        if setting.norm is None:
            return grad, None, None, None
        grad_weight, grad_bias = products * inverse, sums
        gain = weight.double().numpy() * inverse
        if batch_statistics:
            total = all_reduced(torch.from_numpy(np.concatenate([sums, products]))).numpy()
            slope, offset = (
                gain * inverse**2 * total[channels:] / count,
                gain * total[:channels] / count,
            )
        else:
            slope, offset = np.zeros(channels), np.zeros(channels)
        rows, grads = data.reshape(-1), out.reshape(-1)
        tiled = [_tile(values, width) for values in (gain, slope, offset)]
        parallel_for(
            len(rows),
            width,
            lambda _, begin, end: kernels.norm_backward(
                rows, tiled_mean, grads, *tiled, begin, end
            ),
        )
        return (
            grad,
            torch.from_numpy(grad_weight).to(weight),
            torch.from_numpy(grad_bias).to(weight),
            None,
        )


def _flat(x: Tensor) -> NDArray[np.float32]:
    """View as [T, everything else], channels last."""
    flat: NDArray[np.float32] = x.detach().movedim(2, -1).contiguous().view(x.shape[0], -1).numpy()
    return flat


def _tile(values: NDArray[np.float64], width: int) -> NDArray[np.float32]:
    return np.tile(values.astype(np.float32), width // len(values))


def _over(
    data: NDArray[np.float32], width: int, channels: int, run: Callable[..., object], kinds: int
) -> NDArray[np.float64]:
    """Run a kernel that adds onto `kinds` arrays of sums; return the sums [kinds, C] per channel.

    The partial sums of the threads are added in a fixed order.
    """
    size = data.shape[-1]
    sums = np.zeros((torch.get_num_threads(), kinds, width))
    parallel_for(size, width, lambda index, begin, end: run(data, *sums[index], begin, end))
    total: NDArray[np.float64] = sums.sum(0).reshape(kinds, -1, channels).sum(1)
    return total
