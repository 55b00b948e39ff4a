from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from tmkt.camera import Camera, record
from tmkt.datasets.digits import load_images
from tmkt.errors import InputError
from tmkt.readers.atis import encode_bin
from tmkt.readers.strict import check_events

QUIET = Camera(noise_hz=0.0)


def disc(light: int, background: int = 0) -> NDArray[np.uint8]:
    y, x = np.mgrid[:28, :28] - 13.5
    return np.where(y**2 + x**2 < 49, light, background).astype(np.uint8)


def test_one_seed_gives_one_recording_byte_for_byte() -> None:
    first, again, other = (
        encode_bin(record(disc(255), seed), "camera").tobytes() for seed in (7, 7, 8)
    )
    assert first == again
    assert first != other


def test_a_recording_passes_the_check_of_the_readers_and_is_like_nmnist_in_size_and_length() -> (
    None
):
    images = load_images().images
    counts = []
    for i in range(0, 200, 10):
        events = record(images[i], i)
        check_events(events, "camera")
        counts.append(len(events))
        assert 0.27e6 < events.t[-1] - events.t[0] <= 0.3e6
    assert min(counts) > 2000
    assert max(counts) < 6000


def test_more_contrast_in_the_image_gives_more_events() -> None:
    counts = [len(record(disc(light), 0, QUIET)) for light in (60, 120, 180, 255)]
    assert counts == sorted(set(counts))


def test_a_lower_threshold_gives_more_events() -> None:
    counts = [
        len(record(disc(255), 0, replace(QUIET, threshold=threshold)))
        for threshold in (0.5, 0.3, 0.15)
    ]
    assert counts == sorted(set(counts))


def test_polarity_1_is_where_it_gets_brighter() -> None:
    # the first saccade moves the image downwards: a bright disc brightens below its middle and
    # darkens above
    for light, background, below in ((255, 0, 1), (0, 255, 0)):
        events = record(disc(light, background), 0, QUIET)
        inner = (
            (events.t < 100_000)
            & (events.x > 9)
            & (events.x < 24)
            & (np.abs(events.y.astype(int) - 17) < 12)
        )
        low, high = events.p[inner & (events.y > 20)], events.p[inner & (events.y < 14)]
        assert np.mean(low == below) > 0.95
        assert np.mean(high == below) < 0.05


def test_events_come_in_three_bursts_of_100_ms() -> None:
    events = record(disc(255), 0)
    per_10_ms = np.bincount(events.t // 10_000, minlength=31)[:30].reshape(3, 10)
    assert (per_10_ms[:, 3:7].mean(1) > 5 * per_10_ms[:, [0, 9]].mean(1)).all()


def test_a_pixel_is_silent_for_the_refractory_period() -> None:
    events = record(disc(255), 0, replace(Camera(), noise_hz=50.0))
    pixel = events.y.astype(np.int64) * 34 + events.x
    order = np.lexsort((events.t, pixel))
    same = np.diff(pixel[order]) == 0
    assert np.diff(events.t[order])[same].min() >= Camera().refractory_us


def test_noise_alone_has_the_rate_that_was_asked_for() -> None:
    events = record(np.zeros((28, 28), np.uint8), 0, Camera(noise_hz=10.0))
    expected = 10.0 * 34 * 34 * 0.3
    assert (
        abs(len(events) - expected) < 5 * expected**0.5 + 0.02 * expected
    )  # some fall into the refractory period


def test_an_image_without_contrast_and_no_noise_is_refused() -> None:
    with pytest.raises(InputError, match="made no event"):
        record(np.zeros((28, 28), np.uint8), 0, QUIET)


def test_more_events_than_first_expected_are_all_kept() -> None:
    fine = replace(QUIET, threshold=0.02, refractory_us=0)
    coarse = replace(QUIET, threshold=0.2, refractory_us=0)
    assert len(record(disc(255), 0, fine)) > 8192
    assert 8 < len(record(disc(255), 0, fine)) / len(record(disc(255), 0, coarse)) < 12


def test_a_camera_that_would_fire_without_end_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="positive"):
        Camera(threshold=0.0)
