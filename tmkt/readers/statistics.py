"""Statistics of a recording in one pass."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tmkt.events.types import Events

PEAK_US = 10_000  # the highest rate is that of the fullest 10 ms; our choice


@dataclass
class Statistics:
    """Statistics of a stream of checked events, chunk by chunk.

    They do not depend on the cut into chunks.
    """

    events: int = 0
    on: int = 0
    first_us: int | None = None
    last_us: int | None = None
    longest_pause_us: int = 0
    x: tuple[int, int] | None = None  # the smallest and the largest
    y: tuple[int, int] | None = None
    peak: int = 0  # events of the fullest 10 ms, counted from the first event on
    _bin: int = 0  # the latest 10 ms, and its events so far
    _in_bin: int = 0

    def add(self, events: Events) -> None:
        """Count the next chunk, which is not empty."""
        t = events.t
        self.first_us = int(t[0]) if self.first_us is None else self.first_us
        before = int(t[0]) if self.last_us is None else self.last_us
        self.longest_pause_us = max(self.longest_pause_us, int(np.diff(t, prepend=before).max()))
        self.last_us = int(t[-1])
        self.events += len(events)
        self.on += int(np.count_nonzero(events.p))
        self.x = _range(self.x, int(events.x.min()), int(events.x.max()))
        self.y = _range(self.y, int(events.y.min()), int(events.y.max()))
        bins = (t - self.first_us) // PEAK_US
        starts = np.flatnonzero(np.diff(bins, prepend=-1))
        counts = np.diff(starts, append=len(t))
        if bins[0] == self._bin:
            counts[0] += self._in_bin
        self.peak = max(self.peak, int(counts.max()))
        self._bin, self._in_bin = int(bins[-1]), int(counts[-1])

    def to_json(self) -> dict[str, Any]:
        """Give all figures by name; rates are None for recordings without duration."""
        duration_s = (
            None
            if self.first_us is None or self.last_us is None
            else (self.last_us - self.first_us) / 1e6
        )
        return {
            "events": self.events,
            "first_us": self.first_us,
            "last_us": self.last_us,
            "duration_s": duration_s,
            "events_per_s": self.events / duration_s if duration_s else None,
            "peak_events_per_s": self.peak * 1e6 / PEAK_US if duration_s else None,
            "on_share": self.on / self.events if self.events else None,
            "longest_pause_us": self.longest_pause_us,
            "x": self.x,
            "y": self.y,
        }


def _range(before: tuple[int, int] | None, low: int, high: int) -> tuple[int, int]:
    return (low, high) if before is None else (min(low, before[0]), max(high, before[1]))
