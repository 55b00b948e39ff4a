"""Types of the engines: their names, what one is, and what it returns."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

ENGINES = ("simulator", "onnx", "torch", "c", "lava", "float")


@dataclass(frozen=True)
class EngineOutput:
    """Result of a run over N samples of T steps.

    `readout` [N, K]: int64, the read-out's membranes after the last step (24-bit states, in 1/64 of
    a weight) or its spike counts; float32 logits from the float engine.
    `spikes`: uint8 [N, T, *layer.shape] of every layer that fires; empty if the engine does not
    show them.
    `faults`: counts of "current_wraps", "membrane_clips" and "readout_over_threshold", summed over
    the samples. Only the simulator counts them; None elsewhere.
    `active_updates`: updates of neurons that had something to do, by layer, summed over samples and
    steps. Only the simulator counts them; None elsewhere.
    """

    readout: NDArray[Any]
    spikes: dict[str, NDArray[np.uint8]]
    faults: dict[str, int] | None = None
    active_updates: dict[str, int] | None = None

    @property
    def predictions(self) -> NDArray[np.int64]:
        """Predicted classes, int64 [N]: the largest read-out, the lowest index among equals."""
        return np.asarray(np.argmax(self.readout, axis=1), np.int64)


class Engine(Protocol):
    """Something that runs a bundle.

    `exact`: it computes the integer program, so its spikes and membranes must equal the
    simulator's.
    """

    name: str
    exact: bool

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, 2, H, W], each sample from states of zero."""
        ...
