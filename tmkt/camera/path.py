"""Paths of what moves before the camera: saccades, a drifting image, an object."""

import numpy as np
from numpy.typing import NDArray

from tmkt.recipe import StaticRecipe

# Before, between and after the saccades, (y, x) in units of the triangle's height and base: the
# triangle that the camera of N-MNIST was turned along (Orchard, Jayawant, Cohen and Thakor 2015,
# Frontiers in Neuroscience 9:437).
CORNERS = ((-0.5, -0.5), (0.5, 0.0), (-0.5, 0.5), (-0.5, -0.5))
SACCADES, DRIFT, OBJECT = 0, 1, 2
# Where a drift turns round (ours): the image's middle this far from the sensor's, as a share of
# the sensor's shorter side, and the size's logarithm this far from 0 (22 % smaller, 28 % larger).
REACH_SHARE, ZOOM_REACH = 0.25, 0.25


def bell(u: NDArray[np.float64]) -> NDArray[np.float64]:
    """Compute the share of a movement that is done at the share `u` of its time.

    The speed is bell-shaped (minimum jerk, Flash and Hogan 1985).
    """
    return u**3 * (10.0 - 15.0 * u + 6.0 * u**2)


def draw_kinds(camera: StaticRecipe, batch: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw what moves in each recording: SACCADES, DRIFT or OBJECT, int64 [batch]."""
    if camera.path == "random":
        return rng.integers(0, 3, batch)
    kind = {"saccades": SACCADES, "drift": DRIFT, "object": OBJECT}[camera.path]
    return np.full(batch, kind, np.int64)


def draw_poses(
    camera: StaticRecipe,
    times_us: NDArray[np.float64],
    kinds: NDArray[np.int64],
    sensor: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw how the image lies at `times_us` [batch, times]: poses (y, x, angle, size), float64
    [batch, times, 4].

    y and x are the image's middle in pixels from the sensor's middle, the angle is in radians, from
    y to x, the size relative.
    """
    batch = len(kinds)
    poses = np.zeros((*times_us.shape, 4))
    saccades = kinds == SACCADES
    if saccades.any():
        poses[..., :2] = draw_paths(camera, times_us, batch, rng)
        poses[..., 3] = 1.0
    if not saccades.all():
        drifts = _draw_drifts(camera, times_us, kinds, sensor, rng)
        poses[~saccades] = drifts[~saccades]
    return poses


def draw_paths(
    camera: StaticRecipe, times_us: NDArray[np.float64], batch: int, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw paths of saccades: positions (y, x) of the image's middle at `times_us`, [times] or
    [batch, times], in pixels from the sensor's middle, float64 [batch, times, 2].

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
    time = np.atleast_2d(times_us) % ends[:, 2:]
    saccade = (time[:, :, None] >= ends[:, None, :2]).sum(2)  # 0, 1 or 2
    start = np.take_along_axis(np.pad(ends, ((0, 0), (1, 0))), saccade, axis=1)
    share = (time - start) / np.take_along_axis(length, saccade, axis=1) / camera.moving
    done = bell(np.minimum(share, 1.0))[:, :, None]
    before, after = (np.take_along_axis(corners, (saccade + i)[:, :, None], axis=1) for i in (0, 1))
    positions: NDArray[np.float64] = before + done * (after - before)
    return positions


def _draw_drifts(
    camera: StaticRecipe,
    times_us: NDArray[np.float64],
    kinds: NDArray[np.int64],
    sensor: tuple[int, int],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Draw the poses of images and objects that drift (`draw_poses`).

    Each recording moves at `speed_px_s` along a line through the middle, in a random direction and
    from a random place on it, and turns and zooms at constant rates that are uniform within the
    camera's limits. Movement and zoom turn round at their reach, so that nothing leaves the sensor
    for good (all of it ours). An object is smaller than the image.
    """
    batch = len(times_us)
    reach = REACH_SHARE * min(sensor)
    direction = rng.uniform(0.0, 2.0 * np.pi, batch)[:, None]
    start, turn, zoom = rng.uniform(-1.0, 1.0, (3, batch, 1))
    size = rng.uniform(camera.object_least_size, 1.0, batch)
    size[kinds != OBJECT] = 1.0

    seconds = times_us * 1e-6
    along = _to_and_fro(start * reach + camera.speed_px_s * seconds, reach)
    grown = _to_and_fro(zoom * camera.zoom_per_s * seconds, ZOOM_REACH)
    poses: NDArray[np.float64] = np.stack(
        [
            along * np.sin(direction),
            along * np.cos(direction),
            turn * np.radians(camera.rotation_deg_s) * seconds,
            size[:, None] * np.exp(grown),
        ],
        axis=2,
    )
    return poses


def _to_and_fro(x: NDArray[np.float64], reach: float) -> NDArray[np.float64]:
    """Reflect `x` at -reach and reach: a triangle wave, equal to `x` between the two."""
    return np.abs((x - reach) % (4.0 * reach) - 2.0 * reach) - reach
