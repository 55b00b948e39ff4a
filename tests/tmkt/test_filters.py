"""Event filters keep what their definitions say, however a stream is cut."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_streams import cut
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.cli.demo import SHIPPED
from tmkt.errors import InputError
from tmkt.events.filters import (
    KINDS,
    FilterChain,
    find_hot_pixels,
    parse_filter,
    read_hot_pixels,
)
from tmkt.events.types import Events

SENSOR = (6, 7)


def make(seed: int, n: int = 300, step_us: int = 400) -> Events:
    rng = np.random.default_rng(seed)
    t = np.cumsum(rng.integers(0, 2 * step_us, n)).astype(np.int64)
    x, y, p = (rng.integers(0, high, n) for high in (SENSOR[1], SENSOR[0], 2))
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), SENSOR)


def rows_of(events: Events) -> list[tuple[int, ...]]:
    return list(zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True))


def kept(text: str, events: Events) -> list[int]:
    """Places of the events that a filter keeps."""
    chain = FilterChain([parse_filter(text)], events.sensor)
    found = chain.apply(events)
    assert chain.dropped == [len(events) - len(found)]
    rows = list(zip(*(getattr(events, name).tolist() for name in "txyp"), strict=True))
    wanted, places, at = (
        list(zip(*(getattr(found, n).tolist() for n in "txyp"), strict=True)),
        [],
        0,
    )
    for row in wanted:
        at = rows.index(row, at) + 1
        places.append(at - 1)
    return places


def plain_background(events: Events, dt_us: int, k: int) -> list[int]:
    last: dict[tuple[int, int], int] = {}
    places = []
    for i in range(len(events)):
        t, x, y = int(events.t[i]), int(events.x[i]), int(events.y[i])
        near = [
            (x + right, y + down) for right in (-1, 0, 1) for down in (-1, 0, 1) if right or down
        ]
        if sum(pixel in last and t - last[pixel] <= dt_us for pixel in near) >= k:
            places.append(i)
        last[x, y] = t
    return places


def plain_refractory(events: Events, pause_us: int) -> list[int]:
    last: dict[tuple[int, int], int] = {}
    places = []
    for i in range(len(events)):
        pixel, t = (int(events.x[i]), int(events.y[i])), int(events.t[i])
        if pixel not in last or t - last[pixel] >= pause_us:
            last[pixel] = t
            places.append(i)
    return places


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 99), st.sampled_from([1, 500, 3000]), st.integers(1, 4))
def test_background_and_refractory_are_their_definitions(seed: int, us: int, k: int) -> None:
    events = make(seed)
    assert kept(f"background:dt_us={us},k={k}", events) == plain_background(events, us, k)
    assert kept(f"refractory:pause_us={us}", events) == plain_refractory(events, us)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 99), st.lists(st.integers(0, 300), max_size=5))
def test_the_result_does_not_depend_on_the_chunks(seed: int, ends: list[int]) -> None:
    events = make(seed)
    texts = ["hot:window_us=20000,least=3,factor=2", "refractory", "background", "flicker"]
    whole = FilterChain([parse_filter(text) for text in texts], SENSOR)
    parts = FilterChain([parse_filter(text) for text in texts], SENSOR)
    expected = whole.apply(events)
    found = list(parts.over(cut(events, ends)))
    for name in "txyp":
        np.testing.assert_array_equal(
            np.concatenate([getattr(part, name) for part in found]), getattr(expected, name)
        )
    assert parts.dropped == whole.dropped


def test_a_hot_pixel_is_dropped_after_a_window_and_comes_back() -> None:
    t = np.arange(0, 3_000_000, 1000)
    busy = np.full(len(t), 3, np.uint16)
    busy[t >= 2_000_000] = 5  # it is quiet in the third second
    t, busy = np.append(t, 3_000_500), np.append(busy, 3).astype(np.uint16)
    y, p = np.full(len(t), 2, np.uint16), np.ones(len(t), np.uint8)
    last = Events(t, busy, y, p, SENSOR)
    chain = FilterChain([parse_filter("hot:window_us=1000000,least=50")], SENSOR)
    found = chain.apply(last)
    assert chain.dropped == [1000]  # the second second
    assert found.t[-1] == 3_000_500
    mask, counts = find_hot_pixels([last], SENSOR)
    assert mask.sum() == 2
    assert counts[2, 3] == 2001


def test_an_edge_is_not_hot() -> None:
    """Neighbours as busy as it is make a pixel none that is hot."""
    t = np.repeat(np.arange(0, 2_000_000, 5000), SENSOR[0])
    y = np.tile(np.arange(SENSOR[0]), len(t) // SENSOR[0]).astype(np.uint16)
    x = ((t // 5000) % SENSOR[1]).astype(np.uint16)
    events = Events(t, x, y, np.ones(len(t), np.uint8), SENSOR)
    assert FilterChain([parse_filter("hot")], SENSOR).apply(events).t.size == len(t)


@pytest.mark.parametrize(("hz", "drops"), [(100, True), (120, True), (60, False), (300, False)])
def test_a_lamp_is_dropped_and_what_moves_is_not(hz: int, drops: bool) -> None:
    periods = np.arange(0, 1_000_000, 10**6 // hz)
    t = np.sort(np.concatenate([periods, periods + 10**6 // hz // 2]))
    p = np.tile([1, 0], len(periods)).astype(np.uint8)
    n = len(t)
    events = Events(t, np.full(n, 2, np.uint16), np.full(n, 3, np.uint16), p, SENSOR)
    found = FilterChain([parse_filter("flicker")], SENSOR).apply(events)
    assert len(found) == (8 if drops else n)  # four periods before it is sure


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("backgrund", "not known, expected one of background"),
        ("background:k=9", "k = '9', expected a whole number, 1..8"),
        ("background:n=1", "setting 'n=1', expected dt_us, k with =; as in background:dt_us=10000"),
        ("refractory:pause_us=-1", "expected a whole number"),
        ("flicker:least_hz=200", "least_hz = 200, expected at most most_hz = 130"),
        ("hot:file=a.csv,least=3", "setting 'least=3'"),
    ],
)
def test_what_is_not_known_is_said(text: str, said: str) -> None:
    with pytest.raises(InputError, match=said.replace(".", r"\.")):
        parse_filter(text)


def test_a_filter_is_written_as_it_is_read() -> None:
    for name in KINDS:
        assert parse_filter(str(parse_filter(name))) == parse_filter(name)


def test_a_list_of_hot_pixels_is_checked(tmp_path: Path) -> None:
    path = tmp_path / "hot.csv"
    path.write_text("x,y,events\n2,3,900\n6,5,70\n")
    mask = read_hot_pixels(path, SENSOR)
    assert [tuple(at) for at in np.argwhere(mask)] == [(3, 2), (5, 6)]
    path.write_text("7,0\n")
    with pytest.raises(InputError, match="line 1: pixel 7,0, expected one of a sensor of 7 x 6"):
        read_hot_pixels(path, SENSOR)
    path.write_text("2;3\n")
    with pytest.raises(InputError, match="line 1: '2;3', expected x,y"):
        read_hot_pixels(path, SENSOR)
    path.unlink()
    with pytest.raises(InputError, match=r"hot\.csv: cannot be read"):
        read_hot_pixels(path, SENSOR)


def test_a_recording_is_converted_and_streamed_without_what_filters_drop(
    tmp_path: Path, tmkt: Any
) -> None:
    recording = next((SHIPPED / "data").rglob("*.bin"))
    whole = tmkt("data", "info", recording, "--sensor", "34x34", "--json").json["events"]
    text = "background:dt_us=5000"
    words = ["data", "convert", recording, "--sensor", "34x34", "--filter", text, "--json"]
    converted = tmkt(*words, tmp_path / "kept.npz").json
    assert converted["filters"] == [
        {"filter": "background:dt_us=5000,k=1", "dropped": whole - converted["events"]}
    ]
    assert 0 < converted["events"] < whole
    streamed = tmkt("stream", SHIPPED / "bundle", recording, "--filter", text, "--json").out
    summary = json.loads(streamed.splitlines()[-1])["summary"]
    assert summary["events"] == converted["events"]
    assert summary["filters"] == converted["filters"]
    wrong = tmkt("stream", SHIPPED / "bundle", recording, "--filter", "dust")
    assert (wrong.code, wrong.err.count("\n")) == (2, 1)


def test_a_dark_recording_gives_a_list_that_a_filter_takes(tmp_path: Path, tmkt: Any) -> None:
    t = np.arange(0, 1_000_000, 1000)
    columns = np.stack([t, np.full(len(t), 3), np.full(len(t), 4), t // 1000 % 2], 1)
    dark, found = tmp_path / "dark.csv", tmp_path / "hot.csv"
    np.savetxt(dark, columns, "%d", ",", header="7x6\nt,x,y,p")
    tmkt("data", "hot-pixels", dark, "--out", found)
    assert found.read_text() == "x,y,events\n3,4,1000\n"
    done = tmkt("data", "convert", dark, tmp_path / "kept.npz", "--filter", f"hot:file={found}")
    assert done.code == 2
    assert "the filters drop all events" in done.err
    assert not (tmp_path / "kept.npz").exists()
