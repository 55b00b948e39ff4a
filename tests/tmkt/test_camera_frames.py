from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmkt.camera.frames import simulate_frames
from tmkt.camera.path import CORNERS, draw_paths
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.recipe import StaticRecipe

CONTRACT = InputContract((34, 34), 10, 31_600, 255)
STILL: dict[str, Any] = {
    "threshold_spread": 0.0,
    "amplitude_spread": 0.0,
    "direction_spread": 0.0,
    "timing_spread": 0.0,
}
PLAIN = StaticRecipe(
    **STILL,
    pixel_spread=0.0,
    noise_hz=0.0,
    drop=0.0,
    moving=1.0,
    polarity="normal",
    shown="positive",
)
BLACK = np.zeros((1, 28, 28), np.uint8)


def disc(light: int = 255, background: int = 0) -> NDArray[np.uint8]:
    y, x = np.mgrid[:28, :28] - 13.5
    return np.where(y**2 + x**2 < 49, light, background).astype(np.uint8)[None]


def unmoved(batch: int) -> NDArray[np.float64]:
    return np.tile(np.eye(2, 3), (batch, 1, 1))


def frames(
    images: NDArray[np.uint8],
    camera: StaticRecipe,
    seed: int = 0,
    contract: InputContract = CONTRACT,
) -> NDArray[np.int64]:
    return simulate_frames(
        images, unmoved(len(images)), contract, camera, np.random.default_rng(seed)
    ).astype(np.int64)


def changed(**values: Any) -> StaticRecipe:
    return StaticRecipe.model_validate({**PLAIN.model_dump(), **values})


def test_one_generator_gives_one_batch_byte_for_byte() -> None:
    images = np.repeat(disc(), 3, axis=0)
    first, again, other = (frames(images, StaticRecipe(), seed) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert not np.array_equal(first[0], first[1])  # a camera of its own for each


def _splitmix(state: int) -> tuple[int, int]:
    state = (state + 0x9E3779B97F4A7C15) % 2**64
    z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return state, z ^ (z >> 31)


def test_counts_are_those_of_the_camera_written_without_its_speed() -> None:
    """One pixel after the other, in logarithms and double precision; nothing is left out of the
    model but drop and noise.
    """
    camera, image = changed(threshold=0.25, pixel_spread=0.2, refractory_us=6_000), disc()[0]
    found = frames(disc(), camera)[0]
    rng = np.random.default_rng(0)
    times = np.arange(0.0, 316_001.0, 2_500)
    path = draw_paths(camera, times, 1, rng)[0]
    rng.uniform(size=1)  # the recording's threshold, without spread
    state = int(rng.integers(0, 2**64, 1, np.uint64)[0])
    padded = np.pad(image, 13).astype(float) / 255
    expected = np.zeros_like(found)
    for row, column in np.ndindex(34, 34):
        state, bits = _splitmix(state)
        normal = (sum((bits >> 16 * i) % 65536 + 0.5 for i in range(4)) / 65536 - 2) * 3**0.5
        theta = 0.25 * max(1 + 0.2 * normal, 0.25)
        state, bits = _splitmix(state)
        y, x = row + 10 - path[:, 0], column + 10 - path[:, 1]
        top, left = np.floor(y).astype(int), np.floor(x).astype(int)
        fy, fx = y - top, x - left
        upper = (1 - fx) * padded[top, left] + fx * padded[top, left + 1]
        lower = (1 - fx) * padded[top + 1, left] + fx * padded[top + 1, left + 1]
        log = np.log((1 - fy) * upper + fy * lower + 0.3)
        level, asleep = log[0] + theta * (2 * (bits >> 11) * 2.0**-53 - 1), 0
        for step in range(1, len(times)):
            if asleep:
                asleep -= 1
                level = log[step]
            elif abs(log[step] - level) >= theta:
                brighter = log[step] > level
                level += theta if brighter else -theta
                expected[
                    min(int((times[step] - 1250) // 31_600), 9), int(brighter), row, column
                ] += 1
                asleep = 2
    assert expected.sum() > 1000
    assert (
        np.abs(found - expected).sum() < 0.005 * expected.sum()
    )  # single precision moves a crossing by a step now and then


def test_polarity_1_is_where_it_gets_brighter_and_inverted_where_it_gets_darker() -> None:
    # the first saccade moves the image down: a bright disc brightens below its middle
    normal, inverted = (
        frames(disc(), changed(polarity=polarity)).sum(0)[:3].sum(0)
        for polarity in ("normal", "inverted")
    )
    below, above = np.s_[21:26, 12:22], np.s_[9:13, 12:22]
    assert normal[1][below].sum() > 20 * normal[0][below].sum()
    assert normal[0][above].sum() > 20 * normal[1][above].sum()
    assert np.array_equal(normal, inverted[::-1])


def test_a_negative_is_shown_dark_on_light_everywhere() -> None:
    negative = frames(disc(), changed(shown="negative"))
    assert np.array_equal(
        negative[:, :, :, 0], frames(disc(), PLAIN)[:, :, :, 0]
    )  # nothing moves at the edge of the sensor
    below = negative.sum(0)[:3].sum(0)[:, 21:26, 12:22]
    assert below[0].sum() > 20 * below[1].sum()
    wide = np.full((1, 28, 28), 255, np.uint8)
    wide[:, 5:-5, 5:-5] -= disc()[:, 5:-5, 5:-5]  # its negative is the disc but for a bright rim
    inner = np.s_[:, :, :, 11:23, 11:23]
    assert np.array_equal(
        frames(wide, changed(shown="negative", amplitude_px=2.0))[inner],
        frames(disc(), changed(amplitude_px=2.0))[inner],
    )


def test_random_polarity_and_direction_differ_between_recordings() -> None:
    images = np.repeat(disc(), 40, axis=0)
    below = frames(images, changed(polarity="random"))[:, :3, :, 21:26, 12:22].sum((1, 3, 4))
    assert 5 < (below[:, 1] > below[:, 0]).sum() < 35
    turned = frames(images, changed(direction_spread=180.0))[:, :3, :, 21:26, 12:22].sum((1, 3, 4))
    assert 5 < (turned[:, 1] > turned[:, 0]).sum() < 35


@pytest.mark.parametrize(
    ("key", "values"),
    [("threshold", (0.6, 0.3, 0.15)), ("amplitude_px", (1.0, 3.0, 6.0)), ("drop", (0.8, 0.4, 0.0))],
)
def test_counts_grow_with_a_lower_threshold_a_wider_movement_and_fewer_losses(
    key: str, values: tuple[float, ...]
) -> None:
    counts = [frames(disc(), changed(**{key: value})).sum() for value in values]
    assert counts == sorted(set(counts))


def test_dropped_events_are_the_share_that_was_asked_for() -> None:
    images = np.repeat(disc(), 20, axis=0)
    whole, rest = (frames(images, changed(drop=drop)).sum() for drop in (0.0, 0.3))
    assert rest / whole == pytest.approx(0.7, abs=0.02)


def test_noise_is_as_often_on_as_was_asked_for() -> None:
    found = frames(np.repeat(BLACK, 20, axis=0), changed(noise_hz=20.0, noise_on=0.9)).sum(
        (0, 1, 3, 4)
    )
    assert found[1] / found.sum() == pytest.approx(0.9, abs=0.01)
    assert frames(BLACK, changed(noise_hz=20.0, noise_on=1.0))[:, :, 0].sum() == 0


def test_noise_alone_has_the_rate_that_was_asked_for_in_both_polarities_and_all_bins() -> None:
    found = frames(np.repeat(BLACK, 20, axis=0), changed(noise_hz=20.0))
    expected = 20.0 * 0.316 * 34 * 34 * 20
    assert found.sum() == pytest.approx(expected, rel=0.02)
    assert np.allclose(found.sum((0, 1, 3, 4)), expected / 2, rtol=0.03)
    assert np.allclose(found.sum((0, 2, 3, 4)), expected / 10, rtol=0.05)


def test_nothing_that_moves_and_no_noise_give_no_event() -> None:
    assert frames(BLACK, PLAIN).sum() == 0
    assert frames(disc(), changed(amplitude_px=0.0)).sum() == 0


def test_a_refractory_pixel_sends_fewer_events_and_none_within_its_time() -> None:
    contract = InputContract((34, 34), 126, 2_500, 255)
    found = frames(disc(), changed(threshold=0.02, refractory_us=10_000), contract=contract)[0].sum(
        1
    )
    for start in range(found.shape[0] - 3):
        assert found[start : start + 4].sum(0).max() <= 1
    assert (
        100
        < found.sum()
        < frames(disc(), changed(threshold=0.02, refractory_us=0), contract=contract).sum() / 2
    )


def test_a_recording_that_would_take_forever_is_refused() -> None:
    with pytest.raises(InputError, match="shorter or fewer bins"):
        frames(disc(), PLAIN, contract=InputContract((34, 34), 1000, 10**6, 1))


def test_counts_stop_at_the_most_that_the_network_takes() -> None:
    camera = changed(threshold=0.05, noise_hz=30.0)
    free = frames(disc(), camera)
    assert free.max() > 3
    for most in (1, 3):
        held = frames(disc(), camera, contract=InputContract((34, 34), 10, 31_600, most))
        assert held.max() == most
    binary = frames(
        disc(), changed(threshold=0.05), contract=InputContract((34, 34), 10, 31_600, 1)
    )
    assert np.array_equal(binary > 0, frames(disc(), changed(threshold=0.05)) > 0)


def test_an_image_that_is_moved_moves_its_events_and_a_larger_one_is_shown_at_its_own_size() -> (
    None
):
    still = frames(disc(), PLAIN)[0]
    moves = unmoved(1)
    moves[0, :, 2] = (
        3.0,
        -4.0,
    )  # a pixel of the moved image comes from 3 further right and 4 further up
    moved = simulate_frames(disc(), moves, CONTRACT, PLAIN, np.random.default_rng(0))[0].astype(
        np.int64
    )
    middle = [
        np.array([(np.arange(34) * f.sum((0, 1, a))).sum() / f.sum() for a in (2, 3)])
        for f in (still, moved)
    ]  # x, then y
    assert np.allclose(middle[1] - middle[0], [4.0, -3.0][::-1], atol=0.3)
    wide = simulate_frames(
        np.zeros((1, 40, 60), np.uint8) + 200,
        unmoved(1),
        InputContract((48, 64), 5, 60_000, 255),
        PLAIN,
        np.random.default_rng(0),
    )
    rows, columns = (np.flatnonzero(wide[0].sum((0, 1, axis))) for axis in (3, 2))
    assert rows.min() < 8
    assert rows.max() > 40
    assert columns.min() < 6
    assert columns.max() > 58


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    threshold=st.floats(0.05, 3.0),
    amplitude=st.floats(0.0, 40.0),
    saccade_us=st.integers(1000, 10**6),
    bin_us=st.integers(500, 100_000),
    sensor=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_any_camera_on_any_sensor_gives_counts_within_bounds(
    seed: int,
    threshold: float,
    amplitude: float,
    saccade_us: int,
    bin_us: int,
    sensor: tuple[int, int],
) -> None:
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (2, max(sensor[0] // 3, 1), max(sensor[1] // 3, 1)), np.uint8)
    camera = StaticRecipe(threshold=threshold, amplitude_px=amplitude, saccade_us=saccade_us)
    found = simulate_frames(image, unmoved(2), InputContract(sensor, 4, bin_us, 3), camera, rng)
    assert found.shape == (2, 4, 2, *sensor)
    assert found.max() <= 3


def test_the_path_of_a_camera_without_spread_is_the_triangle_and_goes_on_after_it() -> None:
    camera = changed(amplitude_px=8.0)
    path = draw_paths(
        camera,
        np.array([0.0, 50_000, 100_000, 200_000, 299_999.999, 350_000]),
        2,
        np.random.default_rng(0),
    )
    corners = 8.0 * np.array(CORNERS)
    assert np.allclose(
        path[0],
        [corners[0], corners[:2].mean(0), corners[1], corners[2], corners[3], corners[:2].mean(0)],
        atol=1e-6,
    )
    assert np.array_equal(path[0], path[1])


def test_the_camera_rests_after_the_share_of_a_saccade_in_which_it_moves() -> None:
    path = draw_paths(
        changed(moving=0.5),
        np.array([25_000, 50_000, 99_000, 125_000, 160_000]),
        1,
        np.random.default_rng(0),
    )[0]
    corners = PLAIN.amplitude_px * np.array(CORNERS)
    assert np.allclose(
        path, [corners[:2].mean(0), corners[1], corners[1], corners[1:3].mean(0), corners[2]]
    )


def test_the_spreads_of_the_path_are_within_what_the_recipe_says() -> None:
    camera = changed(amplitude_px=10.0, amplitude_spread=0.3, direction=90.0, direction_spread=20.0)
    ends = draw_paths(camera, np.array([0.0, 200_000]), 500, np.random.default_rng(0))
    base = ends[:, 1] - ends[:, 0]  # in the triangle: along x
    angle = np.degrees(np.arctan2(base[:, 0], base[:, 1]))
    length = np.hypot(*base.T)
    assert 7.0 < length.min() < 7.5
    assert 12.5 < length.max() < 13.0
    assert np.ptp(np.abs(angle)) == pytest.approx(40.0, abs=2.0)
    assert np.median(np.abs(angle)) == pytest.approx(90.0, abs=2.0)
