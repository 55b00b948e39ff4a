"""Part of recordings behind the last bin, which a network never sees."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil, log10
from typing import NamedTuple

import numpy as np

from tmkt.console import percent, significant
from tmkt.events.channels import Contract
from tmkt.events.types import Events

MOST_CUT = 0.05  # of a recording's events or time, before it is worth a warning; ours
MOST_BINS = 1000  # that are proposed: a recipe takes no more


class Extent(NamedTuple):
    """A recording's events, those behind the last bin, and the time from its first to its last."""

    events: int
    cut: int
    duration_us: int


class ExtentMeter:
    """Measures the extent of a recording while its chunks are read."""

    def __init__(self, contract: Contract) -> None:
        self._span_us = contract.bins * contract.bin_us
        self._events = self._cut = 0
        self._first_us: int | None = None
        self._last_us = 0

    def watch(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """Pass on the chunks."""
        for events in chunks:
            if len(events):
                if self._first_us is None:
                    self._first_us = int(events.t[0])
                self._last_us = max(self._last_us, int(events.t.max()))
                self._events += len(events)
                self._cut += int(np.count_nonzero(events.t >= self._first_us + self._span_us))
            yield events

    @property
    def extent(self) -> Extent:
        """Return the extent of what has passed."""
        return Extent(self._events, self._cut, self._last_us - (self._first_us or 0))


@dataclass(frozen=True)
class Coverage:
    """Shares of recordings behind the last bin, of events and of time: in the median and in the
    worst case. `longest_us` is the duration of the longest recording.
    """

    recordings: int
    events_median: float
    events_worst: float
    time_median: float
    time_worst: float
    longest_us: int


def coverage_of(extents: Sequence[Extent], contract: Contract) -> Coverage:
    """Sum up the extents of recordings, of which there is at least one."""
    span_us = contract.bins * contract.bin_us
    events = [extent.cut / max(extent.events, 1) for extent in extents]
    time = [max(0.0, 1 - span_us / max(extent.duration_us, 1)) for extent in extents]
    return Coverage(
        recordings=len(extents),
        events_median=float(np.median(events)),
        events_worst=max(events),
        time_median=float(np.median(time)),
        time_worst=max(time),
        longest_us=max(extent.duration_us for extent in extents),
    )


def describe_cut(
    coverage: Coverage, bins: int, bin_us: int, bins_option: str, bin_us_option: str
) -> str | None:
    """Say how much of the recordings the bins leave out, and which options would cover them all.

    A warning above MOST_CUT. None if nothing is left out.
    """
    worst = max(coverage.events_worst, coverage.time_worst)
    if worst == 0:
        return None
    longest = coverage.longest_us
    ways = [f"{bin_us_option}{rounded_up(longest // bins + 1)}"]
    if longest // bin_us + 1 <= MOST_BINS:
        ways.insert(0, f"{bins_option}{longest // bin_us + 1}")
    return (
        f"{'warning: ' if worst > MOST_CUT else ''}the bins leave out"
        f" {percent(coverage.events_median)} of the events and {percent(coverage.time_median)} of"
        f" the time of a recording (median; at worst {percent(coverage.events_worst)} and"
        f" {percent(coverage.time_worst)}): {bins} bins of {bin_us} us are"
        f" {significant(bins * bin_us / 1e6)} s, the longest of {coverage.recordings} recordings is"
        f" {significant(longest / 1e6)} s; {' or '.join(ways)} would cover all"
    )


def rounded_up(number: int) -> int:
    """Round up to three digits."""
    unit: int = 10 ** max(0, int(log10(number)) - 2)
    return ceil(number / unit) * unit
