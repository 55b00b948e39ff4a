"""Engines that run one bin after another and keep their state in between."""

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.onnx import OnnxEngine
from tmkt.errors import InputError, nearest
from tmkt.program.simulator.neurons import FAULTS
from tmkt.program.simulator.simulator import Simulator

ENGINES = ("simulator", "onnx")
Frame = NDArray[np.uint8]


@dataclass(frozen=True)
class Step:
    """Result of one bin: the read-out int64 [K] (the membranes after the bin, or the bin's spikes),
    the spikes uint8 [*shape] of every layer that fires, and the state after the bin.
    """

    readout: NDArray[np.int64]
    spikes: dict[str, NDArray[np.uint8]]
    state: Any


class StepEngine(Protocol):
    """Engine that can go on from a state. `faults` counts those of all steps so far; None where the
    engine counts none.
    """

    faults: dict[str, int] | None

    def zero_state(self) -> Any:
        """Return the state at the start of a sample."""
        ...

    def step(self, frame: Frame, state: Any) -> Step:
        """Run a frame uint8 [2, H, W] from a state, which is not changed."""
        ...

    def reset_readout(self, state: Any) -> Any:
        """Return the state with the read-out's membranes at zero, and all else as it is."""
        ...


def open_step_engine(name: str, bundle: Bundle) -> StepEngine:
    """Open an engine of ENGINES by name; InputError for any other."""
    if name == "simulator":
        return SimulatorStepEngine(bundle)
    if name == "onnx":
        return OnnxStepEngine(bundle)
    raise InputError(
        f"engine {name!r}: does not run streams, choose from"
        f" {', '.join(ENGINES)}{nearest(name, list(ENGINES))}"
    )


class SimulatorStepEngine:
    """Reference engine on one thread: a bin is too little work for several."""

    def __init__(self, bundle: Bundle) -> None:
        self._simulator = Simulator(bundle.program, threads=1)
        self.faults: dict[str, int] | None = dict.fromkeys(FAULTS, 0)

    def zero_state(self) -> Any:
        return self._simulator.zero_state(1)

    def step(self, frame: Frame, state: Any) -> Step:
        result = self._simulator.run(frame[None, None], state)
        assert self.faults is not None
        for name, n in result.faults.items():
            self.faults[name] += n
        return Step(
            result.readout[0],
            {name: spikes[0, 0] for name, spikes in result.spikes.items()},
            result.state,
        )

    def reset_readout(self, state: Any) -> Any:
        return replace(state, v=(*state.v[:-1], np.zeros_like(state.v[-1])))


class OnnxStepEngine(OnnxEngine):
    """ONNX Runtime on one thread, its states fed back. Counts no faults."""

    def __init__(self, bundle: Bundle) -> None:
        super().__init__(bundle, threads=1)
        self.faults: dict[str, int] | None = None
        self._names = list(self._states)
        self._all_outputs = [*self._outputs, *(f"{name}_out" for name in self._names)]
        self._last = self._program.layers[-1].name

    def zero_state(self) -> Any:
        return {name: np.zeros((1, *shape), kind) for name, (kind, shape) in self._states.items()}

    def step(self, frame: Frame, state: Any) -> Step:
        found = self._session.run(
            self._all_outputs, {"x": np.ascontiguousarray(frame)[None, None], **state}
        )
        spikes = {
            name.removesuffix(".spikes"): array[0, 0]
            for name, array in zip(self._outputs[1:], found[1:], strict=False)
        }
        return Step(
            found[0].reshape(-1).astype(np.int64),
            spikes,
            dict(zip(self._names, found[len(self._outputs) :], strict=True)),
        )

    def reset_readout(self, state: Any) -> Any:
        return {**state, f"{self._last}.v": np.zeros_like(state[f"{self._last}.v"])}
