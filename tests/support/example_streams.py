"""Streams of synthetic events, and a plain way to count them."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events


def make_events(
    seed: int, sensor: tuple[int, int], gaps_us: list[int], burst: int = 200, step_us: int = 20
) -> Events:
    """Make bursts of random events, about `step_us` apart, with a gap after each."""
    rng = np.random.default_rng(seed)
    parts, start = [], 1_000_003
    for gap in gaps_us:
        t = start + np.cumsum(rng.integers(0, 2 * step_us, burst))
        parts.append(t)
        start = int(t[-1]) + gap
    t = np.concatenate(parts).astype(np.int64)
    x, y, p = (rng.integers(0, high, len(t)) for high in (sensor[1], sensor[0], 2))
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), sensor)


def cut(events: Events, ends: list[int]) -> list[Events]:
    """Cut events into chunks that end at these places."""
    edges = [0, *sorted(min(end, len(events)) for end in ends), len(events)]
    return [part(events, a, b) for a, b in pairwise(edges)]


def part(events: Events, begin: int, end: int) -> Events:
    return Events(*(getattr(events, name)[begin:end].copy() for name in "txyp"), events.sensor)


def plain_frames(events: Events, bin_us: int, origin_us: int, most: int) -> NDArray[np.uint8]:
    """Count the events of all bins, empty ones included, a site a pixel: uint8 [bins, 2, H, W]."""
    counts = np.zeros(((int(events.t[-1]) - origin_us) // bin_us + 1, 2, *events.sensor), np.int64)
    np.add.at(counts, ((events.t - origin_us) // bin_us, events.p, events.y, events.x), 1)
    return np.minimum(counts, most).astype(np.uint8)
