"""Simulated recordings of images that drift and of objects before a background."""

import hashlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmkt.camera.frames import simulate_frames
from tmkt.camera.path import DRIFT, OBJECT, draw_kinds, draw_poses
from tmkt.events.frames import InputContract
from tmkt.recipe import StaticRecipe, load_recipe
from tmkt.train import RECIPES

CONTRACT = InputContract((36, 36), 10, 10_000, 255)
QUIET: dict[str, Any] = {"noise_hz": 0.0, "drop": 0.0, "shown": "positive", "polarity": "normal"}
STANDING: dict[str, Any] = {"speed_px_s": 0.0, "rotation_deg_s": 0.0, "zoom_per_s": 0.0}


def ramps(size: int) -> NDArray[np.uint8]:
    y, x = np.mgrid[:size, :size]
    slopes = ((7, 3, 0), (2, 11, 0), (0, 5, 1), (13, 1, 2))
    return np.stack([(a * y + b * x + c * y * x) % 256 for a, b, c in slopes]).astype(np.uint8)


def frames(
    camera: StaticRecipe,
    images: NDArray[np.uint8],
    contract: InputContract = CONTRACT,
    seed: int = 0,
) -> NDArray[np.uint8]:
    moves = np.tile(np.eye(2, 3), (len(images), 1, 1))
    return simulate_frames(images, moves, contract, camera, np.random.default_rng(seed))


@pytest.mark.parametrize(
    ("camera", "contract", "size", "events", "sha256"),
    [
        (
            load_recipe("nmnist-fewshot-sim", RECIPES).static,
            InputContract((34, 34), 10, 31_600, 1),
            28,
            16_248,
            "9237a40a0abc7947",
        ),
        (
            StaticRecipe(refractory_us=6_000, noise_hz=0.0, saccade_us=30_000),
            InputContract((20, 45), 4, 25_000, 255),
            12,
            2_240,
            "27e2621bc37dadb1",
        ),
    ],
)
def test_saccades_are_those_of_the_version_that_knew_no_other_path(
    camera: StaticRecipe, contract: InputContract, size: int, events: int, sha256: str
) -> None:
    """The hash is of that version's counts and of what its generator gave next."""
    rng = np.random.default_rng(5)
    moves = np.tile(np.eye(2, 3), (4, 1, 1)) + rng.uniform(-0.1, 0.1, (4, 2, 3))
    found = simulate_frames(ramps(size), moves, contract, camera, rng)
    assert found.sum() == events
    assert hashlib.sha256(found.tobytes() + rng.bytes(8)).hexdigest()[:16] == sha256


@pytest.mark.parametrize("path", ["drift", "object", "random"])
def test_one_generator_gives_one_batch_byte_for_byte(path: str) -> None:
    camera = StaticRecipe.model_validate(
        {"path": path, "speed_spread": 1.0, "contrast_spread": 0.5}
    )
    first, again, other = (frames(camera, ramps(34), seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_short_bins_hold_events_of_both_polarities_where_an_edge_passes() -> None:
    """A thin bar that crosses a pixel within a bin makes it brighter, then darker."""
    bar = np.zeros((1, 36, 36), np.uint8)
    bar[:, :, 18] = 255
    camera = StaticRecipe.model_validate(
        {"path": "drift", **QUIET, **STANDING, "speed_px_s": 1600.0, "refractory_us": 0}
    )
    found = frames(camera, bar, InputContract((36, 36), 2, 2_500, 1))[0]
    assert found.min(axis=1).sum() > 36  # pixels with both in one bin


@pytest.mark.parametrize("path", ["drift", "object"])
@pytest.mark.parametrize("moving", [{}, {"speed_px_s": 50.0}, {"rotation_deg_s": 90.0}])
def test_only_what_moves_sends_events(path: str, moving: dict[str, float]) -> None:
    camera = StaticRecipe.model_validate({"path": path, **QUIET, **STANDING, **moving})
    found = frames(camera, ramps(34))
    assert (found.sum() > 400) if moving else (found.sum() == 0)


def test_a_standing_image_sends_the_noise_that_was_asked_for() -> None:
    camera = StaticRecipe.model_validate({"path": "drift", **QUIET, **STANDING, "noise_hz": 20.0})
    expected = 20.0 * 0.1 * 36 * 36 * 40
    assert frames(camera, np.repeat(ramps(34), 10, axis=0)).sum() == pytest.approx(
        expected, rel=0.05
    )


def test_a_drift_without_turn_and_zoom_sends_what_a_camera_that_goes_straight_sends() -> None:
    """The two ways to see, each pixel sampled anew and a canvas shifted, agree."""
    straight = {**QUIET, "rotation_deg_s": 0.0, "zoom_per_s": 0.0, "threshold_spread": 0.0}
    camera = StaticRecipe.model_validate({"path": "drift", **straight})
    times = np.arange(0.0, 100_001.0, 2_500)[None]
    rng = np.random.default_rng(0)
    kinds = np.full(1, DRIFT)
    y, x, angle, size = draw_poses(camera, times, kinds, (36, 36), rng)[0].T
    assert np.ptp(np.hypot(np.diff(y), np.diff(x))) < 1e-9
    assert np.hypot(y[1] - y[0], x[1] - x[0]) == pytest.approx(50.0 * 0.0025)
    assert (angle == 0.0).all()
    assert (size == 1.0).all()
    found = frames(camera, ramps(34)[:1], InputContract((36, 36), 4, 25_000, 255))[0]
    padded = np.pad(ramps(34)[0], 20).astype(float) / 255 + 0.3
    grid = np.arange(36)
    light = []
    for step in range(41):
        top, left = int(np.floor(19 - y[step])), int(np.floor(19 - x[step]))
        fy, fx = 19 - y[step] - top, 19 - x[step] - left
        rows = (1 - fy) * padded[top + grid] + fy * padded[top + 1 + grid]
        light.append((1 - fx) * rows[:, left + grid] + fx * rows[:, left + 1 + grid])
    passed = np.abs(np.diff(np.log(light), axis=0)).sum(0)  # of log intensity, by each pixel
    count = found.sum((0, 1))
    assert count[passed == 0].sum() == 0
    assert np.corrcoef(passed.ravel(), count.ravel())[0, 1] > 0.9


def test_drifts_turn_round_before_they_leave_the_sensor() -> None:
    camera = StaticRecipe(path="object", speed_px_s=300.0, zoom_per_s=2.0, rotation_deg_s=90.0)
    times = np.tile(np.arange(0.0, 2e6, 2_500), (50, 1))
    poses = draw_poses(camera, times, np.full(50, OBJECT), (36, 48), np.random.default_rng(0))
    y, x, angle, size = np.moveaxis(poses, 2, 0)
    assert 8.5 < np.hypot(y, x).max() <= 9.0
    assert np.ptp(np.arctan2(y[:, 0], x[:, 0])) > np.pi  # all directions
    assert 0.5 * np.exp(-0.25) < size.min() < 0.5
    assert 1.1 < size.max() < np.exp(0.25)
    assert np.radians(75.0) < np.abs(np.diff(angle)[:, 0]).max() / 0.0025 <= np.radians(90.0)


def test_nothing_but_the_object_sends_events_and_it_stands_before_images_and_greys() -> None:
    camera = StaticRecipe.model_validate({"path": "object", **QUIET, "threshold": 0.1})
    images = np.concatenate([ramps(34), np.zeros((60, 34, 34), np.uint8)])
    found = frames(camera, images, seed=1).sum((1, 2))
    times = np.tile(np.arange(0.0, 100_001.0, 2_500), (64, 1))
    poses = draw_poses(camera, times, np.full(64, OBJECT), (36, 36), np.random.default_rng(1))
    y, x = np.mgrid[:36, :36] - 17.5
    never = np.ones((64, 36, 36), bool)  # covered
    for i, step in np.ndindex(*times.shape):
        py, px, angle, size = poses[i, step]
        u = (np.cos(angle) * (y - py) + np.sin(angle) * (x - px)) / size / 17.0
        v = (np.cos(angle) * (x - px) - np.sin(angle) * (y - py)) / size / 17.0
        never[i] &= u**4 + v**4 > 1.0001
    assert 0.2 < never.mean() < 0.8
    assert found[never].sum() == 0
    black = found[4:].sum((1, 2))
    assert (black == 0).sum() > 10  # before a black image
    assert (black > 50).sum() > 20  # before a grey


def test_an_object_that_is_alone_in_its_batch_stands_before_a_grey() -> None:
    camera = StaticRecipe.model_validate({"path": "object", **QUIET})
    assert frames(camera, ramps(34)[:1]).sum() > 100


def test_a_random_path_draws_each_of_the_three() -> None:
    kinds = draw_kinds(StaticRecipe(path="random"), 300, np.random.default_rng(0))
    assert np.bincount(kinds, minlength=3).min() > 80
    mixed = frames(StaticRecipe(path="random"), np.repeat(ramps(34), 3, axis=0))
    assert (mixed.sum((1, 2, 3, 4)) > 50).all()


def test_less_contrast_gives_fewer_events() -> None:
    images = np.full((60, 34, 34), 100, np.uint8)
    images[:, ::2] += 30
    camera = {"path": "object", **QUIET, "threshold_spread": 0.0, "object_least_size": 1.0}
    plain, spread = (
        frames(StaticRecipe.model_validate({**camera, "contrast_spread": s}), images).sum(
            (1, 2, 3, 4)
        )
        for s in (0.0, 1.0)
    )
    assert spread.min() < plain.min() / 2
    assert spread.max() > plain.max()


def test_a_faster_recording_is_one_with_longer_bins_and_its_noise_grows_with_it() -> None:
    camera = {**QUIET, "amplitude_px": 0.0, "noise_hz": 20.0}
    spread = StaticRecipe.model_validate({**camera, "speed_spread": 3.0})
    events = frames(spread, np.repeat(ramps(34), 100, axis=0)).sum((1, 2, 3, 4))
    share = events / (20.0 * 0.1 * 36 * 36)
    assert 0.2 < share.min() < 0.3
    assert 3.8 < share.max() < 4.2
    assert np.median(share) == pytest.approx(1.0, rel=0.3)  # uniform in the logarithm
    drift = {**QUIET, "path": "drift", "threshold_spread": 0.0, "speed_spread": 3.0}
    moved = frames(StaticRecipe.model_validate(drift), np.repeat(ramps(34)[:1], 400, axis=0))
    many = np.log(moved.sum((1, 2, 3, 4)))
    assert np.corrcoef(np.log(share), many)[0, 1] > 0.9  # the same draw of speeds


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    path=st.sampled_from(["drift", "object", "random"]),
    speed=st.floats(0.0, 1e5),
    rotation=st.floats(0.0, 1e5),
    zoom=st.floats(0.0, 1e3),
    refractory_us=st.integers(0, 10**9),
    bin_us=st.integers(1, 100_000),
    sensor=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_drift_on_any_sensor_gives_counts_within_bounds(
    seed: int,
    path: str,
    speed: float,
    rotation: float,
    zoom: float,
    refractory_us: int,
    bin_us: int,
    sensor: tuple[int, int],
) -> None:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (3, max(sensor[0] // 2, 1), sensor[1]), np.uint8)
    camera = StaticRecipe.model_validate(
        {
            "path": path,
            "speed_px_s": speed,
            "rotation_deg_s": rotation,
            "zoom_per_s": zoom,
            "refractory_us": refractory_us,
            "speed_spread": 15.0,
            "contrast_spread": 1.0,
            "object_least_size": 0.01,
            "threshold": 0.05,
        }
    )
    found = frames(camera, images, InputContract(sensor, 4, bin_us, 2), seed)
    assert found.shape == (3, 4, 2, *sensor)
    assert found.max() <= 2
