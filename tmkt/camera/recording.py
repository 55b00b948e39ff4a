"""Small event camera that records an image, as N-MNIST was made of MNIST.

The image is shown on a dark screen, and the camera makes three saccades along a triangle (Orchard,
Jayawant, Cohen and Thakor 2015, Frontiers in Neuroscience 9:437). A pixel sends an event whenever
its log intensity has moved by its threshold since its last crossing. Between two evaluations the
log intensity is taken as linear, so that crossings have microsecond stamps (the model of ESIM,
Rebecq, Gehrig and Scaramuzza 2018). In N-MNIST polarity 1 is a fall of the MNIST image's intensity
(measured); here 1 always means brighter. The recordings stand in for real ones where there are
none; they do not replace them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.path import bell
from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel

SACCADE_US = 100_000  # Orchard et al. 2015
MARGIN = 2  # dark rows and columns around an image: what a pixel beside it sees
STEP_US = 1_000  # the image moves by less than 0.12 pixels between two evaluations
# Where the image's middle lies before, between and after the saccades, (y, x) in pixels from the
# sensor's middle. Measured: the mean position of N-MNIST's events over time.
PATH_PX = ((-2.0, -2.5), (2.5, 0.0), (-2.0, 2.5), (-2.0, -2.5))


@dataclass(frozen=True)
class Camera:
    """Camera and screen. The defaults give event counts, rates over time and pixel intervals like
    those of N-MNIST (measured).
    """

    sensor: tuple[int, int] = (34, 34)  # (height, width)
    image_px: int = 28  # height at which the sensor sees the image
    threshold: float = 0.22  # change of log intensity that makes an event
    mismatch: float = 0.2  # standard deviation of the pixels' thresholds, relative
    dark: float = 0.3  # light of a black screen, relative to that of a white image
    refractory_us: int = 1_700  # a pixel that sent an event is silent for so long
    noise_hz: float = 0.3  # background events of one pixel

    def __post_init__(self) -> None:
        if not (self.threshold > 0 and self.dark > 0 and self.image_px > 0):
            raise ValueError(f"threshold, dark and image_px must be positive: {self}")


class _Crossings(NamedTuple):
    """Threshold crossings: microseconds, pixel (row * width + column) and polarity."""

    t: NDArray[np.int64]
    at: NDArray[np.int64]
    p: NDArray[np.uint8]


def _path() -> NDArray[np.float64]:
    """Compute the positions of the image, float64 [steps + 1, 2], with the speed of `bell` along
    each side.
    """
    s = bell(np.arange(SACCADE_US // STEP_US) / (SACCADE_US / STEP_US))[:, None]
    corners = np.array(PATH_PX)
    sides = [a + s * (b - a) for a, b in pairwise(corners)]
    return np.concatenate([*sides, corners[-1:]])


@kernel
def _looks(
    count: int, image_count: int, shifts: NDArray[np.float64], scale: float
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Compute where the pixels of a side look at each step: the image's row (or column) before the
    place, as an index into an image with MARGIN dark ones around it, and how far behind it.
    """
    before = np.empty((count, len(shifts)), np.int64)
    behind = np.empty((count, len(shifts)))
    for i in range(count):
        # pixel centres: the sensor's middle sees the image's middle when the path is at 0
        place = (i + 0.5 - count / 2) * scale + image_count / 2 - 0.5
        for step in range(len(shifts)):
            at = place - shifts[step] * scale
            first = int(np.floor(at))
            behind[i, step] = at - first
            before[i, step] = min(max(first, -MARGIN), image_count) + MARGIN
    return before, behind


@kernel
def _crossings(
    image: NDArray[np.float64],
    path: NDArray[np.float64],
    scale: float,
    dark: float,
    threshold: NDArray[np.float64],
    start: NDArray[np.float64],
    step_us: int,
    out: _Crossings,
) -> int:
    """Write threshold crossings, pixel by pixel, as far as the arrays reach. `image` has MARGIN
    dark rows and columns around it and is interpolated bilinearly.

    Returns the number of all crossings.
    """
    n = 0
    height, width = threshold.shape
    rows, below = _looks(height, image.shape[0] - 2 * MARGIN, path[:, 0], scale)
    columns, right = _looks(width, image.shape[1] - 2 * MARGIN, path[:, 1], scale)
    for row in range(height):
        for column in range(width):
            theta = threshold[row, column]
            light, before, level = -1.0, 0.0, 0.0
            for step in range(len(path)):
                i, j = rows[row, step], columns[column, step]
                fy, fx = below[row, step], right[column, step]
                value = (
                    (1.0 - fy) * (1.0 - fx) * image[i, j]
                    + (1.0 - fy) * fx * image[i, j + 1]
                    + fy * (1.0 - fx) * image[i + 1, j]
                    + fy * fx * image[i + 1, j + 1]
                )
                if value == light:  # most of the time: the camera rests, the image is flat
                    continue
                light, now = value, np.log(value + dark)
                if step == 0:
                    before, level = now, now + start[row, column] * theta
                    continue
                while abs(now - level) >= theta:
                    level += theta if now > level else -theta
                    if n < out.t.size:
                        share = (level - before) / (now - before)  # of the step
                        out.t[n] = np.int64((step - 1 + share) * step_us)
                        out.at[n] = row * width + column
                        out.p[n] = now > before
                    n += 1
                before = now
    return n


@kernel
def _awake(
    t: NDArray[np.int64], at: NDArray[np.int64], refractory_us: int, pixels: int
) -> NDArray[np.bool_]:
    """Mark the events (in order of time) whose pixel has been silent long enough."""
    last = np.full(pixels, np.int64(-(2**62)))
    keep = np.zeros(t.size, np.bool_)
    for i in range(t.size):
        if t[i] - last[at[i]] >= refractory_us:
            keep[i] = True
            last[at[i]] = t[i]
    return keep


def record(
    image: NDArray[np.uint8], seed: int | Sequence[int], camera: Camera | None = None
) -> Events:
    """Record an image (uint8 [h, w], 0 = dark): about 300 ms of events, sorted by time, then pixel.

    One seed decides the pixels' thresholds and the noise: same image, seed and camera, same events.
    Raises InputError if no pixel sent an event.
    """
    camera = camera or Camera()
    rng = np.random.default_rng(seed)
    # a threshold near 0 would fire without end: at least a quarter of the nominal one
    spread = np.maximum(1.0 + camera.mismatch * rng.standard_normal(camera.sensor), 0.25)
    # the last crossing before the recording is unknown; without this all pixels would fire at once
    # when the path closes
    start = rng.uniform(-0.99, 0.99, camera.sensor)
    light = np.pad(image.astype(np.float64) / 255.0, MARGIN)
    size = 8 * camera.sensor[0] * camera.sensor[1]  # more than most images make
    path = _path()
    while True:
        crossings = _Crossings(
            t=np.empty(size, np.int64), at=np.empty(size, np.int64), p=np.empty(size, np.uint8)
        )
        found = _crossings(
            image=light,
            path=path,
            scale=len(image) / camera.image_px,
            dark=camera.dark,
            threshold=camera.threshold * spread,
            start=start,
            step_us=STEP_US,
            out=crossings,
        )
        if found <= size:
            break
        size = found
    pixels = camera.sensor[0] * camera.sensor[1]
    end_us = (len(path) - 1) * STEP_US
    noise = rng.poisson(camera.noise_hz * pixels * end_us * 1e-6)
    t = np.concatenate([crossings.t[:found], rng.integers(0, end_us, noise)])
    at = np.concatenate([crossings.at[:found], rng.integers(0, pixels, noise)])
    p = np.concatenate([crossings.p[:found], rng.integers(0, 2, noise, np.uint8)])
    order = np.lexsort((p, at, t))
    order = order[_awake(t[order], at[order], camera.refractory_us, pixels)]
    if not len(order):
        raise InputError(
            "camera: the image made no event, expected one with more contrast; choose another image"
            " or a lower threshold"
        )
    t, at, p = t[order], at[order], p[order]
    width = camera.sensor[1]
    return Events(
        t, (at % width).astype(np.uint16), (at // width).astype(np.uint16), p, camera.sensor
    )
