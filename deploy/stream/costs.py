"""Cost of an answer on a chip: latency and energy, from the spikes of the steps that ran for it."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tmkt.bundle import Bundle
from tmkt.deploy.energy.activity import Activity, ChipActivity
from tmkt.deploy.energy.calibrated import ESTIMATOR as CALIBRATED
from tmkt.deploy.energy.constants import devices as described
from tmkt.deploy.energy.constants import estimators
from tmkt.deploy.energy.report import estimates
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.latency import layer_depths, step_time, work_of
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.traffic import traffic
from tmkt.deploy.stream.windows import Answer
from tmkt.deploy.trace import Trace, count

MICRO = 1e6
Interval = tuple[float, float]


@dataclass(frozen=True)
class Cost:
    """Least and most that an answer costs.

    `step_us`: time of a step, mean over the answer's steps. `latency_us`: time from the end of the
    answer's last bin to the answer. Both are None where the network does not fit. `energy_j`: by
    estimator, empty where none knows the device.
    """

    step_us: Interval | None
    latency_us: Interval | None
    energy_j: dict[str, Interval]


class ChipCosts:
    """Costs of a bundle's answers on a device, where the bundle is placed once.

    Raises InputError for an unknown device. Once the cost of a first answer was computed,
    `receipts` says what each estimator includes and leaves out, and its source.
    """

    def __init__(self, bundle: Bundle, device: str) -> None:
        self.program, self.classes, self.bin_us = (
            bundle.program,
            bundle.classes,
            bundle.contract.bin_us,
        )
        self.placement = place(from_program(bundle.program), load_device(device))
        self.device = self.placement.device.name
        self.fits = self.placement.fits()
        self.depth = max(layer_depths(bundle.program).values())
        self.receipts: dict[str, dict[str, Any]] = {}

    def cost_of(self, answer: Answer) -> Cost:
        """Compute the cost of an answer.

        A step takes the time that its own spikes need. The answer is late by the steps that are
        still to run when the last bin is complete (`Answer.behind`), and by the steps that a spike
        takes through the layers, one each (`depth`). The energy is that of all steps of the answer.
        What the chip takes while it waits, and the steps in which the pipeline drains, are not in
        it.
        """
        frames = answer.frames[None]
        spikes = {name: array[None] for name, array in answer.spikes.items()}
        trace = count(self.program, frames, spikes)
        step_us = latency_us = None
        on: ChipActivity | str = "does not fit"
        if self.fits:
            moved = traffic(self.placement, frames, spikes)
            low, high = step_time(
                self.placement.device, work_of(self.placement, moved), self.placement.tiles_used
            )
            step_us = (float(low.mean()) * MICRO, float(high.mean()) * MICRO)
            latency_us = (
                step_us[0] * (answer.behind + self.depth),
                step_us[1] * (answer.behind + self.depth),
            )
            unused = np.zeros(1)  # messages and hops: only reports show them
            on = ChipActivity(
                self.placement,
                step_low_s=low,
                step_high_s=high,
                messages=unused,
                hops=unused,
                between_chips=unused,
                parts_j=None,
            )
        return Cost(step_us, latency_us, self._energy(trace, on))

    def _energy(self, trace: Trace, on: ChipActivity | str) -> dict[str, Interval]:
        """Estimate the energy by every estimator of the device but two kinds.

        These are left to `tmkt energy`: the one that is calibrated core by core needs updates that
        only a run from zero counts, and power that is always on belongs to no answer. All neurons
        are taken to be updated, which moves only the centre of an interval.
        """
        known = estimators(self.device) if self.device in described() else []
        if not known:
            return {}
        updates = np.stack([layer.updates for layer in trace.layers], axis=2).astype(np.float64)
        where = "left to tmkt energy" if CALIBRATED in known else on
        activity = Activity(
            self.program,
            trace=trace,
            active=updates,
            on={self.device: where},
            labels=np.zeros(1, np.int64),
            classes=self.classes,
            bin_us=self.bin_us,
        )
        found, _ = estimates(activity, [self.device])
        out = {}
        for e in found:
            if e.device == self.device and e.always_on is None:
                figure = e.figure([float(reading[0]) for reading in e.per_sample()])
                out[e.estimator] = (figure["low_j"], figure["high_j"])
                self.receipts[e.estimator] = {
                    "includes": list(e.includes),
                    "excludes": list(e.excludes),
                    "source": e.source,
                }
        return out
