from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmkt.datasets.registry import dataset
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.events.types import Events
from tmkt.readers.atis import read_bin


def reference(events: Events, contract: InputContract) -> NDArray[np.int64]:
    """Count events one by one in Python integers, before saturation: the definition."""
    counts = np.zeros((contract.bins, *contract.shape), np.int64)
    for t, x, y, p in zip(
        events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True
    ):
        b = (t - int(events.t[0])) // contract.bin_us
        if 0 <= b < contract.bins:
            counts[b, p, y, x] += 1
    return counts


def made(t: list[int], seed: int, sensor: tuple[int, int]) -> Events:
    rng = np.random.default_rng(seed)
    n = len(t)
    x, y = rng.integers(0, sensor[1], n, np.uint16), rng.integers(0, sensor[0], n, np.uint16)
    return Events(np.array(t, np.int64), x, y, rng.integers(0, 2, n, np.uint8), sensor)


@settings(max_examples=200, deadline=None)
@given(
    t=st.lists(st.one_of(st.integers(0, 60), st.integers(0, 2**50)), max_size=80),
    start=st.sampled_from([0, 5, 1_600_000_000_000_000]),
    bins=st.integers(1, 12),
    bin_us=st.integers(1, 9),
    max_count=st.sampled_from([1, 2, 255]),
    ordered=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_frames_are_the_definition(
    t: list[int], start: int, bins: int, bin_us: int, max_count: int, ordered: bool, seed: int
) -> None:
    stamps = [start + value for value in (sorted(t) if ordered else t)]
    contract = InputContract((3, 2), bins, bin_us, max_count)
    events = made(stamps, seed, contract.sensor)
    frames = events_to_frames(events, contract)
    assert frames.dtype == np.uint8
    assert np.array_equal(frames, np.minimum(reference(events, contract), max_count))


def test_an_event_on_a_bin_edge_belongs_to_the_later_bin() -> None:
    contract = InputContract((1, 1), 3, 10, 255)
    events = Events(
        np.array([7, 16, 17, 26, 27, 36, 37], np.int64),
        *(np.zeros(7, np.uint16) for _ in "xy"),
        np.ones(7, np.uint8),
        (1, 1),
    )
    assert events_to_frames(events, contract)[:, 1, 0, 0].tolist() == [
        2,
        2,
        2,
    ]  # 37 is after the last bin


@pytest.mark.parametrize("max_count", [1, 254, 255])
def test_counts_saturate_and_never_wrap(max_count: int) -> None:
    n = 700
    events = Events(
        np.zeros(n, np.int64),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint8),
        (1, 1),
    )
    assert events_to_frames(events, InputContract((1, 1), 1, 1, max_count)).tolist() == [
        [[[max_count]], [[0]]]
    ]


def test_real_recordings_lose_no_event_but_those_after_the_last_bin(shared_data: Path) -> None:
    contract = InputContract((34, 34), 10, 30_000, 255)
    for recording in dataset("nmnist").find_recordings(shared_data / "nmnist")[::50]:
        events = read_bin(recording.path, (34, 34))
        frames = events_to_frames(events, contract)
        assert np.array_equal(frames, reference(events, contract))
        assert frames.sum() == np.count_nonzero(events.t - events.t[0] < 300_000)
        assert frames.sum() > 0.95 * len(events)


def test_frames_of_another_sensor_are_a_programming_error() -> None:
    events = made([0], 0, (4, 4))
    with pytest.raises(ValueError, match="sensor"):
        events_to_frames(events, InputContract((34, 34), 1, 1, 1))
