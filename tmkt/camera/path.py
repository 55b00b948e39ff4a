"""Path of the image while the camera makes its saccades."""

import numpy as np
from numpy.typing import NDArray

from tmkt.recipe import StaticRecipe

# Before, between and after the saccades, (y, x) in units of the triangle's height and base: the
# triangle that the camera of N-MNIST was turned along (Orchard, Jayawant, Cohen and Thakor 2015,
# Frontiers in Neuroscience 9:437).
CORNERS = ((-0.5, -0.5), (0.5, 0.0), (-0.5, 0.5), (-0.5, -0.5))


def bell(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the share of a movement that is done at the share `u` of its time.

    The speed is bell-shaped (minimum jerk, Flash and Hogan 1985).
    """
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


def draw_paths(
    camera: StaticRecipe, times_us: NDArray[np.float64], batch: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw paths: positions (y, x) of the image's middle at `times_us`, in pixels from the sensor's
    middle, float64 [batch, times, 2].

    Each recording has its own direction, height and base of the triangle, and length of each
    saccade, uniform within the camera's spreads (ours). After the third saccade the first one
    begins again.
    """
    size = camera.amplitude_px * (
        1.0 + camera.amplitude_spread * rng.uniform(-1.0, 1.0, (batch, 1, 2))
    )
    angle = np.radians(camera.direction + camera.direction_spread * rng.uniform(-1.0, 1.0, batch))
    length = camera.saccade_us * (1.0 + camera.timing_spread * rng.uniform(-1.0, 1.0, (batch, 3)))
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]).transpose(
        2, 0, 1
    )
    corners = np.einsum("bij,bcj->bci", turn, size * np.array(CORNERS))

    ends = np.cumsum(length, axis=1)
    time = times_us[None, :] % ends[:, 2:]
    saccade = (time[:, :, None] >= ends[:, None, :2]).sum(2)  # 0, 1 or 2
    start = np.take_along_axis(np.pad(ends, ((0, 0), (1, 0))), saccade, axis=1)
    share = (time - start) / np.take_along_axis(length, saccade, axis=1) / camera.moving
    done = bell(np.minimum(share, 1.0))[:, :, None]
    before, after = (np.take_along_axis(corners, (saccade + i)[:, :, None], axis=1) for i in (0, 1))
    positions: NDArray[np.float64] = before + done * (after - before)
    return positions
