"""The check behind every reader: its rules, their counters, and any cut into chunks."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.errors import InputError
from tmkt.readers import open_events, parse_sensor
from tmkt.readers.check import Check
from tmkt.readers.source import Counters, Disorder, Raw

SENSOR = (4, 6)
Row = tuple[int, int, int, int]


def checked(
    rows: list[Row], disorder: Disorder = "drop", chunk: int = 1000
) -> tuple[list[Row], Counters]:
    counters = Counters()
    check = Check("live", SENSOR, counters, disorder)
    out: list[Row] = []
    for i in range(0, len(rows), chunk):
        t, x, y, p = np.array(rows[i : i + chunk]).reshape(-1, 4).T
        events = check(
            Raw(t.astype(np.int64), x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))
        )
        out += zip(
            events.t.tolist(), events.x.tolist(), events.y.tolist(), events.p.tolist(), strict=True
        )
    if last := check.finish():
        out += zip(last.t.tolist(), last.x.tolist(), last.y.tolist(), last.p.tolist(), strict=True)
    assert counters.events == len(out)
    return out, counters


def test_sound_events_pass_unchanged() -> None:
    rows = [(5, 0, 0, 0), (5, 5, 3, 1), (9, 1, 2, 0)]
    assert checked(rows) == (rows, Counters(events=3))


@pytest.mark.parametrize(
    ("row", "counter"),
    [
        ((7, 6, 0, 0), "outside_sensor"),
        ((7, 0, 4, 0), "outside_sensor"),
        ((7, 0, 0, 2), "bad_polarity"),
        ((-1, 0, 0, 0), "negative_time"),
    ],
)
def test_impossible_events_are_dropped_and_counted(row: Row, counter: str) -> None:
    rows = [(5, 0, 0, 0), row, (9, 1, 2, 0)]
    assert checked(rows) == ([rows[0], rows[2]], Counters(events=2, **{counter: 1}))


def test_stamps_that_go_back_are_dropped_clamped_or_an_error() -> None:
    rows = [(100, 0, 0, 0), (90, 1, 1, 1), (95, 2, 2, 0), (100, 3, 3, 1)]
    assert checked(rows) == (
        [rows[0], rows[3]],
        Counters(events=2, backward=2, largest_backward_us=10),
    )
    kept, counters = checked(rows, "clamp")
    assert [row[0] for row in kept] == [100] * 4
    assert counters == Counters(events=4, backward=2, clamped=2, largest_backward_us=10)
    assert counters.dropped == 0
    with pytest.raises(InputError, match="live: after 1 events a stamp goes back by 10 us"):
        checked(rows, "fail")


def test_a_gap_is_counted_and_nothing_is_lost() -> None:
    rows = [(0, 0, 0, 0), (10_000_001, 1, 1, 1), (10_000_002, 2, 2, 0)]
    assert checked(rows) == (rows, Counters(events=3, gaps=1))
    rows[1:] = [(10_000_000, 1, 1, 1), (10_000_002, 2, 2, 0)]
    assert checked(rows) == (rows, Counters(events=3))


@pytest.mark.parametrize("at", [0, 1, 3])
def test_one_damaged_stamp_far_ahead_costs_one_event(at: int) -> None:
    rows = [(0, 0, 0, 0), (10, 1, 1, 1), (20, 2, 2, 0), (30, 2, 2, 0)]
    damaged = [*rows[:at], (rows[at][0] + 2**40, *rows[at][1:]), *rows[at + 1 :]]
    assert checked(damaged) == (rows[:at] + rows[at + 1 :], Counters(events=3, outliers=1))


def test_a_single_event_is_delivered() -> None:
    assert checked([(2**50, 1, 1, 1)]) == ([(2**50, 1, 1, 1)], Counters(events=1))


STAMPS = st.one_of(st.integers(-3, 50), st.integers(0, 5 * 10**7), st.integers(2**62, 2**63 - 1))
ROWS = st.lists(
    st.tuples(STAMPS, st.integers(0, 6), st.integers(0, 4), st.integers(0, 2)), max_size=30
)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.integers(1, 7), st.sampled_from(["drop", "clamp"]))
def test_the_cut_into_chunks_changes_nothing_and_what_passes_is_sound(
    rows: list[Row], chunk: int, disorder: Disorder
) -> None:
    kept, counters = checked(rows, disorder)
    assert checked(rows, disorder, chunk) == (kept, counters)
    assert counters.events + counters.dropped == len(rows)
    assert [row[0] for row in kept] == sorted(row[0] for row in kept)
    assert all(t >= 0 and 0 <= x < 6 and 0 <= y < 4 and p in (0, 1) for t, x, y, p in kept)


def test_more_than_one_per_cent_dropped_is_an_error_unless_repair_is_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.bin"
    record = bytes((3, 3, 0, 0, 9))
    path.write_bytes(record * 99 + bytes((9, 3, 0, 0, 9)))
    assert sum(len(e) for e in open_events(path, sensor=(8, 8))) == 99
    path.write_bytes(record * 98 + bytes((9, 3, 0, 0, 9)) * 2)
    with pytest.raises(
        InputError, match=r"2 of 100 events dropped \(2 outside the sensor\).*--repair"
    ):
        list(open_events(path, sensor=(8, 8)))
    assert sum(len(e) for e in open_events(path, sensor=(8, 8), repair=True)) == 98


def test_the_sensor_is_told_as_width_times_height() -> None:
    assert parse_sensor("640x480") == (480, 640)
    for text in ("640", "640x", "0x480", "640x480x2", "9999x1", "-1x5", "axb"):
        with pytest.raises(InputError, match="--sensor"):
            parse_sensor(text)


def test_the_sensor_is_blamed_only_for_events_outside_of_it() -> None:
    """Stamps that go back are no fault of --sensor."""
    for counters, blamed in (
        (Counters(events=100, outside_sensor=9, backward=3), True),
        (Counters(events=100, outside_sensor=3, backward=9), False),
        (Counters(events=100, backward=9), False),
        (Counters(events=100, bad_records=9), False),
        (Counters(events=100, outliers=9), False),
    ):
        with pytest.raises(InputError, match=r"fetch the file again.*--repair") as caught:
            counters.require_sound("a.raw")
        assert ("check --sensor" in str(caught.value)) == blamed
        assert (counters.advice() == "check --sensor") == blamed
