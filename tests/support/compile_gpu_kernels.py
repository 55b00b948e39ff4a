"""Compiles all Triton kernels for NVIDIA's GPUs, which needs none of them.

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
from tmkt.train.gpu import camera
from tmkt.train.gpu.camera_kernel import watch

# Types of the arguments by name; all others point to float32.
TYPES = {
    "fp32": {"tau", "threshold", "alpha", "drop"},
    "i32": {"steps", "size", "rows", "channels", "group", "seed", "bins", "width", "columns"}
    | {"stride", "light_size", "max_count"},
    "*i32": {"wait_steps", "inverted", "first_steps"},
}
CURRENTS = {"x", "spikes", "from_spikes", "a", "b"}


def compile_for(kernel: Any, capability: int, currents: str, **constants: Any) -> str:
    """Compile a kernel whose currents are `currents`, "fp32" or "bf16"; give its PTX."""
    types = {name: kind for kind, names in TYPES.items() for name in names}
    types |= dict.fromkeys(CURRENTS, f"*{currents}") | dict.fromkeys(constants, "constexpr")
    types["out"] = {kernels.pair_sums: "*fp64", watch: "*u8"}.get(kernel, "*fp32")
    signature = {name: types.get(name, "*fp32") for name in kernel.arg_names}
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
        for objects, drops in itertools.product((False, True), repeat=2):
            given = {"OBJECTS": objects, "DROPS": drops, "BLOCK": camera.BLOCK}
            compile_for(watch, capability, currents, **given)
        # Triton compiles a number that is 1 as a constant.
        one = {"steps": 1, "size": 1, "channels": 1}
        compile_for(kernels.lif_forward, capability, currents, KEEP=True, BLOCK=BLOCK, **one)
        given = {"SURROGATE": 0, "SPIKES": True, "MEMBRANE": True, "BLOCK": BLOCK}
        compile_for(kernels.lif_backward, capability, currents, **given, **one)
        given = {"OBJECTS": True, "DROPS": True, "BLOCK": camera.BLOCK}
        compile_for(watch, capability, currents, **given, max_count=1, bins=1)
        sys.stdout.write(f"sm_{capability} {currents}\n")


if __name__ == "__main__":
    main()
