"""Labelled faults of a sensor, put into recordings: each takes events, a severity and a generator.

What is added comes within the recording's own time.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events

PACKET = 256  # events that are lost together
HOT_HZ = 1000.0
LAMP_HZ = 100.0  # of its light, in mains of 50 Hz

Fault = Callable[[Events, float, np.random.Generator], Events]


def background(events: Events, rate: float, rng: np.random.Generator) -> Events:
    """Add Poisson noise of `rate` events a pixel and second, half of each polarity."""
    height, width = events.sensor
    begin, end = _span(events)
    n = rng.poisson(rate * (end - begin) * 1e-6 * height * width)
    return _with(
        events,
        rng.integers(begin, end + 1, n),
        rng.integers(0, width, n),
        rng.integers(0, height, n),
        rng.integers(0, 2, n),
    )


def hot_pixels(events: Events, count: float, rng: np.random.Generator) -> Events:
    """Let `count` pixels fire HOT_HZ times a second."""
    begin, end = _span(events)
    pixels = rng.choice(events.sensor[0] * events.sensor[1], int(count), replace=False)
    each = max(int((end - begin) * 1e-6 * HOT_HZ), 1)
    at = np.repeat(pixels, each)
    t = rng.integers(begin, end + 1, len(at))
    return _with(
        events, t, at % events.sensor[1], at // events.sensor[1], rng.integers(0, 2, len(at))
    )


def dead_rows(events: Events, count: float, rng: np.random.Generator) -> Events:
    """Silence `count` rows."""
    rows = rng.choice(events.sensor[0], int(count), replace=False)
    return _only(events, ~np.isin(events.y, rows))


def mismatch(events: Events, spread: float, rng: np.random.Generator) -> Events:
    """Scale each pixel's threshold by exp(N(0, spread)): its events become fewer or more."""
    scale = np.exp(rng.normal(0, spread, events.sensor))
    wanted = 1 / scale[events.y, events.x]
    copies = np.floor(wanted + rng.random(len(events))).astype(np.int64)
    which = np.repeat(np.arange(len(events)), copies)
    first = np.append(True, which[1:] != which[:-1]) if len(which) else np.zeros(0, bool)
    # copies follow within a millisecond, as the steps of one change of brightness do
    late = np.where(first, 0, rng.integers(1, 1000, len(which)))
    return _sorted(events, events.t[which] + late, which)


def jitter(events: Events, sigma_us: float, rng: np.random.Generator) -> Events:
    """Shift each stamp by N(0, sigma_us)."""
    late = np.rint(rng.normal(0, sigma_us, len(events))).astype(np.int64)
    return _sorted(events, np.maximum(events.t + late, 0), np.arange(len(events)))


def dropped_packets(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Lose a share of all packets of PACKET events."""
    lost = rng.random(-(-len(events) // PACKET)) < share
    return _only(events, ~lost[np.arange(len(events)) // PACKET])


def lamp(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Let a share of the pixels turn on and off LAMP_HZ times a second, all at the same time but
    for a millisecond.
    """
    begin, end = _span(events)
    pixels = np.flatnonzero(rng.random(events.sensor[0] * events.sensor[1]) < share)
    turns = np.arange(begin, end, 0.5e6 / LAMP_HZ)
    t = (turns[:, None] + rng.integers(0, 1000, (len(turns), len(pixels)))).astype(np.int64)
    at = np.broadcast_to(pixels, t.shape).reshape(-1)
    p = np.repeat(np.arange(len(turns)) % 2, len(pixels))
    return _with(events, t.reshape(-1), at % events.sensor[1], at // events.sensor[1], 1 - p)


def imbalance(events: Events, share: float, rng: np.random.Generator) -> Events:
    """Lose a share of the off events."""
    return _only(events, (events.p == 1) | (rng.random(len(events)) >= share))


FAULTS: dict[str, tuple[Fault, tuple[float, ...]]] = {
    "background activity, events a pixel and second": (background, (0.1, 1, 3, 10, 30, 100)),
    "hot pixels of 1 kHz": (hot_pixels, (1, 5, 20)),
    "dead rows": (dead_rows, (1, 3, 6)),
    "threshold mismatch": (mismatch, (0.2, 0.5, 1.0)),
    "jitter, us": (jitter, (1_000, 5_000, 20_000)),
    "packets lost": (dropped_packets, (0.05, 0.2, 0.5)),
    "pixels that see a lamp": (lamp, (0.1, 0.3, 1.0)),
    "off events lost": (imbalance, (0.3, 0.6, 0.9)),
}


def _span(events: Events) -> tuple[int, int]:
    return int(events.t[0]), int(events.t[-1])


def _only(events: Events, kept: NDArray[np.bool_]) -> Events:
    return Events(events.t[kept], events.x[kept], events.y[kept], events.p[kept], events.sensor)


def _sorted(events: Events, t: NDArray[np.int64], which: NDArray[np.int64]) -> Events:
    """Give the events at `which` the stamps t, in order."""
    order = np.argsort(t, kind="stable")
    at = which[order]
    return Events(t[order], events.x[at], events.y[at], events.p[at], events.sensor)


def _with(
    events: Events,
    t: NDArray[np.int64],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    p: NDArray[np.int64],
) -> Events:
    """Add events."""
    together = Events(
        np.concatenate([events.t, t]),
        np.concatenate([events.x, x.astype(np.uint16)]),
        np.concatenate([events.y, y.astype(np.uint16)]),
        np.concatenate([events.p, p.astype(np.uint8)]),
        events.sensor,
    )
    return _sorted(together, together.t, np.arange(len(together)))
