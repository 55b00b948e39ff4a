"""Choice of the neuron's code on a GPU: our Triton kernels where Triton works."""

import subprocess
from functools import cache
from importlib.util import find_spec

import torch

from tmkt import console


@cache
def fused_on_gpu() -> type[torch.autograd.Function] | None:
    """Give batch norm and LIF as Triton kernels; None where Triton does not work.

    Triton comes with torch for NVIDIA's GPUs on Linux. It needs a C compiler where it first runs.
    """
    if find_spec("triton") is None:
        return None
    from tmkt.networks.fused import Setting
    from tmkt.networks.gpu.norm_lif import NormLif

    setting = Setting(2.0, 1.0, surrogate=0, alpha=2.0, store_membrane=False, norm=None)
    ones = torch.ones(1, device="cuda")
    try:
        NormLif.apply(torch.ones(1, 1, 1, device="cuda"), ones, ones, setting)  # type: ignore[no-untyped-call]
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        console.note(
            f"warning: Triton does not work here ({str(error).splitlines()[0][:100]}); the slower"
            " neurons of SpikingJelly take over. Triton needs a C compiler, such as gcc, and"
            " Python's headers"
        )
        return None
    return NormLif
