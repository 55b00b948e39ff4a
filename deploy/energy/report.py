"""What an inference costs: estimates over one counted trace, each with its interval, and with what it includes and leaves out.

Estimators differ by orders of magnitude on the same counts (measured on one network: 1.5 uJ to 3.4 mJ), and none of them knows static
power, which can exceed all that is counted here. So no number stands alone.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.energy.constants import Constants, devices, estimators, load_constants
from tmkt.deploy.engines import open_engine
from tmkt.deploy.evaluate import measure
from tmkt.deploy.trace import Trace
from tmkt.deploy.units import Joules, JoulesPerSynop, JoulesPerUpdate, Synops, Updates
from tmkt.errors import InputError, nearest

PROXY = "45nm-cmos-proxy"


@dataclass(frozen=True)
class Counts:
    """One inference, the mean over the samples of a trace."""

    synops: Synops
    updates: Updates
    active: Updates


@dataclass(frozen=True)
class Estimate:
    """The energy of one inference by one estimator: a central value and the interval that its own assumptions span."""

    estimator: str
    device: str
    energy_j: float
    low_j: float
    high_j: float
    includes: list[str]
    excludes: list[str]
    source: str


def _davies2018(counts: Counts, device: Constants) -> Estimate:
    synop, hop = (JoulesPerSynop(device[key]) for key in ("synop", "mean_hop"))
    active, inactive = (JoulesPerUpdate(device[key]) for key in ("active_update", "inactive_update"))
    central = synop * counts.synops + active * counts.active + inactive * (counts.updates - counts.active)
    low = synop * counts.synops + inactive * counts.updates
    high = (synop + hop) * counts.synops + active * counts.updates
    includes = [
        "synaptic operations: each spike at each synapse that it reaches, weights of zero and input spikes included",
        "neuron updates: every neuron in every step, at the active cost where the membrane was not zero, input arrived or there is a bias",
        "low: every update at the inactive cost",
        "high: every update at the active cost, and one mean hop a synaptic operation, as keras-spiking charges",
    ]
    excludes = [
        "static power",
        "host input and output",
        "barrier synchronisation",
        "hops between cores in the central and the low value: they depend on the placement",
        "spike generation and in-core routing",
        "the steps in which the pipeline of layers fills and drains",
        "the spread over recordings (see the trace)",
    ]
    return _estimate(device, central, low, high, includes, excludes)


def _horowitz45nm(counts: Counts, device: Constants) -> Estimate:
    central, low, high = (JoulesPerSynop(device[key]) * counts.synops for key in ("int32_add", "int8_add", "fp32_add"))
    includes = ["one addition a synaptic operation: 32-bit integer", "low: 8-bit integer addition", "high: 32-bit floating-point addition"]
    excludes = [
        "memory: reading weights and states, which costs more than the additions",
        "neuron updates",
        "routing of spikes",
        "control and clock",
        "static power",
        "host input and output",
    ]
    return _estimate(device, central, low, high, includes, excludes)


def _estimate(device: Constants, central: Joules, low: Joules, high: Joules, includes: list[str], excludes: list[str]) -> Estimate:
    return Estimate(device.estimator, device.device, central.value, low.value, high.value, includes, excludes, device.source)


ESTIMATORS: dict[str, Callable[[Counts, Constants], Estimate]] = {"davies2018": _davies2018, "horowitz45nm": _horowitz45nm}


def check_device(name: str) -> None:
    """InputError, with the nearest name, for a device that no estimator knows."""
    if name not in devices():
        raise InputError(f"device {name!r}: unknown, known are {', '.join(devices())}{nearest(name, devices())}")


def estimate(trace: Trace, active_updates: dict[str, int], device: str) -> Estimate:
    """The mean energy of one inference on a device. `active_updates`: neuron-steps by layer, summed over the trace's samples, as the
    simulator counts them."""
    updates = int(trace.per_sample("updates").sum())
    active = sum(active_updates.values())
    if not 0 <= active <= updates:
        raise ValueError(f"{active} active of {updates} neuron updates: not counted over the same samples")
    counts = Counts(Synops(float(trace.per_sample("synops").mean())), Updates(updates / trace.samples), Updates(active / trace.samples))
    name = next(name for name in estimators(device) if name in ESTIMATORS)
    return ESTIMATORS[name](counts, load_constants(device, name))


def energy(bundle: Bundle, device: str, frames: NDArray[np.uint8], progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """`tmkt energy`: runs frames uint8 [N, T, 2, H, W] on the simulator. Gives samples, the trace's means and spread (`Trace.to_json`,
    and the active updates), and estimates: for the device and, always, the arithmetic proxy. `progress` is told the samples done."""
    check_device(device)
    m = measure(bundle, open_engine("simulator", bundle), frames, progress)
    active = m.active_updates or {}
    totals = {**m.trace.to_json(), "active_updates_per_sample": sum(active.values()) / m.trace.samples}
    names = dict.fromkeys([device, PROXY])
    return {"samples": m.trace.samples, "trace": totals, "estimates": [asdict(estimate(m.trace, active, name)) for name in names]}
