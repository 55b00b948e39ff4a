"""The processor: its name, and the instructions that decide how fast tmkt is on it."""

import platform
from contextlib import suppress
from functools import cache
from pathlib import Path

from numba import config
from numba.core.codegen import get_host_cpu_features

# As LLVM calls them, and as people do. The first ones say more than the last ones.
SHOWN = {
    "amx-int8": "AMX int8",
    "amx-bf16": "AMX bfloat16",
    "avx512bf16": "AVX-512 bfloat16",
    "avx512vnni": "AVX-512 VNNI",
    "avxvnni": "AVX-VNNI",
    "avx512f": "AVX-512",
    "avx2": "AVX2",
    "dotprod": "dot products",
    "neon": "Neon",
}
# What bfloat16 makes of a training's speed with a feature, the best first: a step of VGGSNN and of
# the N-MNIST network, one thread, measured on an Intel Emerald Rapids and an AMD EPYC 9005.
FASTER_BFLOAT16 = {
    "amx-bf16": "1.7 times as fast for a wide network, 1.2 for a small one",
    "avx512bf16": "1.2 times as fast",
}


def name() -> str | None:
    """Name the processor; None where the system does not tell."""
    with suppress(OSError):  # only Linux has the file
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or None


@cache
def features() -> frozenset[str]:
    """Return the features of the processor that kernels are compiled for, as LLVM calls them.

    It is this machine's, unless NUMBA_CPU_NAME or NUMBA_CPU_FEATURES name another.
    """
    text = config.CPU_FEATURES
    if text is None:
        text = "" if config.CPU_NAME else get_host_cpu_features()
    return frozenset(one[1:] for one in text.split(",") if one.startswith("+"))


def instructions() -> list[str]:
    """List those of its instructions that matter here, the most telling first."""
    return [shown for feature, shown in SHOWN.items() if feature in features()]


def faster_bfloat16() -> str | None:
    """Say how much faster a training is in bfloat16 than in float32; None where it is not."""
    return next((said for one, said in FASTER_BFLOAT16.items() if one in features()), None)


def is_amd_with_avx512() -> bool:
    """Return whether MKL, which torch takes products of matrices from, is far behind oneDNN: 105
    GFLOP/s a core and 235, measured on an EPYC 9005 alone.
    """
    return "AMD" in (name() or "") and "avx512f" in features()
