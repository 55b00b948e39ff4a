"""Recordings as text: whatever a tool wrote, columns, unit and sensor are found or asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_files import SENSOR, random_events, rows
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.errors import InputError
from tmkt.readers import open_events
from tmkt.readers.text_layout import looks_like_text

EVENTS = [(1000, 7, 9, 1), (2500, 8, 9, 0), (4000, 0, 3, 1)]  # t, x, y, p
BODY = "1000,7,9,1\n2500,8,9,0\n4000,0,3,1\n"


def read(path: Path, text: str | bytes, **options: Any) -> tuple[list[tuple[int, ...]], Any]:
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    source = open_events(path, **{"sensor": SENSOR, "format": None} | options)
    assert source.format == "csv"
    return rows(source), source


@pytest.mark.parametrize(
    "text",
    [
        BODY,
        BODY.replace(",", " "),
        BODY.replace(",", "\t"),
        BODY.replace(",", "; ").replace("\n", "\r\n"),
        "\ufeff" + BODY,  # Excel
        "# camera 3, room 1\n% 2026-11-29\n\n" + BODY,
        "0.001 7 9 1\n0.0025 8 9 0\n0.004 0 3 1\n",  # rpg: seconds
        "x,y,p,t\n7,9,1,1000\n8,9,0,2500\n0,3,1,4000\n",
        "# x y polarity timestamp\n7 9 1 1000\n8 9 -1 2500\n0 3 1 4000",
        '"Timestamp";"X";"Y";"Polarity"\n' + BODY.replace(",", ";"),
        # pandas: an index without a name, floats, bools
        ",x,y,on,t\n0,7,9,True,1000\n1,8,9,False,2500\n2,0,3,True,4000\n",
        "x,y,p,t\n7.0,9.0,1.0,1000.0\n8.0,9.0,0.0,2500.0\n0.0,3.0,1.0,4000.0\n",
        "frame,t [ms],x,y,p\n1,1,7,9,1\n1,2.5,8,9,0\n2,4,0,3,1\n",
        "t_s,x,y,p\n1e-3,7,9,1\n2.5e-03,8,9,0\n+0.004,0,3,1\n",
        # NumPy's savetxt
        "\n".join(" ".join(f"{value:.18e}" for value in row) for row in EVENTS),
        "\n".join(f"{t / 1e6:.18e} {x:.18e} {y:.18e} {p:.18e}" for t, x, y, p in EVENTS),
    ],
)
def test_the_same_events_are_read_however_they_are_written(tmp_path: Path, text: str) -> None:
    found, source = read(tmp_path / "recording", text)
    assert found == EVENTS
    assert source.counters.dropped == 0


@pytest.mark.parametrize(
    ("text", "sensor"),
    [
        ("%geometry:120,100\n7,9,1,1000\n8,9,0,2500\n0,3,1,4000\n", (100, 120)),  # Metavision
        ("120 100\n" + BODY.replace(",", " "), (100, 120)),  # E2VID
        ("# sensor: 120x100\n" + BODY, (100, 120)),
        ("% Height 100\n% Width 120\n" + BODY, (100, 120)),
        (BODY, None),
    ],
)
def test_a_line_may_tell_the_sensor(
    tmp_path: Path, text: str, sensor: tuple[int, int] | None
) -> None:
    (tmp_path / "a.txt").write_text(text)
    source = open_events(tmp_path / "a.txt")
    assert source.sensor == sensor
    assert rows(source.chunks(sensor or SENSOR)) == EVENTS


def test_the_user_says_what_the_file_does_not(tmp_path: Path) -> None:
    text = "0 9 7 1 1\n0 9 8 0 2\n"
    found, _ = read(tmp_path / "a", text, columns=("camera", "y", "x", "p", "t"), time_unit="ms")
    assert found == [(1000, 7, 9, 1), (2000, 8, 9, 0)]


@pytest.mark.parametrize(
    ("text", "unit", "stamps", "noted"),
    [
        ("1 0 0 1\n2 0 0 1\n", None, [1, 2], "whole numbers: taken for microseconds"),
        ("1.0 0 0 1\n2.0 0 0 1\n", None, [1, 2], "whole numbers: taken for microseconds"),
        ("0 0 0 1\n0.5 0 0 1\n", None, [0, 500_000], "decimals: taken for seconds"),
        ("0.0 0 0 1\n", None, [0], "decimal point: taken for seconds"),
        ("1.5 0 0 1\n2.5 0 0 1\n", "ms", [1500, 2500], None),
        ("1499 0 0 1\n2501 0 0 1\n", "ns", [1, 3], None),
    ],
)
def test_the_unit_is_told_by_fractions_and_what_was_assumed_is_noted(
    tmp_path: Path, text: str, unit: Any, stamps: list[int], noted: str | None
) -> None:
    found, source = read(tmp_path / "a", text, time_unit=unit)
    assert [row[0] for row in found] == stamps
    assert bool(source.notes) == bool(noted)
    assert noted is None or noted in source.notes[0]


SLOW = "".join(f"{1000 * k}.25 0 0 1\n" for k in range(40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("7 9 1 1000\n8 9 0 2500\n", "not t,x,y,p .* --columns x,y,p,t"),
        ("1 2 3 1 5\n2 2 3 1 5\n", "lines of 5 columns without names"),
        ("t,x,y\n" + BODY, "no column for p in t,x,y; name them with --columns"),
        ("t,x,y,p,p\n1,2,3,1,1\n", "two columns for p"),
        (SLOW, "40 events span 39000 s if they are seconds; say --time-unit"),
        ("no events here, not at all\n", "not a known event recording"),
        ("1 2\n3 4\n", "not a known event recording"),
    ],
)
def test_what_cannot_be_known_is_asked_for_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(InputError, match=message) as refused:
        read(tmp_path / "a.csv", text)
    assert "\n" not in str(refused.value)


def test_damaged_lines_are_counted_and_too_many_are_an_error(tmp_path: Path) -> None:
    lines = [f"{t},1,2,1" for t in range(1000)]
    lines[300:304] = ["300,1,2", "301,1,2,1,4", "30\0,1,2,1", "303,1.5,2,1"]
    text = "\n".join(lines) + "\n1000,1"
    found, source = read(tmp_path / "a", text)
    assert len(found) == 996
    assert (source.counters.bad_records, source.counters.left_over_bytes) == (4, 6)
    few = "\n".join(lines[300:308])
    with pytest.raises(InputError, match=r"4 of 8 events dropped \(4 undecodable"):
        read(tmp_path / "a", few)
    assert len(read(tmp_path / "a", few, repair=True)[0]) == 4


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**15), st.sampled_from(["{}", "{:e}", "{:.1f}", "{:.17e}", "{:018d}"]))
def test_numbers_are_read_as_python_reads_them(number: int, form: str) -> None:
    from tmkt.readers.text import _number

    text = form.format(number)
    value, end, _ = _number(np.frombuffer(text.encode(), np.uint8), 0, 0)
    assert (value, end) == (round(float(text)), len(text))


def test_binary_files_are_no_text() -> None:
    rng = np.random.default_rng(0)
    assert not looks_like_text(rng.integers(0, 256, 65536, np.uint8).tobytes())
    assert not looks_like_text(b"% evt 2.1\n% geometry 640x480\n" + bytes(500))
    assert looks_like_text(b"5 1 1 1\n")


def test_pieces_of_text_do_not_change_its_events(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmkt.readers.text.BLOCK", 100)  # so that lines are cut
    events = random_events(3000)
    body = "".join(f"{t} {x} {y} {p}\n" for t, x, y, p in rows([events]))
    assert read(tmp_path / "a", body)[0] == rows([events])
