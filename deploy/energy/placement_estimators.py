"""Estimators that need a placement.

Loihi 1 with its hops, Loihi 2 scaled from a measured board, and the static power of both.
"""

import numpy as np

from tmkt.console import significant
from tmkt.deploy.energy.activity import Activity, ChipActivity
from tmkt.deploy.energy.calibrated import ESTIMATOR as CALIBRATED
from tmkt.deploy.energy.constants import Constants
from tmkt.deploy.energy.estimate import Estimate
from tmkt.deploy.energy.units import Joules, JoulesPer, Seconds, Synops, Watts

NO_IO = (
    "host input and output, which can be longer and cost more than all the rest (measured: 59 ms a"
    " step against 0.15)"
)


def calibrated(activity: Activity, on: ChipActivity, c: Constants) -> Estimate:
    """Estimate Loihi 1 as SANA-FE calibrated it on silicon (`calibrated.cost`)."""
    assert on.parts_j is not None
    parts = {name: Joules(part) for name, part in on.parts_j.items()}
    total = parts["synapse"] + parts["soma"] + parts["network"]
    includes = (
        (
            "synaptic operations, neuron accesses and updates, spikes, messages and hops under the"
            f" placement on {_cores(on)}"
        ),
        "hops of a recording spread over its steps as the spikes that the layer gets are",
        "interval: error of the model against silicon",
    )
    excludes = [
        "static power: its own line",
        NO_IO,
        "barrier synchronisation and clock",
        "the steps in which the pipeline of layers fills and drains",
        (
            "what another placement would take: with every weight stored by itself, cores and hops"
            " are more"
        ),
        "the spread over recordings (sd_j)",
    ]
    if on.between_chips.any():
        excludes.insert(
            2, f"the way of {on.between_chips.mean():,.0f} messages an inference between chips"
        )
    error = (c["low_factor"], c["high_factor"])
    return Estimate(
        estimator=CALIBRATED,
        device=c.device,
        places=activity.layers,
        readings=(total,),
        includes=includes,
        excludes=tuple(excludes),
        source=c.source,
        error=error,
        parts=parts,
    )


def pilotnet(activity: Activity, on: ChipActivity, c: Constants) -> Estimate:
    """Estimate Loihi 2 by scaling the one spiking network whose power Intel published with its
    activity.

    No energy of a single operation is known.
    """
    all_in = JoulesPer(c["all_in_synop"], Synops) * Synops(activity.each("synops"))
    by_layer = np.array([on.placement.by_name[name].cores for name in activity.layers], np.float64)
    power = Watts(c["active_core"] * by_layer)
    short, long = (power * Seconds(step[:, :, None]) for step in (on.step_low_s, on.step_high_s))
    includes = (
        (
            "scaling, no model: dynamic power of one measured board, in which everything that the"
            " network does is included"
        ),
        (
            f"two scalings, by synaptic operations, and by {_cores(on)} and the least and the most"
            " that a step takes; low and high: the ends of the two"
        ),
        "centre: the mean of both scalings (ours)",
    )
    excludes = (
        "static power: its own line",
        NO_IO,
        "the error of the one measurement, and how far this network is from PilotNet",
        "the spread over recordings (sd_j)",
    )
    centre = all_in.scaled(0.5) + (short + long).scaled(0.25)
    return Estimate(
        estimator=c.estimator,
        device=c.device,
        places=activity.layers,
        readings=(centre, all_in, short, long),
        includes=includes,
        excludes=excludes,
        source=c.source,
    )


def static(activity: Activity, on: ChipActivity, c: Constants) -> Estimate:
    """Estimate the static power of the chips for as long as an inference lasts."""
    chips, cores = on.placement.chips, on.placement.cores
    gated = "core_low" in c.values
    low = Watts(c["core_low"] * cores if gated else c["chip_low"] * chips)
    high = Watts(c["chip_high"] * chips)
    short, long = (
        low * Seconds(on.step_low_s[:, :, None]),
        high * Seconds(on.step_high_s[:, :, None]),
    )
    centre = (short + long).scaled(0.5)
    includes = (
        (
            f"static power of {chips} {'chip' if chips == 1 else 'chips'} for the time of an"
            f" inference, {activity.trace.steps} steps of"
            f" {significant(1e6 * on.step_low_s.mean())} to"
            f" {significant(1e6 * on.step_high_s.mean())} µs"
        ),
        "centre: the mean of low and high (ours)",
        (
            f"low: the shortest time{', and the share of the cores in use alone' if gated else ''};"
            " high: the longest time"
        ),
        "a second of stream: the chip waits for events and takes its static power all the time",
    )
    excludes = (
        "everything that the network does",
        "memory, host and board beside the chip",
        NO_IO,
        "the spread over recordings (sd_j)",
    )
    return Estimate(
        estimator=c.estimator,
        device=c.device,
        places=("chip",),
        readings=(centre, short, long),
        includes=includes,
        excludes=excludes,
        source=c.source,
        always_on=(low, high),
    )


def _cores(on: ChipActivity) -> str:
    return (
        f"{on.placement.cores} cores"
        f" ({'weights shared' if on.placement.sharing != 'none' else 'no weights shared'})"
    )
