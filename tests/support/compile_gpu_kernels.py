"""Compiles all Triton kernels of the networks for NVIDIA's GPUs, which needs none of them.

Run in a process of its own: Triton's interpreter must be off. Prints the names that compiled.
"""

import itertools
import sys
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from tmkt.networks.gpu import kernels
from tmkt.networks.gpu.norm_lif import BLOCK, CHANNELS, EXACT, ROWS

FLOATS = {"tau", "threshold", "alpha"}
INTEGERS = {"steps", "size", "rows", "channels", "group"}
DOUBLES = {"out"}


def compile_for(kernel: Any, capability: int, currents: str, **constants: Any) -> str:
    """Compile a kernel whose currents are `currents`, "fp32" or "bf16"; give its PTX."""
    wide = kernel is kernels.pair_sums
    signature = {}
    for name in kernel.arg_names:
        if name in constants:
            signature[name] = "constexpr"
        elif name in FLOATS:
            signature[name] = "fp32"
        elif name in INTEGERS:
            signature[name] = "i32"
        elif name in ("x", "spikes", "from_spikes", "a", "b"):
            signature[name] = f"*{currents}"
        else:
            signature[name] = "*fp64" if wide and name in DOUBLES else "*fp32"
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=EXACT)
    ptx: str = compiled.asm["ptx"]
    assert "fma.rn.f32" not in ptx, "products and sums in one instruction: other spikes than a CPU"
    return ptx


def main() -> None:
    for capability, currents in itertools.product((80, 90), ("fp32", "bf16")):
        compile_for(
            kernels.pair_sums, capability, currents, BLOCK_ROWS=ROWS, BLOCK_CHANNELS=CHANNELS
        )
        for keep in (False, True):
            compile_for(kernels.lif_forward, capability, currents, KEEP=keep, BLOCK=BLOCK)
        for surrogate, membrane in itertools.product(range(3), (False, True)):
            given = {"SURROGATE": surrogate, "SPIKES": True, "MEMBRANE": membrane}
            ptx = compile_for(kernels.lif_backward, capability, currents, **given, BLOCK=BLOCK)
            assert ptx.count("bar.sync") >= 2, "membranes are read before they are written"
        compile_for(kernels.norm_backward, capability, currents, BLOCK=BLOCK)
        sys.stdout.write(f"sm_{capability} {currents}\n")


if __name__ == "__main__":
    main()
