"""`tmkt data info` and `tmkt data convert`, as a user meets them."""

from pathlib import Path
from typing import Any

import pytest
from example_files import random_events, rows, write_example

from tmkt.readers import open_events


def test_info_says_what_a_real_recording_holds(tmkt: Any, shared_data: Path) -> None:
    table = tmkt(
        "data", "info", shared_data / "recordings/vga_evt2.raw"
    )  # says that it compiles, where it is the first to do so
    assert table.code == 0
    assert "521,252" in table.out
    done = tmkt("data", "info", shared_data / "recordings/vga_evt2.raw", "--json")
    assert (done.code, done.err) == (0, "")
    report = done.json
    assert (report["format"], report["sensor"], report["events"]) == (
        "evt2",
        {"width": 640, "height": 480},
        521_252,
    )
    assert report["duration_s"] == pytest.approx(0.095871)
    assert report["events_per_s"] == pytest.approx(521_252 / 0.095871)
    assert (report["on_share"], report["x"], report["y"]) == (
        pytest.approx(0.357, abs=1e-3),
        [0, 639],
        [0, 479],
    )
    assert (report["counters"]["dropped"], report["damage"]) == (0, None)


def test_info_shows_repairs_and_exits_2_where_too_much_is_wrong(
    tmkt: Any, shared_data: Path
) -> None:
    wrong = ("data", "info", shared_data / "recordings/ncaltech101_faces_easy_0001.bin")
    wrong += ("--sensor", "100x180")
    repaired = tmkt(*wrong, "--repair")  # the first: it may say on its errors that it compiles
    assert repaired.code == 0
    assert "outside sensor" in repaired.out
    done = tmkt(*wrong, "--json")
    assert done.code == 2
    assert done.json["counters"]["outside_sensor"] == done.json["counters"]["dropped"] > 0
    assert done.json["damage"] in done.err
    assert done.err.count("\n") == 1


def test_convert_gives_the_same_events_and_says_what_it_did(tmkt: Any, tmp_path: Path) -> None:
    events = random_events(500)
    write_example("aedat4", tmp_path / "a.aedat4", events)
    done = tmkt(
        "data", "convert", tmp_path / "a.aedat4", tmp_path / "b.raw", "--to", "evt3", "--json"
    )
    assert (done.code, done.json["events"], done.json["format"], done.json["to"]) == (
        0,
        500,
        "aedat4",
        "evt3",
    )
    assert rows(open_events(tmp_path / "b.raw")) == rows([events])
    done = tmkt("data", "convert", tmp_path / "b.raw", tmp_path / "c.npz", "--from-zero")
    assert (done.code, done.out) == (0, "")
    assert "500 events as npz" in done.err
    assert rows(open_events(tmp_path / "c.npz")) == [
        (t - int(events.t[0]), x, y, p) for t, x, y, p in rows([events])
    ]


def test_gesture_archives_are_looked_at_and_converted(tmkt: Any, tmp_path: Path) -> None:
    events = random_events(500, (128, 128))
    write_example("aedat3", tmp_path / "user01_led.aedat", events)
    report = tmkt("data", "info", tmp_path / "user01_led.aedat", "--json").json
    assert (report["format"], report["events"]) == ("aedat3", 500)
    assert report["sensor"] == {"width": 128, "height": 128}
    done = tmkt("data", "convert", tmp_path / "user01_led.aedat", tmp_path / "a.npz")
    assert done.code == 0
    assert rows(open_events(tmp_path / "a.npz")) == rows([events])


def test_wrong_use_is_one_line_and_leaves_nothing_behind(tmkt: Any, tmp_path: Path) -> None:
    write_example("atis", tmp_path / "a.bin", random_events(500))
    (tmp_path / "text.txt").write_text("no events here")
    (tmp_path / "out").mkdir()
    for arguments, message in (
        (("convert", tmp_path / "a.bin", tmp_path / "out/b.npz"), "expected --sensor WIDTHxHEIGHT"),
        (
            ("convert", tmp_path / "a.bin", tmp_path / "out/b.npy", "--sensor", "120x100"),
            ".npy cannot be written",
        ),
        (
            ("convert", tmp_path / "a.bin", tmp_path / "out/b.npz", "--sensor", "60x100"),
            "outside the sensor",
        ),
        (("info", tmp_path), "is not a file"),
        (("info", tmp_path / "text.txt"), "not a known event recording"),
        (("info", tmp_path / "a.bin", "--disorder", "sort"), "choose from drop, clamp, fail"),
    ):
        done = tmkt("data", *arguments)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), done.err
        assert message in done.err
    assert list((tmp_path / "out").iterdir()) == []
