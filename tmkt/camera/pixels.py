"""Pixels of the simulated camera: compiled loops from an image that moves to counts of events.

Light is watched in place of its logarithm. A threshold of log intensity is then a factor of
intensity, and no logarithm is taken in the loop.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.random import normal, uniform
from tmkt.kernels import kernel

LEAST_FACTOR = (
    0.25  # of the nominal threshold: a pixel with a threshold near 0 would fire without end
)
_NONE = np.uint64(0)


class Drawn(NamedTuple):
    """Cameras of a batch, one for each recording.

    `places` [B, 2, 3] take (y, x, 1) on the sensor to (y, x) on the image, `paths` [B, steps, 2]
    are the image's positions (y, x) in pixels. `inverted` and `negative` are 0 or 1.
    """

    places: NDArray[np.float64]
    paths: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    inverted: NDArray[np.int64]
    negative: NDArray[np.int64]
    seeds: NDArray[np.uint64]


class Common(NamedTuple):
    """Properties that all cameras of a batch share; the recipe's `static` section explains them.

    `wait_steps`: steps for which a pixel sleeps after an event. `noise`: background events of a
    pixel in a bin. `max_count`: a bin counts no more events of a pixel.
    """

    dark: float
    pixel_spread: float
    drop: float
    wait_steps: int
    noise: float
    noise_on: float
    max_count: int


@kernel
def watch_batch(
    images: NDArray[np.uint8],
    drawn: Drawn,
    common: Common,
    bin_of: NDArray[np.int64],
    out: NDArray[np.uint8],
) -> None:
    """Record images [B, h, w] and count the events into `out` [B, bins, 2, height, width].

    `bin_of` [steps] is the bin of each step.
    """
    batch, _, _, height, width = out.shape
    margin = math.ceil(np.abs(drawn.paths).max()) + 1
    canvas = np.empty((height + 2 * margin, width + 2 * margin), np.float32)
    for i in range(batch):
        state = drawn.seeds[i : i + 1].copy()
        place = drawn.places[i].copy()
        for axis in range(2):  # from the canvas's corner, not the sensor's
            place[axis, 2] -= margin * (place[axis, 0] + place[axis, 1])
        _light_canvas(images[i], place, common.dark, drawn.negative[i], canvas)
        _watch(
            canvas=canvas,
            path=drawn.paths[i],
            bin_of=bin_of,
            threshold=drawn.thresholds[i],
            inverted=drawn.inverted[i],
            common=common,
            state=state,
            out=out[i],
        )
        if common.noise > 0.0:
            _add_noise(common, state, out[i])


@kernel
def _light_canvas(
    image: NDArray[np.uint8],
    place: NDArray[np.float64],
    dark: float,
    negative: int,
    canvas: NDArray[np.float32],
) -> None:
    """Compute the light that `canvas` gets from the image or its negative, bilinear.

    `place` takes (y, x) on the canvas to (y, x) on the image.
    """
    rows, columns = image.shape
    for r in range(canvas.shape[0]):
        for c in range(canvas.shape[1]):
            y = place[0, 0] * r + place[0, 1] * c + place[0, 2]
            x = place[1, 0] * r + place[1, 1] * c + place[1, 2]
            value = 0.0
            if -1.0 < y < rows and -1.0 < x < columns:
                top, left = math.floor(y), math.floor(x)
                fy, fx = y - top, x - left
                for i in range(2):
                    for j in range(2):
                        if 0 <= top + i < rows and 0 <= left + j < columns:
                            value += (
                                (fy if i else 1.0 - fy)
                                * (fx if j else 1.0 - fx)
                                * image[top + i, left + j]
                            )
            canvas[r, c] = np.float32((1.0 - value / 255.0 if negative else value / 255.0) + dark)


@kernel
def _watch(
    canvas: NDArray[np.float32],
    path: NDArray[np.float64],
    bin_of: NDArray[np.int64],
    threshold: float,
    inverted: int,
    common: Common,
    state: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> None:
    """Count the events of one recording into `out` [bins, 2, height, width].

    All pixel arrays are flat and as wide as the canvas, so that one loop without slices runs over
    the whole image.
    """
    pixel_spread, drop, wait_steps = common.pixel_spread, common.drop, common.wait_steps
    max_count = common.max_count
    height, width = out.shape[2:]
    margin, stride = (canvas.shape[0] - height) // 2, canvas.shape[1]
    light = canvas.reshape(-1)
    size = (height - 1) * stride + width
    factor, low, high = (
        np.ones(size, np.float32),
        np.zeros(size, np.float32),
        np.full(size, np.inf, np.float32),
    )
    now, wait, asleep = np.empty(size, np.float32), np.zeros(size, np.int32), 0
    due = np.zeros(-(-size // 8) * 8, np.uint8)
    due_by_eight = due.view(np.uint64)
    for step in range(len(path)):
        # the image's move by +y shows on a pixel what lay at -y
        y, x = margin - path[step, 0], margin - path[step, 1]
        top, left = math.floor(y), math.floor(x)
        fy, fx = y - top, x - left
        a, b = np.float32((1.0 - fy) * (1.0 - fx)), np.float32((1.0 - fy) * fx)
        c, d = np.float32(fy * (1.0 - fx)), np.float32(fy * fx)
        corner = top * stride + left
        upper, upper_next, lower, lower_next = (
            light[corner:],
            light[corner + 1 :],
            light[corner + stride :],
            light[corner + stride + 1 :],
        )
        for k in range(size):
            now[k] = a * upper[k] + b * upper_next[k] + c * lower[k] + d * lower_next[k]
        if step == 0:
            for row in range(height):
                for k in range(row * stride, row * stride + width):
                    theta = threshold * max(1.0 + pixel_spread * normal(state), LEAST_FACTOR)
                    # the light at the last event is not known; without this draw all pixels would
                    # fire at once when the path closes
                    level = now[k] * math.exp(theta * (2.0 * uniform(state) - 1.0))
                    factor[k] = math.exp(theta)
                    high[k], low[k] = level * factor[k], level / factor[k]
            continue
        for k in range(size):  # without a branch: few pixels have something to send
            due[k] = (now[k] <= low[k]) | (now[k] >= high[k])
        if asleep:
            for k in range(size):
                due[k] |= wait[k] > 0
        for eight in range(due_by_eight.size):
            if due_by_eight[eight] == _NONE:
                continue
            for k in range(eight * 8, min(eight * 8 + 8, size)):
                if not due[k]:
                    continue
                if wait[k]:  # held in reset, the pixel follows the light
                    wait[k] -= 1
                    asleep -= wait[k] == 0
                    high[k], low[k] = now[k] * factor[k], now[k] / factor[k]
                    continue
                brighter = now[k] >= high[k]
                if brighter:
                    low[k] = high[k] / factor[k]
                    high[k] *= factor[k]
                else:
                    high[k] = low[k] * factor[k]
                    low[k] /= factor[k]
                wait[k] = wait_steps
                asleep += wait_steps > 0
                if drop == 0.0 or uniform(state) >= drop:
                    p, row, column = int(brighter) ^ inverted, k // stride, k % stride
                    if out[bin_of[step], p, row, column] < max_count:
                        out[bin_of[step], p, row, column] += 1


@kernel
def _add_noise(common: Common, state: NDArray[np.uint64], out: NDArray[np.uint8]) -> None:
    """Add background events to `out` [bins, 2, height, width]."""
    bins, _, height, width = out.shape
    size = height * width
    at = -math.log(1.0 - uniform(state)) / common.noise
    while at < bins * size:
        b, pixel = int(at) // size, int(at) % size
        p = int(uniform(state) < common.noise_on)
        row, column = pixel // width, pixel % width
        if out[b, p, row, column] < common.max_count:
            out[b, p, row, column] += 1
        at -= math.log(1.0 - uniform(state)) / common.noise
