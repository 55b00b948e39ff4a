"""Energy of the ONNX file on this machine's processor.

It is measured where the kernel shows energy counters, otherwise unknown, with the reason.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.energy.rapl import POWERCAP, measure_cpu
from tmkt.deploy.engines.types import Engine
from tmkt.deploy.evaluate import batch_size
from tmkt.program.model import Program

SECONDS = 10.0
INCLUDES = [
    "the processor packages while ONNX Runtime runs, above the idle power taken before and after;"
    " all else that runs on the machine then"
]
SOURCE = "RAPL, the energy counters of the processor packages (Linux powercap), on this machine now"
EXCLUDES = [
    "idle power, given beside",
    "memory, disks and power supply",
    "reading and binning of recordings",
]


def measure_onnx(
    engine: Engine,
    program: Program,
    frames: NDArray[np.uint8],
    seconds: float = SECONDS,
    powercap: Path = POWERCAP,
) -> dict[str, Any]:
    """Measure the joules of one inference in a batch of frames uint8 [N, T, 2, H, W], with low and
    high.

    They are None, with a reason, where they cannot be measured. `engine`: the bundle's, opened as
    "onnx". Takes about twice `seconds` where there are counters.
    """
    batch = frames[: batch_size(program, frames.shape[1])]
    found = measure_cpu(lambda: engine.run(batch), seconds, powercap)
    figures = {
        name: None if value is None else value / len(batch)
        for name, value in (
            ("energy_j", found.energy_j),
            ("low_j", found.low_j),
            ("high_j", found.high_j),
        )
    }
    return {
        "engine": engine.name,
        **figures,
        "idle_w": found.idle_w,
        "runs": found.runs,
        "batch": len(batch),
        "reason": found.reason,
        "includes": INCLUDES,
        "excludes": EXCLUDES,
        "source": SOURCE,
    }
