"""Simulated recordings of many images at once, as the count frames that a network takes.

The model is that of ESIM (Rebecq, Gehrig and Scaramuzza 2018): a pixel sends an event when its log
intensity has moved by its threshold since its last event. It is simplified where frames do not show
the difference: a pixel looks every 2.5 ms, or ten times a bin where bins are shorter than 25 ms,
and sends at most one event each time; what is beyond the threshold counts for the next one. Each
recording has a camera of its own, drawn from the ranges in the recipe's `static` section. A network
that learns from all of them need not be told which camera it will meet (domain randomisation).
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.path import OBJECT, draw_kinds, draw_poses
from tmkt.camera.pixels import Common, Drawn, watch_batch
from tmkt.camera.screen import shown_size
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.recipe import StaticRecipe

STEP_US = 2_500  # in which an N-MNIST image moves by 0.25 pixels at most
STEPS_A_BIN = 10  # at least: edges that pass within a bin leave events of both polarities
MOST_STEPS = 50_000


class Scenes(NamedTuple):
    """Scenes before a batch of cameras: all that is drawn by chance but the pixels' own noise.

    `images` uint8 [B, h, w] as they are shown, the cameras, and the bin of each step.
    """

    images: NDArray[np.uint8]
    drawn: Drawn
    common: Common
    bin_of: NDArray[np.int64]


def simulate_frames(
    images: NDArray[np.uint8],
    moves: NDArray[np.float64],
    contract: InputContract,
    camera: StaticRecipe,
    rng: np.random.Generator,
) -> NDArray[np.uint8]:
    """Record images uint8 [B, h, w] (0 = dark, as is everything beside an image but an object's
    background): counts uint8 [B, bins, 2, H, W].

    An image is shown in the sensor's middle, at `shown_size`, moved by `moves` float64 [B, 2, 3].
    A move takes (x, y, 1) in pixels from the sensor's middle to the (x, y) where the image would
    lie unmoved. All randomness comes from `rng`. One core records about 3,000 images of N-MNIST's
    size a second (measured). Raises InputError for a recording of more than 50,000 steps (two
    minutes).
    """
    scenes = draw_scenes(images, moves, contract, camera, rng)
    out = np.zeros((len(images), contract.bins, *contract.shape), np.uint8)
    watch_batch(scenes.images, scenes.drawn, scenes.common, scenes.bin_of, out)
    return out


def draw_scenes(
    images: NDArray[np.uint8],
    moves: NDArray[np.float64],
    contract: InputContract,
    camera: StaticRecipe,
    rng: np.random.Generator,
) -> Scenes:
    """Draw what `simulate_frames` then looks at, and with which cameras."""
    batch = len(images)
    step_us = max(min(STEP_US, contract.bin_us // STEPS_A_BIN), 1)
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
    kinds = draw_kinds(camera, batch, rng)
    speeds = _draw_speeds(camera, batch, rng)
    poses = draw_poses(camera, times * speeds[:, None], kinds, contract.sensor, rng)
    thresholds = camera.threshold * (1.0 + camera.threshold_spread * rng.uniform(-1.0, 1.0, batch))
    inverted = _draw_kind(camera.polarity, "inverted", batch, rng)
    negative = _draw_kind(camera.shown, "negative", batch, rng)
    seeds = rng.integers(0, 2**64, batch, np.uint64)
    backgrounds, greys = _draw_backgrounds(kinds, rng)
    waits = np.ceil(camera.refractory_us / (step_us * speeds)).astype(np.int64) - 1
    drawn = Drawn(
        kinds=kinds,
        poses=poses,
        places=_places(moves, (images.shape[1], images.shape[2]), contract.sensor),
        backgrounds=backgrounds,
        greys=greys,
        thresholds=thresholds,
        wait_steps=np.clip(waits, 0, MOST_STEPS),
        noise=camera.noise_hz * contract.bin_us * 1e-6 * speeds,
        inverted=inverted,
        negative=negative,
        seeds=seeds,
    )
    common = Common(
        dark=camera.dark,
        pixel_spread=camera.pixel_spread,
        drop=camera.drop,
        noise_on=camera.noise_on,
        max_count=contract.max_count,
    )
    shown = np.ascontiguousarray(_with_contrast(images, camera, rng))
    return Scenes(shown, drawn, common, bin_of)


def _draw_kind(said: str, one: str, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw 0 or 1 for each recording where `said` is "random"; else 1 where it is `one`."""
    if said == "random":
        return rng.integers(0, 2, batch)
    return np.full(batch, int(said == one), np.int64)


def _draw_speeds(camera: StaticRecipe, batch: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Draw how many times faster than the recipe says each recording is: log-uniform, [batch]."""
    if not camera.speed_spread:
        return np.ones(batch)
    octaves = np.log2(1.0 + camera.speed_spread)
    return np.exp2(rng.uniform(-octaves, octaves, batch))


def _draw_backgrounds(
    kinds: NDArray[np.int64], rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Draw what is behind objects: the index of another image of the batch, or -1, and the grey
    that is there in its place, uniform in [0, 1). Half of the backgrounds are grey (ours), all of
    them where the batch has no other image.
    """
    batch = len(kinds)
    if not (kinds == OBJECT).any():
        return np.full(batch, -1), np.zeros(batch)
    greys = rng.uniform(0.0, 1.0, batch)
    others = (np.arange(batch) + rng.integers(1, max(batch, 2), batch)) % batch
    even = rng.integers(0, 2, batch).astype(bool) | (batch == 1)
    return np.where(even, -1, others), greys


def _with_contrast(
    images: NDArray[np.uint8], camera: StaticRecipe, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Multiply each image's differences from its mean by a factor of its own, uniform within the
    camera's spread of 1; what is then below 0 or above 255 is clipped.
    """
    if not camera.contrast_spread:
        return images
    factors = 1.0 + camera.contrast_spread * rng.uniform(-1.0, 1.0, (len(images), 1, 1))
    means = images.mean((1, 2), keepdims=True)
    out: NDArray[np.uint8] = np.clip(np.rint(means + factors * (images - means)), 0, 255).astype(
        np.uint8
    )
    return out


def _places(
    moves: NDArray[np.float64], image: tuple[int, int], sensor: tuple[int, int]
) -> NDArray[np.float64]:
    """Compute the maps [B, 2, 3] from a pixel (row, column, 1) of the sensor to the place (row,
    column) on the image that it looks at, both counted from the first pixel's centre.
    """
    shown = shown_size(image, sensor)
    swapped = moves[:, ::-1][:, :, [1, 0, 2]]  # (y, x) from (y, x, 1)
    per_pixel = np.array([image[0] / shown[0], image[1] / shown[1]])
    places: NDArray[np.float64] = swapped * per_pixel[:, None]
    sensor_middle, image_middle = (np.array(size) / 2 - 0.5 for size in (sensor, image))
    places[:, :, 2] += image_middle - places[:, :, :2] @ sensor_middle
    return np.ascontiguousarray(places)  # one layout for every batch: kernels compile once
