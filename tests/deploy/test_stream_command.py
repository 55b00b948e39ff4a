"""Tests of `tmkt stream` as a user runs it."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmkt.events.types import Events
from tmkt.readers.atis import read_bin, write_bin


@pytest.fixture(scope="module")
def recording(pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write three recordings one after another, 50 ms apart."""
    parts, offset = [], 0
    for path in sorted((pipeline.data / "Train" / "3").glob("*.bin"))[:3]:
        events = read_bin(path, _sensor(pipeline))
        parts.append((events.t - events.t[0] + offset, events.x, events.y, events.p))
        offset = int(parts[-1][0][-1]) + 50_000
    t, x, y, p = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    out: Path = tmp_path_factory.mktemp("stream") / "three.bin"
    write_bin(Events(t, x, y, p, _sensor(pipeline)), out)
    return out


def _sensor(pipeline: Any) -> tuple[int, int]:
    height, width = json.loads((pipeline.bundle / "manifest.json").read_text())["input"]["sensor"]
    return height, width


def lines(done: Any) -> list[dict[str, Any]]:
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_json_lines_are_rules_decisions_and_summary(
    tmkt: Any, pipeline: Any, recording: Path
) -> None:
    header, *decisions, summary = lines(tmkt("stream", pipeline.bundle, recording, "--json"))
    assert header["stream"]["mapping"]["factor"] == 1
    assert [line["decision"] for line in decisions] == list(range(len(decisions)))
    assert all(
        line["times"]["host_us"] > 0 and line["chip_us"][0] < line["chip_us"][1]
        for line in decisions
    )
    assert summary["summary"]["answers"] == len(decisions) >= 3
    assert summary["summary"]["repairs"]["dropped"] == 0
    assert summary["summary"]["times"]["real_time_factor"] > 0


def test_the_same_command_gives_the_same_bytes_without_times(
    tmkt: Any, pipeline: Any, recording: Path
) -> None:
    command = ("stream", pipeline.bundle, recording, "--stride", 2, "--json", "--no-times")
    first, again, onnx = tmkt(*command), tmkt(*command), tmkt(*command, "--engine", "onnx")
    assert first.code == 0, first.err
    assert first.out == again.out
    assert "times" not in first.out
    assert [line for line in first.out.splitlines() if "decision" in line] == [
        line for line in onnx.out.splitlines() if "decision" in line
    ]


def test_a_rule_is_chosen_on_the_recordings_that_were_trained_on(
    tmkt: Any, pipeline: Any, recording: Path
) -> None:
    auto = ("--margin", "auto", "--min-events", "auto", "--data", pipeline.data)
    done = tmkt("stream", pipeline.bundle, recording, *auto, "--json")
    rule = lines(done)[0]["stream"]["rule"]
    assert rule["margin"] >= 0
    assert rule["min_events"] > 1
    assert "of 200 windows around the 20 recordings trained on" in done.err


def test_people_get_a_line_a_decision_and_a_summary(
    tmkt: Any, pipeline: Any, recording: Path
) -> None:
    done = tmkt("stream", pipeline.bundle, recording, "--state", "carry", "--device", "loihi2")
    assert done.code == 0, done.err
    assert "margin" in done.out
    assert "Summary" in done.out
    assert "each pixel a site" in done.err


def test_events_that_are_dropped_are_reported_with_the_reason(
    tmkt: Any, pipeline: Any, recording: Path
) -> None:
    done = tmkt("stream", pipeline.bundle, recording, "--sensor", "10x10", "--repair")
    assert done.code == 0, done.err
    assert "outside the sensor; check --sensor" in done.err


def same_decisions(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    """Compare two streams of the same events, of which one has other stamps or times."""
    return [(line["class"], line["margin"], line["events"]) for line in a] == [
        (line["class"], line["margin"], line["events"]) for line in b
    ]


def test_a_live_stream_ends_at_ctrl_c_with_all_its_answers(
    tmkt: Any, pipeline: Any, recording: Path
) -> None:
    command = [
        sys.executable,
        "-m",
        "tmkt",
        "stream",
        str(pipeline.bundle),
        "udp://127.0.0.1:0",
        "--json",
    ]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as receiver:
        assert receiver.stderr is not None
        address = next(
            line.split()[4].rstrip(";")
            for line in receiver.stderr
            if line.startswith("Waiting for events")
        )
        width, height = reversed(_sensor(pipeline))
        sent = tmkt("data", "send", recording, address, "--sensor", f"{width}x{height}", "--json")
        time.sleep(0.3)
        receiver.send_signal(signal.SIGINT)
        out, err = receiver.communicate(timeout=30)
    assert receiver.returncode == 0, err
    *_, summary = live = [json.loads(line) for line in out.splitlines()]
    assert summary["summary"]["events"] == sent.json["events"]
    assert summary["summary"]["repairs"]["lost_events"] == 0
    assert same_decisions(
        live[1:-1], lines(tmkt("stream", pipeline.bundle, recording, "--json"))[1:-1]
    )


def test_lines_of_text_from_a_pipe_are_a_stream(tmkt: Any, pipeline: Any, recording: Path) -> None:
    events = read_bin(recording, _sensor(pipeline))
    text = "".join(
        f"{t},{x},{y},{p}\n"
        for t, x, y, p in zip(events.t, events.x, events.y, events.p, strict=True)
    )
    command = [sys.executable, "-m", "tmkt", "stream", str(pipeline.bundle), "-", "--json"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    piped = [json.loads(line) for line in done.stdout.splitlines()]
    assert same_decisions(
        piped[1:-1], lines(tmkt("stream", pipeline.bundle, recording, "--json"))[1:-1]
    )


def test_a_page_is_written_with_the_same_bytes_each_time(
    tmkt: Any, pipeline: Any, recording: Path, tmp_path: Path
) -> None:
    for name in ("a.html", "b.html"):
        done = tmkt("stream", pipeline.bundle, recording, "--page", tmp_path / name)
        assert done.code == 0, done.err
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert f"{tmp_path / 'b.html'}: open it in a browser" in done.err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--state", "resett"), "did you mean 'reset'?"),
        (("--margin", "much"), "--margin 'much'"),
        (("--margin", "auto"), "--data"),
        (("--hold", 2), "--margin"),
        (("--min-events", "0"), "--min-events"),
        (("--crop", "centre,1"), "--crop"),
        (("--engine", "onx"), "onnx"),
        (("--device", "loihi9"), "loihi"),
        (("--sensor", "4x4"), "lie outside a sensor of 4x4 (x up to"),
        (("--columns", "t,x"), "no column for y"),
        (("--page-layer", "conv1"), "--page FILE.html"),
        (("--page", "page.html", "--page-layer", "conv9"), "--page-layer"),
    ],
)
def test_wrong_use_is_one_line(
    tmkt: Any, pipeline: Any, recording: Path, options: tuple[object, ...], said: str
) -> None:
    done = tmkt("stream", pipeline.bundle, recording, *options)
    assert (done.code, done.out) == (2, "")
    assert said in done.err
    assert "Traceback" not in done.err


def test_a_recording_of_a_larger_camera_is_answered_once_its_size_is_said(
    tmkt: Any, pipeline: Any, recording: Path, tmp_path: Path
) -> None:
    events = read_bin(recording, _sensor(pipeline))
    larger = (3 * events.sensor[0], 3 * events.sensor[1])
    write_bin(Events(events.t, 3 * events.x, 3 * events.y, events.p, larger), tmp_path / "a.bin")
    command = ("stream", pipeline.bundle, tmp_path / "a.bin", "--json", "--no-times")
    refused = tmkt(*command)
    assert (refused.code, refused.out) == (2, "")  # no decision before it
    assert "does not say its sensor, taken for the bundle's" in refused.err
    assert "say the camera's size with --sensor WIDTHxHEIGHT, or in a camera.toml" in refused.err
    (tmp_path / "camera.toml").write_text(f"width = {larger[1]}\nheight = {larger[0]}\n")
    header, *decisions, _ = lines(tmkt(*command))
    assert header["stream"]["mapping"]["factor"] == 3
    expected = lines(tmkt("stream", pipeline.bundle, recording, "--json", "--no-times"))[1:-1]
    assert [(d["best"], d["margin"]) for d in decisions] == [
        (d["best"], d["margin"]) for d in expected
    ]


def test_a_recording_as_text_is_answered_as_any_other(
    tmkt: Any, pipeline: Any, recording: Path, tmp_path: Path
) -> None:
    height, width = _sensor(pipeline)
    convert = ("data", "convert", recording, tmp_path / "a.csv", "--sensor", f"{width}x{height}")
    assert tmkt(*convert).code == 0
    command = ("stream", pipeline.bundle, "--json", "--no-times")
    text, binary = (lines(tmkt(*command, path)) for path in (tmp_path / "a.csv", recording))
    assert text[1:] == binary[1:]
