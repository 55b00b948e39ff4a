"""What an inference costs: estimates over one counted trace, each with its interval, and with what it includes and leaves out.

Estimators differ by orders of magnitude on the same counts (measured on one network: 1.5 uJ to 3.4 mJ), and none of them knows static
power, which can exceed all that is counted here. So no number stands alone.
"""

import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines import open_engine
from tmkt.deploy.evaluate import measure
from tmkt.deploy.trace import Trace
from tmkt.deploy.units import Joules, JoulesPerSynop, JoulesPerUpdate, Synops, Updates
from tmkt.errors import InputError, nearest

DEVICES = Path(__file__).parent / "devices"
PROXY = "45nm-cmos-proxy"
PICO = 1e-12


@dataclass(frozen=True)
class Device:
    """A file of `devices/`: constants in joules by name, and the source of each with its status."""

    name: str
    estimator: str
    constants: dict[str, float]
    source: str


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


def devices() -> list[str]:
    """The names of the devices whose energy is known: their files name an estimator."""
    return sorted(path.stem for path in DEVICES.glob("*.toml") if "estimator" in tomllib.loads(path.read_text(encoding="utf-8")))


def load_device(name: str) -> Device:
    """Reads a device by name; InputError, with the nearest name, if there is none."""
    if name not in devices():
        raise InputError(f"device {name!r}: unknown, known are {', '.join(devices())}{nearest(name, devices())}")
    values = tomllib.loads((DEVICES / f"{name}.toml").read_text(encoding="utf-8"))
    entries = {key: entry for key, entry in values.items() if isinstance(entry, dict)}
    constants = {key: entry["pj"] * PICO for key, entry in entries.items()}
    source = "; ".join(f"{key} {entry['pj']} pJ: {entry['source']} ({entry['status']})" for key, entry in entries.items())
    return Device(name, values["estimator"], constants, source)


def _davies2018(counts: Counts, device: Device) -> Estimate:
    synop, hop = (JoulesPerSynop(device.constants[key]) for key in ("synop", "mean_hop"))
    active, inactive = (JoulesPerUpdate(device.constants[key]) for key in ("active_update", "inactive_update"))
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


def _horowitz45nm(counts: Counts, device: Device) -> Estimate:
    central, low, high = (JoulesPerSynop(device.constants[key]) * counts.synops for key in ("int32_add", "int8_add", "fp32_add"))
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


def _estimate(device: Device, central: Joules, low: Joules, high: Joules, includes: list[str], excludes: list[str]) -> Estimate:
    return Estimate(device.estimator, device.name, central.value, low.value, high.value, includes, excludes, device.source)


ESTIMATORS: dict[str, Callable[[Counts, Device], Estimate]] = {"davies2018": _davies2018, "horowitz45nm": _horowitz45nm}


def estimate(trace: Trace, active_updates: dict[str, int], device: str) -> Estimate:
    """The mean energy of one inference on a device. `active_updates`: neuron-steps by layer, summed over the trace's samples, as the
    simulator counts them."""
    updates = int(trace.per_sample("updates").sum())
    active = sum(active_updates.values())
    if not 0 <= active <= updates:
        raise ValueError(f"{active} active of {updates} neuron updates: not counted over the same samples")
    counts = Counts(Synops(float(trace.per_sample("synops").mean())), Updates(updates / trace.samples), Updates(active / trace.samples))
    found = load_device(device)
    return ESTIMATORS[found.estimator](counts, found)


def energy(bundle: Bundle, device: str, frames: NDArray[np.uint8], progress: Callable[[int], None] | None = None) -> dict[str, Any]:
    """`tmkt energy`: runs frames uint8 [N, T, 2, H, W] on the simulator. Gives samples, the trace's means and spread (`Trace.to_json`,
    and the active updates), and estimates: for the device and, always, the arithmetic proxy. `progress` is told the samples done."""
    found = load_device(device)
    m = measure(bundle, open_engine("simulator", bundle), frames, progress)
    active = m.active_updates or {}
    totals = {**m.trace.to_json(), "active_updates_per_sample": sum(active.values()) / m.trace.samples}
    names = dict.fromkeys([found.name, PROXY])
    return {"samples": m.trace.samples, "trace": totals, "estimates": [asdict(estimate(m.trace, active, name)) for name in names]}
