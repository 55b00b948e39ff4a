"""Tests of mapping and binning: from a sensor's events to the frames of a network."""

import numpy as np
import pytest
from example_streams import cut, make_events, part, plain_frames
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.binning import Binner
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.events.mapping import choose_mapping
from tmkt.events.sites import view_sites
from tmkt.events.types import Events, View


def binned(binner: Binner, chunks: list[Events]) -> dict[int, tuple[int, NDArray[np.uint8]]]:
    found = [bin_ for chunk in chunks for bin_ in binner.push(chunk)] + list(binner.end())
    assert [bin_.index for bin_ in found] == sorted({bin_.index for bin_ in found})
    return {bin_.index: (bin_.events, bin_.frame) for bin_ in found}


def test_a_large_sensor_is_seen_from_its_centre_as_coarsely_as_it_fits() -> None:
    mapping = choose_mapping((480, 640), InputContract((34, 34), 10, 1000, 1))
    assert (mapping.factor, mapping.left, mapping.top) == (14, 82, 2)
    assert mapping.describe().startswith(
        "sensor 640 x 480, columns 82-557 and rows 2-477 onto 34 x 34 sites, 14 x 14 pixels a site"
    )


def test_a_small_sensor_is_centred() -> None:
    mapping = choose_mapping((20, 31), InputContract((34, 34), 10, 1000, 1))
    assert (mapping.factor, mapping.left, mapping.top) == (1, -2, -7)
    sites = mapping.sites()
    assert sites.rows.tolist() == list(range(7, 27))
    assert sites.columns.tolist() == list(range(2, 33))


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.one_of(st.none(), st.integers(1, 5)),
    st.booleans(),
    st.sampled_from(["sum", "or"]),
    st.sampled_from([1, 3, 255]),
    st.integers(0, 2**32 - 1),
)
def test_every_event_goes_where_the_rule_says(
    sensor: tuple[int, int],
    size: tuple[int, int],
    factor: int | None,
    corner: bool,
    combine: str,
    most: int,
    seed: int,
) -> None:
    if factor is not None and factor > max(sensor):
        factor = None
    contract = InputContract(size, 4, 1000, most)
    place = (sensor[1] // 3, sensor[0] // 2) if corner else None
    mapping = choose_mapping(sensor, contract, place, factor, combine)  # type: ignore[arg-type]
    events = make_events(seed, sensor, [0])
    expected = np.zeros((2, *size), np.int64)
    for x, y, p in zip(events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True):
        column, row = (x - mapping.left) // mapping.factor, (y - mapping.top) // mapping.factor
        if 0 <= row < size[0] and 0 <= column < size[1]:
            expected[p, row, column] += 1
    binner = Binner(mapping, 10**9)
    ((met, frame),) = binned(binner, [events]).values()
    assert met == expected.sum() == len(events) - binner.unseen
    np.testing.assert_array_equal(frame, np.minimum(expected, 1 if combine == "or" else most))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.lists(st.sampled_from([0, 7, 900, 5000]), min_size=1, max_size=4),
    st.lists(st.integers(0, 800), max_size=8),
)
def test_bins_are_those_of_plain_counting_whatever_the_chunks(
    seed: int, gaps: list[int], ends: list[int]
) -> None:
    contract = InputContract((5, 6), 4, 300, 2)
    events = make_events(seed, contract.sensor, gaps)
    for origin, origin_us in (
        ("first", int(events.t[0])),
        ("clock", int(events.t[0]) // 300 * 300),
    ):
        expected = plain_frames(events, 300, origin_us, 2)
        found = binned(
            Binner(choose_mapping(contract.sensor, contract), 300, origin), cut(events, ends)
        )  # type: ignore[arg-type]
        assert set(found) == set(np.flatnonzero(expected.any((1, 2, 3))).tolist())
        for index, (_, frame) in found.items():
            np.testing.assert_array_equal(frame, expected[index])


def test_a_recording_in_one_window_is_binned_as_an_evaluation_does() -> None:
    contract = InputContract((5, 6), 4, 1500, 1)
    events = make_events(3, contract.sensor, [0])
    frames = events_to_frames(events, contract)
    for index, (_, frame) in binned(
        Binner(choose_mapping(contract.sensor, contract), 1500), [events]
    ).items():
        np.testing.assert_array_equal(frame, frames[index])


def test_a_bin_is_complete_when_an_event_after_it_is_there() -> None:
    contract = InputContract((5, 6), 4, 1000, 1)
    events = make_events(0, contract.sensor, [0])
    first = int(np.searchsorted(events.t, events.t[0] + 1000))
    binner = Binner(choose_mapping(contract.sensor, contract), 1000)
    assert list(binner.push(part(events, 0, first))) == []
    assert [bin_.index for bin_ in binner.push(part(events, first, first + 1))] == [0]


@pytest.mark.parametrize(
    ("corner", "factor", "said"),
    [((40, 3), None, "--crop"), ((0, 30), None, "--crop"), (None, 99, "--factor")],
)
def test_what_leaves_nothing_to_see_is_refused(
    corner: tuple[int, int] | None, factor: int | None, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        choose_mapping((30, 40), InputContract((5, 6), 4, 1000, 1), corner, factor)


def test_a_stream_keeps_its_sensor() -> None:
    contract = InputContract((5, 6), 4, 1000, 1)
    binner = Binner(choose_mapping((5, 6), contract), 1000)
    with pytest.raises(InputError, match="sensor"):
        list(binner.push(make_events(0, (6, 5), [0])))


def test_pixels_beside_a_region_that_is_smaller_than_the_input_are_not_seen() -> None:
    view = View((9, 9), region=(3, 2, 4, 5))
    sites = view_sites(view, (6, 7), make_events(0, (9, 9), [0]))
    assert sites.rows.tolist() == [-1, -1, -1, 1, 2, 3, 4, -1, -1]
    assert sites.columns.tolist() == [-1, -1, 1, 2, 3, 4, 5, -1, -1]
    assert not sites.one_to_one
