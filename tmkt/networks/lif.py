"""The spiking neuron of all networks: SpikingJelly's LIF, fused with the batch norm before it on a
CPU.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from tmkt.networks.cpu import lif_kernels as kernels
from tmkt.networks.cpu.threads import parallel_for
from tmkt.networks.global_batch import all_reduced
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe

# SpikingJelly's first step looks for Triton, and torch warns on standard error that a CPU has none.
logging.getLogger("torch._library.triton").setLevel(logging.ERROR)

# Each surrogate's width goes with the threshold. At Knowledge Transfer's 0.5 "triangle" is its
# QGateGrad (2 - 4|x|) and "rectangle" its BackEIGateGrad (1 for |x| < 0.5); "atan" is
# SpikingJelly's default at threshold 1.
SURROGATES: dict[str, tuple[int, type[nn.Module], float]] = {
    "atan": (kernels.ATAN, surrogate.ATan, 2.0),
    "triangle": (kernels.TRIANGLE, surrogate.PiecewiseQuadratic, 1.0),
    "rectangle": (kernels.RECTANGLE, surrogate.Rect, 0.5),
}


class LIF(neuron.LIFNode):  # type: ignore[misc]
    """Leaky integrate-and-fire neuron that the integer program reproduces.

    h = v + (x - v) / tau, spike at h >= threshold, hard reset to 0. Knowledge Transfer's neuron
    fires at h > threshold, which differs only where a membrane equals the threshold.

    Gradients pass through the membrane but not through the reset (`detach_reset`). Every call
    starts from membranes of zero. With `store_v_seq`, `v_seq` [T, B, ...] holds the membranes after
    the reset of the last call.
    """

    def __init__(self, recipe: NetworkRecipe, store_v_seq: bool = False) -> None:
        self.kind, function, width = SURROGATES[recipe.surrogate]
        super().__init__(
            tau=recipe.tau,
            decay_input=True,
            v_threshold=recipe.threshold,
            v_reset=0.0,
            surrogate_function=function(alpha=width / recipe.threshold),
            detach_reset=True,
            step_mode="m",
            store_v_seq=store_v_seq,
        )

    def forward(self, x: Tensor, norm: BatchNorm | None = None) -> Tensor:
        """Return the spikes of currents [T, B, C, ...], after `norm` over them.

        On a CPU, both run in one pass over memory in float32, also after a convolution in bfloat16.
        The backward pass keeps only x and computes the membranes again. For the same current, the
        spikes equal SpikingJelly's, bit for bit. On a GPU, SpikingJelly's neuron (Triton or CUDA)
        runs after torch's batch norm.
        """
        if x.device.type == "cpu" and self.v_reset == 0 and self.decay_input:
            if norm is not None and norm.parts_steps:
                return self._fused(norm.over_time(x.float()), None)
            return self._fused(x.float(), norm)
        functional.reset_net(self)
        current = x if norm is None else norm.over_time(x)
        spikes: Tensor = super().forward(current.float())
        return spikes

    def _fused(self, x: Tensor, norm: BatchNorm | None) -> Tensor:
        channels = x.shape[2]
        setting = _Setting(
            self.tau,
            self.v_threshold,
            surrogate=self.kind,
            alpha=self.surrogate_function.alpha,
            store_membrane=self.store_v_seq,
            norm=None,
        )
        if norm is None:
            weight, bias = x.new_ones(channels), x.new_zeros(channels)
        else:
            weight, bias, setting.norm = norm.weight, norm.bias, norm
        spikes: Tensor
        spikes, membrane = _NormLif.apply(x, weight, bias, setting)  # type: ignore[no-untyped-call]
        self.v_seq = membrane if self.store_v_seq else None
        return spikes


@dataclass
class _Setting:
    tau: float
    threshold: float
    surrogate: int
    alpha: float
    store_membrane: bool
    norm: BatchNorm | None


class _NormLif(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, setting: _Setting
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
            sums = all_reduced(sums)
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
        spikes = torch.empty_like(_channels_last(x))
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
        grad = torch.empty_like(_channels_last(x))
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
            total = all_reduced(np.concatenate([sums, products]))
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


def _channels_last(x: Tensor) -> Tensor:
    """Lay out [T, B, C, H, W] with channels last in memory; copy only if needed.

    [T, B, C] has this layout already.
    """
    return x.movedim(2, -1).contiguous().movedim(-1, 2)


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
