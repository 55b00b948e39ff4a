"""Summary of a stream, in memory that does not grow with it."""

from collections import Counter
from math import exp, floor, log
from typing import Any

from tmkt.deploy.stream.costs import ChipCosts, Cost

PRECISION = 0.01  # of a percentile: the bins of the histogram are one per cent wide
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


class Percentiles:
    """Histogram of positive numbers that gives each quantile to one per cent."""

    def __init__(self) -> None:
        self._counts: Counter[int] = Counter()
        self.largest = 0.0

    def add(self, value: float) -> None:
        """Count a number."""
        self._counts[floor(log(max(value, 1e-3)) / PRECISION)] += 1
        self.largest = max(self.largest, value)

    def quantile(self, share: float) -> float | None:
        """Return the least value that at least this share of the numbers does not exceed; None if
        there are no numbers.
        """
        left = share * self._counts.total()
        for key in sorted(self._counts):
            left -= self._counts[key]
            if left <= 0:
                return min(exp((key + 1) * PRECISION), self.largest)
        return None


class Summary:
    """Counts answers, their latency on this host, and their cost on the chip.

    `nothing`: answers for the class of noise, which are not decided; None without such a class.
    """

    def __init__(self, classes: list[str], nothing: int | None = None) -> None:
        self.answers, self.undecided, self.elapsed_s = 0, 0, 0.0
        self.nothing = None if nothing is None else 0
        self.classes = {name: 0 for i, name in enumerate(classes) if i != nothing}
        self.host_us = Percentiles()
        self._steps = 0  # of answers with a cost
        self._step_us = [0.0, 0.0]
        self._latency_us = [0.0, 0.0]
        self._energy_j: dict[str, list[float]] = {}

    def add(self, decided: str | None, host_us: float, cost: Cost | None, steps: int) -> None:
        """Count an answer that took so many steps."""
        self.answers += 1
        self.host_us.add(host_us)
        if decided is None:
            self.undecided += 1
        else:
            self.classes[decided] += 1
        if cost is None:
            return
        self._steps += steps
        for end in (0, 1):
            if cost.step_us is not None and cost.latency_us is not None:
                self._step_us[end] += cost.step_us[end] * steps
                self._latency_us[end] += cost.latency_us[end]
            for name, interval in cost.energy_j.items():
                self._energy_j.setdefault(name, [0.0, 0.0])[end] += interval[end]

    def count_nothing(self) -> None:
        """Count the last answer as one for the class of noise."""
        self.nothing = (self.nothing or 0) + 1

    def to_json(self) -> dict[str, Any]:
        """Return the counts as they are printed in JSON."""
        return {
            "answers": self.answers,
            "decided": self.answers - self.undecided,
            "undecided": self.undecided,
            **({} if self.nothing is None else {"nothing": self.nothing}),
            "classes": self.classes,
        }

    def chip(self, costs: ChipCosts, seen_us: int, steps_run: int) -> dict[str, Any]:
        """Return the chip's means over the answers. `keeps_up`: even the slowest estimate of a step
        leaves time for all steps of the stream.
        """
        report: dict[str, Any] = {
            "device": costs.device,
            "fits": costs.fits,
            "depth_steps": costs.depth,
        }
        timed = costs.fits and self._steps > 0
        step = [total / self._steps for total in self._step_us] if timed else None
        report["step_us"] = step
        report["latency_us"] = (
            [total / self.answers for total in self._latency_us] if timed else None
        )
        report["keeps_up"] = (
            None if step is None else step[1] * steps_run <= max(seen_us, costs.bin_us)
        )
        report["energy_per_answer"] = [
            {
                "estimator": name,
                "low_j": low / self.answers,
                "high_j": high / self.answers,
                **costs.receipts[name],
            }
            for name, (low, high) in self._energy_j.items()
        ]
        return report

    def times(self, events: int, seen_s: float, live: bool) -> dict[str, Any]:
        """Return what depends on this host.

        `real_time_factor` is seconds of stream a second. It and the rate are None for a live
        stream, which has to be waited for.
        """
        host = {name: self.host_us.quantile(share) for name, share in QUANTILES.items()} | {
            "max": self.host_us.largest
        }
        rated = self.elapsed_s > 0 and not live
        return {
            "host_us": host,
            "elapsed_s": self.elapsed_s,
            "events_per_s": events / self.elapsed_s if rated else None,
            "real_time_factor": seen_s / self.elapsed_s if rated else None,
        }
