"""Estimate of one estimator, summed up by inference, second, layer, class and step.

Every figure has an interval.
"""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.energy.activity import Activity
from tmkt.deploy.energy.units import Joules, Watts

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """Estimate of one estimator on one device.

    `readings`: joules [N, T, places] under different assumptions, the central one first. `places`:
    the layers, or "chip" where energy belongs to no layer. The readings of a figure span its
    interval, times `error` (factors of the model against silicon). `parts`: the central reading by
    what spends it. `always_on`: low and high power that is spent whether anything runs or not; in a
    stream it counts by the second, not by the inference.
    """

    estimator: str
    device: str
    places: tuple[str, ...]
    readings: tuple[Joules, ...]
    includes: tuple[str, ...]
    excludes: tuple[str, ...]
    source: str
    error: tuple[float, float] = (1.0, 1.0)
    parts: dict[str, Joules] = field(default_factory=dict)
    always_on: tuple[Watts, Watts] | None = None

    def per_sample(self) -> list[Array]:
        """Return the joules [N] of every reading."""
        return [_array(reading).sum((1, 2)) for reading in self.readings]

    def figure(self, values: list[float]) -> dict[str, float]:
        """Make a central value with its interval from one value per reading."""
        return {
            "energy_j": values[0],
            "low_j": min(values) * self.error[0],
            "high_j": max(values) * self.error[1],
        }


def _array(joules: Joules) -> Array:
    return np.asarray(joules.value, np.float64)


def spread(values: Array) -> float | None:
    """Return the standard deviation over recordings; None for one alone."""
    return float(values.std(ddof=1)) if len(values) > 1 else None


def to_json(e: Estimate, activity: Activity) -> dict[str, Any]:
    """Report the estimate of one inference and of everything that it is made of.

    Figures are means over recordings, with their standard deviation. The interval is that of the
    estimator's assumptions. docs/energy-reference.md lists the keys.
    """
    samples = e.per_sample()
    arrays = [_array(reading) for reading in e.readings]
    report: dict[str, Any] = {
        "estimator": e.estimator,
        "device": e.device,
        **e.figure([float(reading.mean()) for reading in samples]),
    }
    report["sd_j"] = spread(samples[0])
    report |= {"includes": list(e.includes), "excludes": list(e.excludes), "source": e.source}
    report["per_second"] = _per_second(e, samples, activity)
    report["layers"] = [
        {"name": name, **e.figure([float(a[:, :, i].sum(1).mean()) for a in arrays])}
        for i, name in enumerate(e.places)
    ]
    report["parts"] = [{"name": name, **_part(e, part)} for name, part in e.parts.items()]
    report["classes"] = []
    for label, name in enumerate(activity.classes):
        of = activity.labels == label
        if of.any():
            figures = e.figure([float(reading[of].mean()) for reading in samples])
            report["classes"].append(
                {"name": name, "samples": int(of.sum()), **figures, "sd_j": spread(samples[0][of])}
            )
    by_step = [a.sum(2).mean(0) for a in arrays]
    report["steps"] = [
        {"step": t, **e.figure([float(means[t]) for means in by_step])}
        for t in range(activity.trace.steps)
    ]
    return report


def _part(e: Estimate, part: Joules) -> dict[str, float]:
    return e.figure([float(_array(part).sum((1, 2)).mean())])


def _per_second(e: Estimate, samples: list[Array], activity: Activity) -> dict[str, float]:
    if e.always_on is None:
        return e.figure([float(reading.mean()) / activity.sample_s for reading in samples])
    low, high = (float(power.value) for power in e.always_on)
    return {"energy_j": (low + high) / 2, "low_j": low, "high_j": high}
