"""Pixels of the simulated camera: compiled loops from an image that moves to counts of events.

Light is watched in place of its logarithm. A threshold of log intensity is then a factor of
intensity, and no logarithm is taken in the loop.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.light import (
    Scene,
    light_background,
    light_canvas,
    light_image,
    see_moving,
    see_shifted,
)
from tmkt.camera.path import OBJECT, SACCADES
from tmkt.camera.random import normal, uniform
from tmkt.kernels import kernel

LEAST_FACTOR = (
    0.25  # of the nominal threshold: a pixel with a threshold near 0 would fire without end
)
_NONE = np.uint64(0)


class Drawn(NamedTuple):
    """Cameras of a batch, one for each recording.

    `kinds` [B] say what moves, `poses` [B, steps, 4] how: the image's (y, x) in pixels, angle and
    size (tmkt/camera/path.py). `places` [B, 2, 3] take (y, x, 1) on the sensor to (y, x) on the
    unmoved image. Behind an object is image `backgrounds` [B] of the batch, or, where it is
    negative, an even light `greys` [B] (0 to 1). `wait_steps` [B]: steps for which a pixel sleeps
    after an event. `noise` [B]: background events of a pixel in a bin. `inverted` and `negative`
    are 0 or 1.
    """

    kinds: NDArray[np.int64]
    poses: NDArray[np.float64]
    places: NDArray[np.float64]
    backgrounds: NDArray[np.int64]
    greys: NDArray[np.float64]
    thresholds: NDArray[np.float64]
    wait_steps: NDArray[np.int64]
    noise: NDArray[np.float64]
    inverted: NDArray[np.int64]
    negative: NDArray[np.int64]
    seeds: NDArray[np.uint64]


class Common(NamedTuple):
    """Properties that all cameras of a batch share; the recipe's `static` section explains them.

    `max_count`: a bin counts no more events of a pixel.
    """

    dark: float
    pixel_spread: float
    drop: float
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
    furthest = 0.0
    for i in range(batch):
        if drawn.kinds[i] == SACCADES:
            furthest = max(furthest, np.abs(drawn.poses[i, :, :2]).max())
    margin = math.ceil(furthest) + 1
    canvas = np.empty((height + 2 * margin, width + 2 * margin), np.float32)
    bordered = np.empty((images.shape[1] + 3, images.shape[2] + 3), np.float32)
    still = np.empty((height, width), np.float32)
    for i in range(batch):
        state = drawn.seeds[i : i + 1].copy()
        place, negative = drawn.places[i].copy(), drawn.negative[i]
        light, beside = canvas, np.float32((1.0 if negative else 0.0) + common.dark)
        if drawn.kinds[i] == SACCADES:
            for axis in range(2):  # from the canvas's corner, not the sensor's
                place[axis, 2] -= margin * (place[axis, 0] + place[axis, 1])
            light_canvas(images[i], place, common.dark, negative, canvas)
        else:
            light = bordered
            light_image(images[i], common.dark, negative, bordered)
        still[:] = beside
        if drawn.kinds[i] == OBJECT:
            if drawn.backgrounds[i] >= 0:
                light_background(images[drawn.backgrounds[i]], common.dark, negative, still)
            else:
                still[:] = np.float32(drawn.greys[i] + common.dark)
        _watch(
            scene=Scene(
                kind=drawn.kinds[i],
                light=light,
                still=still.reshape(-1),
                place=place,
                poses=drawn.poses[i],
            ),
            bin_of=bin_of,
            threshold=drawn.thresholds[i],
            wait_steps=drawn.wait_steps[i],
            inverted=drawn.inverted[i],
            common=common,
            state=state,
            out=out[i],
        )
        if drawn.noise[i] > 0.0:
            _add_noise(drawn.noise[i], common, state, out[i])


@kernel
def _watch(
    scene: Scene,
    bin_of: NDArray[np.int64],
    threshold: float,
    wait_steps: int,
    inverted: int,
    common: Common,
    state: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> None:
    """Count the events of one recording into `out` [bins, 2, height, width].

    All pixel arrays are flat and as wide as what is seen, so that one loop without slices runs over
    the whole image.
    """
    pixel_spread, drop, max_count = common.pixel_spread, common.drop, common.max_count
    height, width = out.shape[2:]
    margin = (scene.light.shape[0] - height) // 2
    stride = scene.light.shape[1] if scene.kind == SACCADES else width
    size = (height - 1) * stride + width
    factor, low, high = (
        np.ones(size, np.float32),
        np.zeros(size, np.float32),
        np.full(size, np.inf, np.float32),
    )
    now, wait, asleep = np.empty(size, np.float32), np.zeros(size, np.int32), 0
    due = np.zeros(-(-size // 8) * 8, np.uint8)
    due_by_eight = due.view(np.uint64)
    for step in range(len(scene.poses)):
        if scene.kind == SACCADES:
            see_shifted(scene.light, margin, scene.poses[step], now)
        else:
            see_moving(scene, step, now, width)
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
def _add_noise(
    noise: float, common: Common, state: NDArray[np.uint64], out: NDArray[np.uint8]
) -> None:
    """Add `noise` background events a pixel and bin to `out` [bins, 2, height, width]."""
    bins, _, height, width = out.shape
    size = height * width
    at = -math.log(1.0 - uniform(state)) / noise
    while at < bins * size:
        b, pixel = int(at) // size, int(at) % size
        p = int(uniform(state) < common.noise_on)
        row, column = pixel // width, pixel % width
        if out[b, p, row, column] < common.max_count:
            out[b, p, row, column] += 1
        at -= math.log(1.0 - uniform(state)) / noise
