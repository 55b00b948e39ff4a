"""Many recordings of images at once, straight into the count frames that a network takes.

The model is that of ESIM (Rebecq, Gehrig and Scaramuzza 2018): a pixel sends an event when its log
intensity has moved by its threshold since its last one. Simplified where frames do not show it: the
image is looked at every 2.5 ms, in which a pixel sends one event at most, and what it has seen
beyond the threshold then counts for the next one. Each recording has a camera of its own, drawn
from what the recipe's `static` section says: a network that learns from all of them need not be
told which camera it will meet (domain randomisation).
"""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.path import draw_paths
from tmkt.camera.screen import shown_size
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.kernels import inlined, kernel
from tmkt.recipe import StaticRecipe

STEP_US = 2_500  # in which an N-MNIST image moves by 0.25 pixels at most
MOST_STEPS = 50_000
LEAST_FACTOR = (
    0.25  # of the nominal threshold: a pixel with a threshold near 0 would fire without end
)

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_11, _16, _27, _30, _31, _LOW, _NONE = (np.uint64(n) for n in (11, 16, 27, 30, 31, 0xFFFF, 0))


@inlined
def _random(state: NDArray[np.uint64]) -> Any:
    """The next of the 64-bit numbers of SplitMix64 (Steele, Lea and Flood 2014)."""
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@inlined
def _uniform(state: NDArray[np.uint64]) -> Any:
    """A float in [0, 1)."""
    return (_random(state) >> _11) * 2.0**-53


@inlined
def _normal(state: NDArray[np.uint64]) -> Any:
    """A nearly normal float, mean 0 and variance 1: the sum of four uniform numbers, which ends at
    3.5 standard deviations.
    """
    bits = _random(state)
    total = 0.0
    for _ in range(4):
        total += bits & _LOW
        bits >>= _16
    return ((total + 2.0) / 65536.0 - 2.0) * 3.0**0.5


@kernel
def _place(
    image: NDArray[np.uint8],
    place: NDArray[np.float64],
    dark: float,
    negative: int,
    canvas: NDArray[np.float32],
) -> None:
    """The light that `canvas` sees of the image or its negative, bilinear; `place` takes (y, x) on
    the canvas to (y, x) on the image.
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
    pixel_spread: float,
    drop: float,
    wait_steps: int,
    inverted: int,
    max_count: int,
    state: NDArray[np.uint64],
    out: NDArray[np.uint8],
) -> None:
    """Counts the events of one recording into `out` [bins, 2, height, width]. The light is watched
    in place of its logarithm: a threshold is then a factor, and no logarithm is taken in the loop.
    All pixel arrays are flat and as wide as the canvas, so that one loop without slices runs over
    the whole image.
    """
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
                    theta = threshold * max(1.0 + pixel_spread * _normal(state), LEAST_FACTOR)
                    # where the last event lay is not known; without this all pixels would fire at
                    # once when the path closes
                    level = now[k] * math.exp(theta * (2.0 * _uniform(state) - 1.0))
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
                if drop == 0.0 or _uniform(state) >= drop:
                    p, row, column = int(brighter) ^ inverted, k // stride, k % stride
                    if out[bin_of[step], p, row, column] < max_count:
                        out[bin_of[step], p, row, column] += 1


@kernel
def _noise(
    per_pixel: float, on: float, max_count: int, state: NDArray[np.uint64], out: NDArray[np.uint8]
) -> None:
    """Adds background events to `out` [bins, 2, height, width], `per_pixel` on average in a bin, of
    which the share `on` are on.
    """
    bins, _, height, width = out.shape
    size = height * width
    at = -math.log(1.0 - _uniform(state)) / per_pixel
    while at < bins * size:
        b, pixel = int(at) // size, int(at) % size
        p = int(_uniform(state) < on)
        row, column = pixel // width, pixel % width
        if out[b, p, row, column] < max_count:
            out[b, p, row, column] += 1
        at -= math.log(1.0 - _uniform(state)) / per_pixel


@kernel
def _simulate(
    images: NDArray[np.uint8],
    places: NDArray[np.float64],
    paths: NDArray[np.float64],
    bin_of: NDArray[np.int64],
    thresholds: NDArray[np.float64],
    inverted: NDArray[np.int64],
    negative: NDArray[np.int64],
    seeds: NDArray[np.uint64],
    dark: float,
    pixel_spread: float,
    drop: float,
    wait_steps: int,
    noise: float,
    noise_on: float,
    max_count: int,
    out: NDArray[np.uint8],
) -> None:
    batch, _, _, height, width = out.shape
    margin = math.ceil(np.abs(paths).max()) + 1
    canvas = np.empty((height + 2 * margin, width + 2 * margin), np.float32)
    for i in range(batch):
        state = seeds[i : i + 1].copy()
        place = places[i].copy()
        for axis in range(2):  # from the canvas's corner, not the sensor's
            place[axis, 2] -= margin * (place[axis, 0] + place[axis, 1])
        _place(images[i], place, dark, negative[i], canvas)
        _watch(
            canvas,
            paths[i],
            bin_of,
            thresholds[i],
            pixel_spread,
            drop,
            wait_steps,
            inverted[i],
            max_count,
            state,
            out[i],
        )
        if noise > 0.0:
            _noise(noise, noise_on, max_count, state, out[i])


def _places(
    moves: NDArray[np.float64], image: tuple[int, int], sensor: tuple[int, int]
) -> NDArray[np.float64]:
    """Where on the image a pixel (row, column, 1) of the sensor looks, (row, column), both counted
    from the first pixel's centre.
    """
    shown = shown_size(image, sensor)
    swapped = moves[:, ::-1][:, :, [1, 0, 2]]  # (y, x) from (y, x, 1)
    per_pixel = np.array([image[0] / shown[0], image[1] / shown[1]])
    places: NDArray[np.float64] = swapped * per_pixel[:, None]
    sensor_middle, image_middle = (np.array(size) / 2 - 0.5 for size in (sensor, image))
    places[:, :, 2] += image_middle - places[:, :, :2] @ sensor_middle
    return places


def simulate_frames(
    images: NDArray[np.uint8],
    moves: NDArray[np.float64],
    contract: InputContract,
    camera: StaticRecipe,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Records images uint8 [B, h, w] (0 = dark, as is everything beside an image): counts uint8 [B,
    bins, 2, H, W].

    An image is shown in the sensor's middle, at `shown_size`, moved as `moves` float64 [B, 2, 3]
    says: each takes (x, y, 1) in pixels from the sensor's middle to the (x, y) where it would lie
    unmoved. All randomness comes from `rng`. One core records about 3,000 images of N-MNIST's size
    a second (measured). Raises InputError for a recording of more than 50,000 steps (two minutes).
    """
    batch = len(images)
    step_us = min(STEP_US, contract.bin_us)
    if contract.bins * contract.bin_us > MOST_STEPS * step_us:
        length = f"{contract.bins} bins of {contract.bin_us} us"
        raise InputError(
            f"simulated camera: {length}, expected at most {MOST_STEPS} steps of {step_us} us; use"
            " shorter or fewer bins"
        )
    times = np.arange(0.0, contract.bins * contract.bin_us + 1.0, step_us)
    bin_of = np.minimum((times - step_us / 2) // contract.bin_us, contract.bins - 1).astype(
        np.int64
    )
    paths = draw_paths(camera, times, batch, rng)
    thresholds = camera.threshold * (1.0 + camera.threshold_spread * rng.uniform(-1.0, 1.0, batch))
    inverted = (
        rng.integers(0, 2, batch)
        if camera.polarity == "random"
        else np.full(batch, int(camera.polarity == "inverted"), np.int64)
    )
    negative = (
        rng.integers(0, 2, batch)
        if camera.shown == "random"
        else np.full(batch, int(camera.shown == "negative"), np.int64)
    )
    seeds = rng.integers(0, 2**64, batch, np.uint64)
    wait_steps = max(-(-camera.refractory_us // step_us) - 1, 0)
    noise = camera.noise_hz * contract.bin_us * 1e-6  # of a pixel in a bin
    out = np.zeros((batch, contract.bins, *contract.shape), np.uint8)
    _simulate(
        np.ascontiguousarray(images),
        _places(moves, (images.shape[1], images.shape[2]), contract.sensor),
        paths,
        bin_of,
        thresholds,
        inverted,
        negative,
        seeds,
        camera.dark,
        camera.pixel_spread,
        camera.drop,
        wait_steps,
        noise,
        camera.noise_on,
        contract.max_count,
        out,
    )
    return out
