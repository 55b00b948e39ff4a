"""Runs of one sample on a chip on which every layer takes a step: what SANA-FE simulates."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.energy.active_updates import Counts, Spikes, active_neurons
from tmkt.deploy.fit.latency import layer_depths
from tmkt.deploy.fit.placement import Placement
from tmkt.program.model import Program


def pipelined(
    program: Program, placement: Placement, frames: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], Spikes, Counts]:
    """One sample alone on a chip on which every layer takes a step: T + depth steps, from the first
    input to the last layer's answer.

    Gives frames and spikes [N, T + depth, ...] and the updated neurons [N, T + depth, cores] at the
    steps of the chip, for `traffic` and `calibrated.cost`. Layers go on with empty input once a
    sample has passed; before it arrives they are idle. A stream has no such steps: give `traffic`
    the frames and spikes as they are.
    """
    depth = layer_depths(program)
    more = max(depth.values())
    padded = np.concatenate(
        [frames, np.zeros((len(frames), more, *frames.shape[2:]), np.uint8)], axis=1
    )
    busy, spikes = active_neurons(program, placement, padded)
    shifted = {name: _late(s, depth[name]) for name, s in spikes.items()}
    out = np.zeros_like(busy)
    for placed in placement.layers:
        here = slice(placed.first_core, placed.first_core + placed.cores)
        out[:, :, here] = _late(busy[:, :, here], depth[placed.layer.name])
    return padded, shifted, out


def _late(values: NDArray[Any], steps: int) -> NDArray[Any]:
    """[N, T, ...] moved to later steps; zeros before."""
    out = np.zeros_like(values)
    out[:, steps:] = values[:, : values.shape[1] - steps]
    return out
