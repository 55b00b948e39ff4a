"""Engines: what can run a bundle. Every engine takes the same frames and answers in the same form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.errors import InputError, nearest

ENGINES = ("simulator", "onnx", "torch", "c", "lava", "float")


@dataclass(frozen=True)
class EngineOutput:
    """What a run over N samples of T steps gave.

    `readout` [N, K]: int64, the read-out's membranes after the last step in the program's units
    (the 24-bit state, 1/64 of a weight) or its spike counts; float32 logits from the float engine.
    `spikes`: uint8 [N, T, *layer.shape] of every layer that fires, empty if the engine does not
    show them. Only the simulator counts `faults` ("current_wraps", "membrane_clips",
    "readout_over_threshold") and `active_updates` (neuron-steps a layer that had something to do);
    elsewhere they are None. Both are sums over the samples.
    """

    readout: NDArray[Any]
    spikes: dict[str, NDArray[np.uint8]]
    faults: dict[str, int] | None = None
    active_updates: dict[str, int] | None = None

    @property
    def predictions(self) -> NDArray[np.int64]:
        """The class of the largest read-out value, the lowest index among equals: int64 [N]."""
        return np.asarray(np.argmax(self.readout, axis=1), np.int64)


class Engine(Protocol):
    """Something that runs a bundle. `exact`: it computes the integer program, so its spikes and
    membranes must equal the simulator's.
    """

    name: str
    exact: bool

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Runs frames uint8 [N, T, 2, H, W], each sample from states of zero."""
        ...


def open_engine(
    name: str,
    bundle: Bundle,
    progress: Callable[[int], None] | None = None,
    threads: int | None = None,
) -> Engine:
    """Gives an engine by name, ready to run the bundle. Raises InputError for an unknown name or
    for what is not installed.

    `progress` is told, while a run goes on, how many of its samples are done: by Lava, the one
    engine slow enough to need it. `threads`: of the simulator and of ONNX Runtime; all cores unless
    told.
    """
    if name == "simulator":
        from tmkt.deploy.engines.simulator import SimulatorEngine

        return SimulatorEngine(bundle, threads)
    if name == "onnx":
        from tmkt.deploy.engines.onnx import OnnxEngine

        return OnnxEngine(bundle, threads)
    if name == "torch":
        try:
            from tmkt.deploy.engines.torch import TorchEngine
        except ModuleNotFoundError:
            raise InputError(
                "engine 'torch': torch is not installed; run: pip install torch, or choose --engine"
                " simulator"
            ) from None
        return TorchEngine(bundle.program)
    if name == "c":
        from tmkt.deploy.engines.c import CEngine

        return CEngine(bundle)
    if name == "lava":
        from tmkt.deploy.engines import lava

        if not lava.installed():
            raise InputError(f"engine 'lava': Lava is not installed; {lava.INSTALL_HINT}")
        return lava.LavaEngine(bundle, progress)
    if name == "float":
        from tmkt.deploy.engines.float import FloatEngine

        return FloatEngine(bundle)
    raise InputError(
        f"engine {name!r}: unknown, choose from {', '.join(ENGINES)}{nearest(name, list(ENGINES))}"
    )
