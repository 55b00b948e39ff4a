"""Loihi 1 as SANA-FE calibrated it on silicon: energy and time of every step under a placement.

The formulas are those of SANA-FE 2.2.9 (loihi.yaml; Boyle et al., TCAD 2025), written anew.
tests/deploy/test_energy_sanafe.py runs SANA-FE on the same program, placement and recording and
finds the same energy and time.
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
    """Energy and time of a run, float64.

    Joules: [N, T, cores] by part, and `hop_j` [N, links] in the order of `Traffic.links`.
    `synapse_j` and `message_j` belong to the core that receives, `soma_j` to the neuron's core. A
    message is charged where it arrives, so input from the host counts, too.

    Seconds [N, T]: `simple_s` is the longest generating or processing of any core, and the barrier.
    `upper_s` is the longest of both, one after the other, and the barrier.

    Not included: static power, host input and output, and the way of messages between chips.
    """

    synapse_j: Counts
    soma_j: Counts
    message_j: Counts
    hop_j: Counts
    simple_s: Counts
    upper_s: Counts

    @property
    def network_j(self) -> Counts:
        """Joules of messages and hops, [N]."""
        return np.asarray(self.message_j.sum((1, 2)) + self.hop_j.sum(1))

    @property
    def energy_j(self) -> Counts:
        """Joules in all, [N]."""
        return np.asarray(self.synapse_j.sum((1, 2)) + self.soma_j.sum((1, 2)) + self.network_j)


def neurons_by_core(placement: Placement) -> Counts:
    """Count the neurons of each core, float64 [cores]; input units are none."""
    total = np.zeros(placement.cores)
    for placed in placement.layers:
        if placed.layer.connections:
            total += np.bincount(owners(placed).reshape(-1), minlength=placement.cores)
    return total


def owners(placed: LayerPlacement) -> NDArray[np.int64]:
    """Return the core of every neuron of a layer, int64 [C, H, W]."""
    c, y, x = (
        at // size
        for at, size in zip(np.indices(volume(placed.layer.shape)), placed.tile, strict=True)
    )
    _, down, across = placed.core_grid
    return np.asarray(placed.first_core + (c * down + y) * across + x, np.int64)


def cost(placement: Placement, moved: Traffic, active: Counts, c: Constants) -> Cost:
    """Compute energy and time of a counted run.

    `active` float64 [N, T, cores]: neurons that had something to do
    (`active_updates.active_neurons`).

    The time of a step is SANA-FE's "simple" timing. Its "detailed" timing follows messages over the
    mesh: a sample takes between the sums of `simple_s` and `upper_s`, a single step up to 5 %
    longer where messages go far (measured; docs/energy-reference.md).
    """
    device = placement.device
    own = neurons_by_core(placement)
    fired = moved.fired * (own > 0)
    synapse = sum(
        (n * c[f"synop_{kind}"] for kind, n in moved.synops.items()), np.zeros_like(fired)
    )
    soma = own * c["neuron"] + active * c["update"] + fired * c["fired"]
    hops = np.stack(
        [link.hops_x * c["hop_x"] + link.hops_y * c["hop_y"] for link in moved.links], axis=1
    )

    time = device.times_ns
    idle, busy = time["neuron"]
    generating = (
        own * idle
        + active * (busy - idle)
        + fired * time["fired"][0]
        + moved.messages_out * time["message_out"][0]
    )
    processing = moved.messages_in * time["message_in"][0]
    processing = processing + sum(n * time[f"synop_{kind}"][0] for kind, n in moved.synops.items())
    first, second = generating.max(-1), processing.max(-1)
    barrier = [b for b in device.barriers if b[0] <= placement.tiles_used][-1][1]
    simple, upper = np.maximum(first, second) + barrier, first + second + barrier
    return Cost(
        synapse_j=synapse,
        soma_j=soma,
        message_j=moved.messages_in * c["message"],
        hop_j=hops,
        simple_s=simple * NANO,
        upper_s=upper * NANO,
    )
