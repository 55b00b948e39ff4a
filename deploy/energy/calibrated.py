"""Loihi 1 as SANA-FE calibrated it on silicon: energy and time of every step, from what each core
did under a placement.

The formulas are SANA-FE's (2.2.9, loihi.yaml; Boyle et al., TCAD 2025), written from what they
compute: tests/deploy/test_energy_sanafe.py runs SANA-FE on the same program, placement and
recording and finds the same energy and time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.energy.constants import Constants
from tmkt.deploy.fit.network import volume
from tmkt.deploy.fit.placement import LayerPlacement, Placement
from tmkt.deploy.fit.traffic import Traffic

NANO = 1e-9
ESTIMATOR = "loihi1-calibrated"  # the name of its constants in deploy/devices/loihi1.toml
Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Cost:
    """What a run costs, float64: joules [N, T, cores] by part, and `hop_j` [N, links] in the order
    of `Traffic.links`; seconds [N, T].

    `synapse_j`, and `message_j` (a message is charged where it arrives, so that of input from the
    host counts too), belong to the core that receives; `soma_j` to the neuron's. `simple_s`: the
    longest generating or processing of any core, and the barrier. `upper_s`: the longest of both
    one after the other. Static power, host input and output, and messages' ways between chips are
    not in it.
    """

    synapse_j: Counts
    soma_j: Counts
    message_j: Counts
    hop_j: Counts
    simple_s: Counts
    upper_s: Counts

    @property
    def network_j(self) -> Counts:
        """Messages and hops, [N]."""
        return np.asarray(self.message_j.sum((1, 2)) + self.hop_j.sum(1))

    @property
    def energy_j(self) -> Counts:
        """All of it, [N]."""
        return np.asarray(self.synapse_j.sum((1, 2)) + self.soma_j.sum((1, 2)) + self.network_j)


def neurons_by_core(placement: Placement) -> Counts:
    """float64 [cores]: neurons that each core holds; input units are none."""
    total = np.zeros(placement.cores)
    for placed in placement.layers:
        if placed.layer.connections:
            total += np.bincount(owners(placed).reshape(-1), minlength=placement.cores)
    return total


def owners(placed: LayerPlacement) -> NDArray[np.int64]:
    """int64 [C, H, W]: the core of every neuron of a layer."""
    c, y, x = (
        at // size
        for at, size in zip(np.indices(volume(placed.layer.shape)), placed.tile, strict=True)
    )
    return np.asarray(placed.first_core + (c * placed.grid[1] + y) * placed.grid[2] + x, np.int64)


def cost(placement: Placement, counted: Traffic, updated: Counts, e: Constants) -> Cost:
    """What the counted run costs. `updated` float64 [N, T, cores]: neurons that had something to do
    (`updates.updated`).

    A step's time is SANA-FE's "simple" timing. Its "detailed" one follows messages over the mesh: a
    sample takes between the sums of `simple_s` and `upper_s`, a single step up to 5 % longer where
    messages go far (measured; docs/energy.md).
    """
    device = placement.device
    own = neurons_by_core(placement)
    fired = counted.fired * (own > 0)
    synapse = sum(
        (n * e[f"synop_{kind}"] for kind, n in counted.synops.items()), np.zeros_like(fired)
    )
    soma = own * e["neuron"] + updated * e["update"] + fired * e["fired"]
    hops = np.stack(
        [link.hops_x * e["hop_x"] + link.hops_y * e["hop_y"] for link in counted.links], axis=1
    )

    time = device.times_ns
    idle, busy = time["neuron"]
    generating = (
        own * idle
        + updated * (busy - idle)
        + fired * time["fired"][0]
        + counted.messages_out * time["message_out"][0]
    )
    processing = counted.messages_in * time["message_in"][0]
    processing = processing + sum(
        n * time[f"synop_{kind}"][0] for kind, n in counted.synops.items()
    )
    first, second = generating.max(-1), processing.max(-1)
    barrier = [b for b in device.barriers if b[0] <= placement.tiles_used][-1][1]
    simple, upper = np.maximum(first, second) + barrier, first + second + barrier
    return Cost(
        synapse, soma, counted.messages_in * e["message"], hops, simple * NANO, upper * NANO
    )
