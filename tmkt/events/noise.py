"""Simulated events of a camera that sees nothing: noise, hot pixels, next to no events."""

import numpy as np

from tmkt.events.types import Events

# All ranges are ours: from a camera in daylight to one in the dark.
LEAST_HZ, MOST_HZ = 0.1, 100.0  # background activity of a pixel
HOT_LEAST_HZ, HOT_MOST_HZ = 10.0, 1000.0
MOST_HOT = 20  # pixels
WITH_HOT = 0.3  # share of the recordings that have hot pixels
QUIET = 0.2  # share of the recordings that are quiet
MOST_IF_QUIET = 20  # events


def draw_nothing(sensor: tuple[int, int], span_us: int, rng: np.random.Generator) -> Events:
    """Draw `span_us` microseconds of a camera (height, width) that sees nothing.

    A fifth are quiet: 0 to 20 events. The others are Poisson noise, the same rate for all
    pixels, drawn log-uniformly from 0.1 to 100 events a pixel and second, with any share of on
    events; three of ten have up to 20 hot pixels of 10 to 1000 events a second, too.
    """
    height, width = sensor
    pixels = height * width
    if rng.random() < QUIET:
        at = rng.integers(0, pixels, int(rng.integers(0, MOST_IF_QUIET + 1)))
    else:
        at = rng.integers(0, pixels, rng.poisson(_log_uniform(rng) * span_us * 1e-6 * pixels))
        if rng.random() < WITH_HOT:
            count = min(int(rng.integers(1, MOST_HOT + 1)), pixels)
            hot = rng.choice(pixels, count, replace=False)
            rate = _log_uniform(rng, HOT_LEAST_HZ, HOT_MOST_HZ)
            at = np.concatenate([at, np.repeat(hot, rng.poisson(rate * span_us * 1e-6, count))])
            rng.shuffle(at)
    t = np.sort(rng.integers(0, span_us, len(at)))
    on = rng.random(len(at)) < rng.random()
    return Events(
        t,
        (at % width).astype(np.uint16),
        (at // width).astype(np.uint16),
        on.astype(np.uint8),
        sensor,
    )


def _log_uniform(rng: np.random.Generator, least: float = LEAST_HZ, most: float = MOST_HZ) -> float:
    return float(np.exp(rng.uniform(np.log(least), np.log(most))))
