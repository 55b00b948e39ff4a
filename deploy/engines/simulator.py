"""The reference engine: the integer simulator on the bundle's program."""

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.types import EngineOutput
from tmkt.program.simulator.simulator import Simulator


class SimulatorEngine:
    """Runs the bundle's program on `tmkt.program.simulator.simulator`."""

    name = "simulator"
    exact = True

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._simulator = Simulator(bundle.program, threads)

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, C, H, W]."""
        result = self._simulator.run(frames)
        return EngineOutput(result.readout, result.spikes, result.faults, result.active_updates)
