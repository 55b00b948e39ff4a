"""Estimators that need counts alone and no placement.

Loihi 1 by its published constants, and the 45 nm proxies.
"""

import numpy as np

from tmkt.deploy.energy.activity import Activity
from tmkt.deploy.energy.constants import Constants
from tmkt.deploy.energy.estimate import Array, Estimate
from tmkt.deploy.energy.units import (
    Accesses,
    Additions,
    Joules,
    JoulesPer,
    Multiplications,
    Synops,
    Updates,
)
from tmkt.program.arithmetic import DECAY_ONE

NEVER = ("static power", "host input and output")  # left out by every estimator of operations
WORD = 4  # bytes of an access in Lemaire's model
QUARTER = 0.25  # 8 bits of a weight's 32
THREE_QUARTERS = 0.75  # 24 bits of a membrane's 32


def davies2018(activity: Activity, c: Constants) -> Estimate:
    """Estimate Loihi 1 as published by Davies et al. (IEEE Micro 38(1), 2018, table 2)."""
    synop, hop = (JoulesPer(c[name], Synops) for name in ("synop", "mean_hop"))
    busy, idle = (JoulesPer(c[name], Updates) for name in ("active_update", "inactive_update"))
    synops, updates, active = (
        Synops(activity.each("synops")),
        Updates(activity.each("updates")),
        Updates(activity.active),
    )
    central = synop * synops + busy * active + idle * (updates - active)
    low = synop * synops + idle * updates
    high = (synop + hop) * synops + busy * updates
    includes = (
        (
            "synaptic operations: each spike at each synapse that it reaches, weights of zero and"
            " input spikes included"
        ),
        (
            "neuron updates: every neuron in every step, at the active cost where the membrane was"
            " not zero, input arrived or there is a bias"
        ),
        "low: every update at the inactive cost",
        (
            "high: every update at the active cost, and one mean hop a synaptic operation, as"
            " keras-spiking charges"
        ),
    )
    excludes = (
        *NEVER,
        "barrier synchronisation",
        "hops between cores in the central and the low value: they depend on the placement",
        "spike generation and in-core routing",
        "the steps in which the pipeline of layers fills and drains",
        "the spread over recordings (sd_j)",
    )
    return Estimate(
        estimator=c.estimator,
        device=c.device,
        places=activity.layers,
        readings=(central, low, high),
        includes=includes,
        excludes=excludes,
        source=c.source,
    )


def horowitz45nm(activity: Activity, c: Constants) -> Estimate:
    """Estimate a proxy: one addition per synaptic operation (Horowitz, ISSCC 2014)."""
    synops = Synops(activity.each("synops"))
    readings = tuple(
        JoulesPer(c[name], Synops) * synops for name in ("int32_add", "int8_add", "fp32_add")
    )
    includes = (
        "one addition a synaptic operation: 32-bit integer, the width of our sums",
        "low: 8-bit integer addition",
        "high: 32-bit floating-point addition, what most papers print",
    )
    excludes = (
        "memory: reading weights and states, which costs more than the additions",
        "neuron updates",
        "routing of spikes",
        "control and clock",
        *NEVER,
        "the spread over recordings (sd_j)",
    )
    return Estimate(
        estimator=c.estimator,
        device=c.device,
        places=activity.layers,
        readings=readings,
        includes=includes,
        excludes=excludes,
        source=c.source,
    )


def lemaire2022(activity: Activity, c: Constants) -> Estimate:
    """Estimate additions, addresses and memory accesses by Lemaire et al. (ICONIP 2022,
    arXiv:2210.13107).

    The cost of an access grows with the size of the memory. Exact counts take the place of the
    paper's rates times dense sizes, so borders, strides and crops are counted exactly.
    """
    add, multiply = JoulesPer(c["add"], Additions), JoulesPer(c["multiply"], Multiplications)
    synops, updates, spikes, arriving = (
        activity.each(kind) for kind in ("synops", "updates", "spikes", "source_spikes")
    )
    layers = activity.program.layers
    leaks = np.array([0 < layer.voltage_decay < DECAY_ONE for layer in layers], np.float64)
    convolved = np.array(
        [any(s.kind == "conv" for s in layer.synapses) for layer in layers], np.float64
    )
    weights, biases, neurons = (
        np.array(sizes, np.float64) * WORD
        for sizes in (
            [sum(s.weight.size for s in layer.synapses) for layer in layers],
            [layer.shape[0] for layer in layers],
            [layer.neurons for layer in layers],
        )
    )
    queue = np.full(len(layers), c["queue_words"] * WORD)
    sums = add * Additions(
        synops + activity.bias_reads + updates * leaks + spikes
    ) + multiply * Multiplications(updates * leaks)
    address = add * Additions(synops + 2 * arriving * convolved) + multiply * Multiplications(
        2 * arriving * convolved
    )
    everything = float((weights + biases + neurons + queue).sum())

    def memory(width: tuple[float, float], shared: bool) -> tuple[Joules, Joules, Joules]:
        """Return joules of weights and biases, of membranes, and of queues.

        `width`: of a weight and of a membrane, as shares of 32 bits. `shared`: one memory for
        everything.
        """

        def cost(size: Array, share: float) -> Array:
            return share * _access_j(np.full_like(size, everything) if shared else size * share, c)

        of_weights, of_biases = (
            JoulesPer(cost(size, width[0]), Accesses) for size in (weights, biases)
        )
        stored = of_weights * Accesses(synops) + of_biases * Accesses(activity.bias_reads)
        states = JoulesPer(cost(neurons, width[1]), Accesses) * Accesses(activity.state_accesses)
        return stored, states, JoulesPer(cost(queue, 1.0), Accesses) * Accesses(arriving + spikes)

    central, narrow, one = (
        memory((1.0, 1.0), False),
        memory((QUARTER, THREE_QUARTERS), False),
        memory((1.0, 1.0), True),
    )
    readings = tuple(
        sums + address + stored + states + queues
        for stored, states, queues in (central, narrow, one)
    )
    parts = dict(
        zip(
            ("sums", "addresses", "weights and biases", "membranes", "queues"),
            (sums, address, *central),
            strict=True,
        )
    )
    includes = (
        "32-bit additions and multiplications of synaptic operations, biases, leaks and resets",
        (
            "addresses: an addition a synaptic operation, and two multiply-accumulates a spike that"
            " a convolution gets"
        ),
        (
            "memory of 32-bit words: a weight, and a membrane read and written, for each synaptic"
            " operation; a bias and a membrane for each update; a queue written and read for each"
            " spike; each memory as large as its layer needs, a convolution's weights once"
        ),
        "low: weights of 8 bits and membranes of 24 instead of 32 (ours)",
        (
            "high: one memory for the whole network, so that every access costs what its size costs"
            " (ours)"
        ),
    )
    excludes = (
        *NEVER,
        "routing of spikes between cores",
        "control and clock",
        "leakage of the memories",
        "the spread over recordings (sd_j)",
    )
    return Estimate(
        estimator=c.estimator,
        device=c.device,
        places=activity.layers,
        readings=readings,
        includes=includes,
        excludes=excludes,
        source=c.source,
        parts=parts,
    )


def _access_j(size: Array, c: Constants) -> Array:
    """Return the joules of a 32-bit access to memories of `size` bytes."""
    kib = 1024
    return np.interp(
        size,
        [0, 8 * kib, 32 * kib, 1024 * kib],
        [0, c["access_8k"], c["access_32k"], c["access_1m"]],
    )
