"""Recording of what an engine's layers do."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.types import Engine
from tmkt.deploy.evaluate import batches, check_samples
from tmkt.deploy.recorded.types import Recorded
from tmkt.errors import InputError
from tmkt.program.model import INPUT, Program
from tmkt.program.simulator.layout import channels_first
from tmkt.program.simulator.simulator import Simulator

MAX_BYTES = 2**31  # of what is recorded; ours
MEMBRANE_BYTES = 8


def record(
    bundle: Bundle,
    engine: Engine,
    frames: NDArray[np.uint8],
    progress: Callable[[int], None] | None = None,
) -> Recorded:
    """Record the input and every layer that an engine shows, over frames uint8 [N, T, *input
    shape]; of the simulator the membranes of all layers, too.

    `progress` is called with the number of samples done. InputError for more than MAX_BYTES.
    """
    check_samples(bundle, frames)
    program, (samples, steps) = bundle.program, frames.shape[:2]
    with_membranes = engine.name == "simulator"
    neurons = sum(layer.neurons for layer in program.layers)
    size = samples * steps * neurons * (1 + MEMBRANE_BYTES * with_membranes)
    if size > MAX_BYTES:
        raise InputError(
            f"{bundle.path}: {size} bytes of spikes and membranes, expected at most {MAX_BYTES};"
            f" add a --limit, of {max(1, MAX_BYTES * samples // size)}"
        )
    spikes: dict[str, list[NDArray[np.uint8]]] = {}
    membranes: dict[str, list[NDArray[np.int64]]] = {}
    for batch in batches(program, frames):
        shown = engine.run(frames[batch]).spikes
        for name, values in shown.items():
            spikes.setdefault(name, []).append(np.ascontiguousarray(_flat(values)))
        if with_membranes:
            for name, found in membranes_of(program, frames[batch]).items():
                membranes.setdefault(name, []).append(found)
        if progress:
            progress(batch.stop)
    return Recorded(
        {INPUT: _flat(frames), **{name: np.concatenate(parts) for name, parts in spikes.items()}},
        {name: np.concatenate(parts) for name, parts in membranes.items()},
    )


def membranes_of(program: Program, frames: NDArray[np.uint8]) -> dict[str, NDArray[np.int64]]:
    """Compute the membranes of all layers after each step, int64 [N, T, neurons], on the simulator;
    0 where the neuron has just fired.
    """
    simulator = Simulator(program)
    state = simulator.zero_state(len(frames))
    found = {
        layer.name: np.zeros((*frames.shape[:2], layer.neurons), np.int64)
        for layer in program.layers
    }
    for step in range(frames.shape[1]):
        state = simulator.run(frames[:, step : step + 1], state).state
        for layer, v in zip(program.layers, state.v, strict=True):
            found[layer.name][:, step] = channels_first(v, layer.shape).reshape(len(v), -1)
    return found


def _flat(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return values.reshape(*values.shape[:2], -1)
