"""Comparison with the same network as a quantised ANN: which costs less, and at which spike rate.

The ANN's activations have as many bits as a neuron's spikes can tell. Rates are weighted by
synapses: synaptic operations over steps times synapses. The mean rate of neurons weighs borders and
layers wrongly.
"""

from dataclasses import dataclass
from math import ceil, log2
from typing import Any

import numpy as np

from tmkt.deploy.energy.activity import Activity, ChipActivity
from tmkt.deploy.energy.constants import Constants
from tmkt.program.connectivity import connectivity_of
from tmkt.program.model import INPUT, Program

WEIGHT_BITS = 8


@dataclass(frozen=True)
class Size:
    """Size of a network.

    `synapses`: by kind, with pooling unrolled as a chip holds it. `pooled_synapses`: in the pooled
    form. `inputs`: input sites. `firing`: neurons that fire.
    """

    synapses: dict[str, int]
    pooled_synapses: float
    inputs: int
    neurons: int
    firing: int

    @property
    def all_synapses(self) -> int:
        return sum(self.synapses.values())


def size_of(program: Program) -> Size:
    """Count the synapses and neurons of a program: borders, strides and crops exactly, as in the
    trace.
    """
    kinds, pooled = {"conv": 0, "dense": 0}, 0.0
    for layer in program.layers:
        for synapse in layer.synapses:
            count = int(connectivity_of(program, layer, synapse).fan_out().sum())
            kinds[synapse.kind] += count
            pooled += count / synapse.pool**2
    neurons = [(layer.neurons, layer.fires) for layer in program.layers]
    return Size(
        synapses=kinds,
        pooled_synapses=pooled,
        inputs=int(np.prod(program.shape_of(INPUT))),
        neurons=sum(n for n, _ in neurons),
        firing=sum(n for n, fires in neurons if fires),
    )


def bits(steps: int) -> int:
    """Return the bits of an activation that tells as much as the spikes of `steps` steps (Yan et
    al., arXiv:2409.08290).
    """
    return ceil(log2(steps + 1))


def same_chip_crossover(
    ann_j: float, silent_step_j: float, steps: int, density: float, factor: float
) -> float:
    """Return the rate at which a spiking network of `steps` steps costs what its ANN costs on the
    same chip.

    Below zero, it never costs less. `ann_j`: synaptic operations and messages of one dense step.
    `silent_step_j`: neuron updates of one step. The ANN takes one step at activation density
    `density`, and `factor` times as much for an operation with several bits. Our own definition.
    """
    return (factor * density * ann_j + silent_step_j * (1 - steps)) / (steps * ann_j)


def same_chip(
    activity: Activity, on: ChipActivity, c: Constants, assumed: Constants
) -> dict[str, Any]:
    """Compare with the ANN on the chip of the calibrated constants; the interval holds what is not
    known of such an ANN.
    """
    size, steps = size_of(activity.program), activity.trace.steps
    spikes = float(
        activity.trace.layers[0].source_spikes.sum(1).mean()
        + sum(layer.spikes.sum(1).mean() for layer in activity.trace.layers)
    )
    network = 0.0 if on.parts_j is None else float(on.parts_j["network"].sum((1, 2)).mean())
    event = c["fired"] + network / max(spikes, 1.0)
    dense = sum(c[f"synop_{kind}"] * n for kind, n in size.synapses.items()) + event * size.neurons
    silent = (c["neuron"] + c["update"]) * size.neurons
    b = bits(steps)
    cases = {
        "central": (assumed["density"], 1.0),
        "low": (assumed["density_low"], 1.0),
        "high": (assumed["density_high"], float(b)),
    }
    rates = {
        name: same_chip_crossover(dense, silent, steps, g, k) for name, (g, k) in cases.items()
    }
    energies = {name: k * g * dense + silent for name, (g, k) in cases.items()}
    return {
        "comparison": "same chip",
        "device": c.device,
        "activation_bits": b,
        "energy_j": energies["central"],
        "low_j": energies["low"],
        "high_j": energies["high"],
        **verdict(rate_of(activity, size), **rates),
        "includes": [
            (
                f"the same synapses in one step, activations of {b} bits ({steps} steps of spikes"
                " tell no more), by the constants of loihi1-calibrated"
            ),
            "messages and hops of an activation as of a spike here",
            (
                f"low: {assumed['density_low']:g} of the activations not zero; centre:"
                f" {assumed['density']:g}; high: all, and {b} times as much for an operation on {b}"
                " bits"
            ),
        ],
        "excludes": [
            "static power, which the ANN takes for a shorter time",
            "host input and output",
            "what a chip made for ANNs would take",
        ],
        "source": c.source + "; " + assumed.source,
    }


def yan2024(activity: Activity, c: Constants) -> dict[str, Any]:
    """Compare by Yan et al. (arXiv:2409.08290) in the form of Spyx, under its assumptions and under
    others.
    """
    size, steps = size_of(activity.program), activity.trace.steps
    cases = {
        "weights in DRAM, 8 bits, as published": yan_crossover(
            c, size, steps, "dram_bit", WEIGHT_BITS
        ),
        "the ANN pools before it multiplies": yan_crossover(
            c, size, steps, "dram_bit", WEIGHT_BITS, pooled=True
        ),
        "the same bits of weights in both": yan_crossover(c, size, steps, "dram_bit", bits(steps)),
        "weights in SRAM": yan_crossover(c, size, steps, "sram_bit", WEIGHT_BITS),
    }
    rates = list(cases.values())
    return {
        "comparison": "yan2024",
        "device": c.device,
        "activation_bits": bits(steps),
        "energy_j": yan_ann_j(c, size, steps, "dram_bit"),
        "low_j": yan_ann_j(c, size, steps, "sram_bit", pooled=True),
        "high_j": yan_ann_j(c, size, steps, "dram_bit"),
        **verdict(rate_of(activity, size), rates[0], min(rates), max(rates)),
        "cases": [{"name": name, "crossover": rate} for name, rate in cases.items()],
        "includes": [
            "additions or multiplications, weights read once an operation, membranes moved on chip",
            (
                "with weights in DRAM the crossover is little more than activation bits over weight"
                " bits and steps: it says where weights lie"
            ),
            (
                "interval: other places and widths of the weights, and pooling before the"
                " multiplication"
            ),
        ],
        "excludes": [
            "neuron state in DRAM",
            "routing between cores",
            "static power",
            "host input and output",
        ],
        "source": c.source,
    }


def yan_ann_j(c: Constants, size: Size, steps: int, memory: str, pooled: bool = False) -> float:
    """Return the joules of the ANN, whose weights have as many bits as its activations (Spyx)."""
    b, synapses = bits(steps), size.pooled_synapses if pooled else size.all_synapses
    mac = c["fp32_multiply"] * (b / 32) ** 2 + c["fp32_add"] * (b / 32)
    return (
        synapses * (mac + b * c[memory])
        + 2 * size.neurons * c["add"]
        + (size.inputs + size.neurons) * b * c["on_chip_bit"]
    )


def yan_snn_j(
    c: Constants, size: Size, steps: int, memory: str, weight_bits: int, rate: float
) -> float:
    """Return the joules of the spiking network at a mean rate per step."""
    events = (
        rate
        * steps
        * (size.all_synapses * (c["add"] + weight_bits * c[memory]) + size.firing * c["add"])
    )
    return (
        events
        + steps * size.firing * c["add"]
        + steps * size.neurons * WEIGHT_BITS * 2 * c["on_chip_bit"]
    )


def yan_crossover(
    c: Constants, size: Size, steps: int, memory: str, weight_bits: int, pooled: bool = False
) -> float:
    """Return the rate at which both cost the same; below zero, the spiking network never costs
    less.
    """
    silent, full = (
        yan_snn_j(c, size, steps=steps, memory=memory, weight_bits=weight_bits, rate=rate)
        for rate in (0.0, 1.0)
    )
    return (yan_ann_j(c, size, steps, memory, pooled) - silent) / (full - silent)


def rate_of(activity: Activity, size: Size) -> float:
    """Return synaptic operations over steps times synapses, mean over recordings."""
    return float(activity.trace.per_sample("synops").mean()) / (
        activity.trace.steps * size.all_synapses
    )


def verdict(rate: float, central: float, low: float, high: float) -> dict[str, Any]:
    """Compare a rate with a crossover and its interval. `spiking_wins` None: the rate lies inside
    the interval, undecided.
    """
    wins = None
    if rate < low:
        wins = True
    elif rate > high:
        wins = False
    return {
        "rate": rate,
        "crossover": central,
        "crossover_low": low,
        "crossover_high": high,
        "spiking_wins": wins,
    }
