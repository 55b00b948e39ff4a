"""The spiking neuron of all networks: SpikingJelly's LIF, fused with the batch norm before it."""

import logging

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn

from tmkt.networks.cpu import lif_kernels as kernels
from tmkt.networks.cpu.norm_lif import NormLif
from tmkt.networks.fused import Setting
from tmkt.networks.gpu.choice import fused_on_gpu
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

        Both run as one, in float32, also after a convolution in bfloat16: compiled on a CPU, by
        Triton on a GPU. The backward pass keeps only x and computes the membranes again. For the
        same current, the spikes equal SpikingJelly's, bit for bit. Without Triton, SpikingJelly's
        neuron runs on a GPU, after torch's batch norm.
        """
        plain = self.v_reset == 0 and self.decay_input
        if plain and x.device.type == "cpu":
            if norm is not None and norm.parts_steps:
                return self._fused(NormLif, norm.over_time(x.float()), None)
            return self._fused(NormLif, x.float(), norm)
        if plain and x.is_cuda and (fused := fused_on_gpu()) is not None:
            return self._fused(fused, x, norm)
        functional.reset_net(self)
        current = x if norm is None else norm.over_time(x)
        spikes: Tensor = super().forward(current.float())
        return spikes

    def _fused(
        self, function: type[torch.autograd.Function], x: Tensor, norm: BatchNorm | None
    ) -> Tensor:
        setting = Setting(
            self.tau,
            self.v_threshold,
            surrogate=self.kind,
            alpha=self.surrogate_function.alpha,
            store_membrane=self.store_v_seq,
            norm=norm,
        )
        channels = x.shape[2]
        if norm is None:
            weight, bias = (f(channels, device=x.device) for f in (torch.ones, torch.zeros))
        else:
            weight, bias = norm.weight, norm.bias
        spikes: Tensor
        spikes, membrane = function.apply(x, weight, bias, setting)
        self.v_seq = membrane if self.store_v_seq else None
        return spikes
