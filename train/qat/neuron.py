"""The program's neuron in training: integer membranes forward, surrogate gradients backward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tmkt.networks.cpu.lif_kernels import ATAN, TRIANGLE
from tmkt.networks.cpu.threads import parallel_for
from tmkt.networks.lif import LIF
from tmkt.program.arithmetic import DECAY_ONE, MEMBRANE_LIMIT, STATE_ONE, STATE_SHIFT
from tmkt.recipe import NetworkRecipe
from tmkt.train.qat import kernels

NEURONS_AT_ONCE = 1024  # a share of the loops is a multiple of it


class IntegerLIF(LIF):
    """The program's neuron. `v_seq` holds membranes after reset in the float network's units."""

    def __init__(self, recipe: NetworkRecipe, store_v_seq: bool, scale: int) -> None:
        super().__init__(recipe, store_v_seq)
        self.scale = scale

    def forward(self, x: Tensor, norm: nn.Module | None = None) -> Tensor:
        """Compute the spikes of sums [T, B, C, ...].

        On a CPU by compiled loops, on a GPU step by step there: both give the same integers.
        """
        sums = x if norm is None else norm(x)
        fire = _Fire if sums.device.type == "cpu" else FireOnDevice
        spikes: Tensor
        spikes, membrane = fire.apply(sums, self)  # type: ignore[no-untyped-call]
        self.v_seq = membrane if self.store_v_seq else None
        return spikes


@dataclass(frozen=True)
class _Integers:
    """Settings of the integer neuron: `keep` = 4096 - voltage_decay, `threshold` << 6."""

    keep: float
    threshold: float

    @classmethod
    def of(cls, neuron: IntegerLIF) -> "_Integers":
        keep = DECAY_ONE - round(DECAY_ONE / neuron.tau)
        return cls(float(keep), float(neuron.scale << STATE_SHIFT))


class _Fire(torch.autograd.Function):
    """Spikes, and membranes after reset, of sums; surrogate gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, neuron: IntegerLIF) -> tuple[Tensor, Tensor | None]:
        sums, integers = _flat(x), _Integers.of(neuron)
        spikes, before_reset = np.empty_like(sums), np.empty_like(sums)

        def run(_: int, begin: int, end: int) -> None:
            kernels.integer_forward(
                sums,
                keep=integers.keep,
                threshold=integers.threshold,
                spikes=spikes,
                before_reset=before_reset,
                begin=begin,
                end=end,
            )

        parallel_for(sums.shape[1], NEURONS_AT_ONCE, run)
        ctx.neuron, ctx.integers, ctx.before_reset, ctx.like = neuron, integers, before_reset, x
        ctx.set_materialize_grads(False)
        membrane = None
        if neuron.store_v_seq:
            unit = np.float32(neuron.v_threshold / integers.threshold)
            membrane = _shaped(np.where(spikes > 0, np.float32(0), before_reset) * unit, x)
        return _shaped(spikes, x), membrane

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, grad_membrane: Tensor | None
    ) -> tuple[Tensor, None]:
        neuron, integers, before_reset = ctx.neuron, ctx.integers, ctx.before_reset
        none = np.empty((len(before_reset), 0), np.float32)
        from_spikes = none if grad_spikes is None else _flat(grad_spikes)
        from_membrane = none if grad_membrane is None else _flat(grad_membrane)
        gradient = np.empty_like(before_reset)

        def run(_: int, begin: int, end: int) -> None:
            kernels.integer_backward(
                before_reset,
                keep=integers.keep,
                threshold=integers.threshold,
                unit=float(neuron.v_threshold),
                surrogate=neuron.kind,
                alpha=np.float32(neuron.surrogate_function.alpha),
                from_spikes=from_spikes,
                from_membrane=from_membrane,
                gradient=gradient,
                begin=begin,
                end=end,
            )

        parallel_for(before_reset.shape[1], NEURONS_AT_ONCE, run)
        return _shaped(gradient, ctx.like), None


class FireOnDevice(torch.autograd.Function):
    """`_Fire` in operations of torch, where the sums are: a few for each step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, neuron: IntegerLIF) -> tuple[Tensor, Tensor | None]:
        integers = _Integers.of(neuron)
        before_reset = torch.empty_like(x, dtype=torch.float32)
        v = torch.zeros_like(x[0], dtype=torch.float64)
        for step, row in enumerate(x.double()):
            h = (v * integers.keep / DECAY_ONE).trunc() + STATE_ONE * row
            h = h.clamp(-MEMBRANE_LIMIT, MEMBRANE_LIMIT)
            before_reset[step] = h
            v = h.masked_fill(h > integers.threshold, 0.0)
        fired = before_reset > integers.threshold
        ctx.save_for_backward(before_reset)
        ctx.neuron, ctx.integers = neuron, integers
        ctx.set_materialize_grads(False)
        membrane = None
        if neuron.store_v_seq:
            unit = neuron.v_threshold / integers.threshold
            membrane = before_reset.masked_fill(fired, 0.0) * unit
        return fired.float(), membrane

    @staticmethod
    def backward(
        ctx: Any, grad_spikes: Tensor | None, grad_membrane: Tensor | None
    ) -> tuple[Tensor, None]:
        (before_reset,) = ctx.saved_tensors
        neuron, integers = ctx.neuron, ctx.integers
        alpha = neuron.surrogate_function.alpha
        scale = neuron.v_threshold / integers.threshold
        above = (before_reset - integers.threshold) * scale
        if neuron.kind == ATAN:
            slope = 0.5 * alpha / (1.0 + (above * (np.pi / 2 * alpha)) ** 2)
        elif neuron.kind == TRIANGLE:
            slope = (alpha - alpha**2 * above.abs()).clamp_min(0.0)
        else:
            slope = alpha * (2.0 * alpha * above.abs() < 1.0)
        gradient = torch.zeros_like(before_reset) if grad_spikes is None else grad_spikes * slope
        carried = torch.zeros_like(above[0])
        for step in range(len(above) - 1, -1, -1):
            later = carried if grad_membrane is None else carried + grad_membrane[step]
            here = gradient[step] + later.masked_fill(above[step] > 0.0, 0.0)
            gradient[step] = here * (scale * STATE_ONE)
            carried = here * (integers.keep / DECAY_ONE)
        return gradient, None


def _flat(x: Tensor) -> NDArray[np.float32]:
    """View [T, B, C, ...] as [T, everything else], channels side by side."""
    last: NDArray[np.float32] = x.detach().movedim(2, -1).contiguous().numpy()
    return last.reshape(len(last), -1)


def _shaped(values: NDArray[np.float32], like: Tensor) -> Tensor:
    return torch.from_numpy(values).view(like.movedim(2, -1).shape).movedim(-1, 2)
