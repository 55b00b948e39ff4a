"""Settings and layout of the fused batch norm and LIF, the same on CPU and GPU."""

from dataclasses import dataclass

from torch import Tensor

from tmkt.networks.norm import BatchNorm


@dataclass(frozen=True)
class Setting:
    """Neuron and batch norm of a layer.

    `surrogate` is its number in `cpu/lif_kernels.py`, `alpha` its width; without `norm` the
    currents are taken as they are. `store_membrane`: membranes are an output, too.
    """

    tau: float
    threshold: float
    surrogate: int
    alpha: float
    store_membrane: bool
    norm: BatchNorm | None


def channels_last(x: Tensor) -> Tensor:
    """Lay out [T, B, C, H, W] with channels last in memory; copy only if needed.

    [T, B, C] has this layout already.
    """
    return x.movedim(2, -1).contiguous().movedim(-1, 2)
