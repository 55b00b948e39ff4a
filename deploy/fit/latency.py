"""Time of a step on the chip: an interval from the work of each core, and the barrier that ends the
step.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fit.device import Device
from tmkt.deploy.fit.memory import neurons
from tmkt.deploy.fit.placement import Placement
from tmkt.deploy.fit.tiling import held
from tmkt.deploy.fit.traffic import Traffic
from tmkt.program.model import INPUT, Program

NANO = 1e-9
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Work:
    """Work of each core in a step, float64 [..., cores] (`neurons` [cores]); synaptic operations by
    kind of connection.
    """

    neurons: Counts
    fired: Counts
    messages_out: Counts
    messages_in: Counts
    synops: dict[str, Counts]


def work_of(placement: Placement, counted: Traffic) -> Work:
    """Collect the work of every sample, step and core. Input on cores has no neurons to update: it
    costs its messages alone.
    """
    sizes, own = np.zeros((2, placement.cores))
    for placed in placement.layers:
        if placed.layer.connections:
            here = slice(placed.first_core, placed.first_core + placed.cores)
            sizes[here], own[here] = neurons(held(placed.layer, placed.tile)), 1
    return Work(
        sizes, counted.fired * own, counted.messages_out, counted.messages_in, counted.synops
    )


def step_time(device: Device, work: Work, tiles_used: int) -> tuple[Counts, Counts]:
    """Return the least and the most seconds that a step takes, [...] each."""
    ends = []
    for end in (0, 1):
        time = {name: interval[end] for name, interval in device.times_ns.items()}
        generating = (
            work.neurons * time["neuron"]
            + work.fired * time["fired"]
            + work.messages_out * time["message_out"]
        )
        processing = work.messages_in * time["message_in"] + sum(
            n * time[f"synop_{kind}"] for kind, n in work.synops.items()
        )
        ends.append((generating.max(-1), processing.max(-1)))
    barrier = [b for b in device.barriers if b[0] <= tiles_used][-1]
    low = np.maximum(*ends[0])
    low = np.maximum(low, barrier[1]) if device.barrier_overlaps else low + barrier[1]
    high = ends[1][0] + ends[1][1] + barrier[2]
    return low * device.model_error[0] * NANO, high * device.model_error[1] * NANO


def layer_depths(program: Program) -> dict[str, int]:
    """Count the layers on the longest way from the input to each layer.

    Every layer of a chip takes a step, so it works on step t of the input at t plus its depth.
    """
    found = {INPUT: 0}
    for layer in program.layers:
        found[layer.name] = 1 + max(
            found[s.source] for s in layer.synapses if s.source != layer.name
        )
    return found
