"""The benchmarks run, and say the same to people and to programs."""

import json
import subprocess
import sys
from pathlib import Path

from tmkt import processor

BENCH = Path(__file__).parent


def run(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, str(BENCH / "frames.py"), "--quick", *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    ).stdout


def test_json_lines_alone_are_on_standard_output(shared_data: Path) -> None:
    assert shared_data.is_dir()
    lines = [json.loads(line) for line in run("--json").splitlines()]
    sizes = ["frames", "frames-34x34", "frames-128x128", "frames-480x640"]
    assert [line["name"] for line in lines] == [f"{size}/ours-vs-tonic" for size in sizes]
    for line in lines:
        assert line["processor"] == processor.name()
        assert line["instructions"] == processor.instructions()
        assert line["threads"] == 1
        assert abs(line["ratio"] - line["theirs_s"] / line["ours_s"]) < 0.001


def test_tables_show_every_contestant(shared_data: Path) -> None:
    assert shared_data.is_dir()
    table = run()
    assert "ours" in table
    assert "tonic" in table


def test_the_memory_of_a_stream_is_measured_at_ten_points() -> None:
    done = subprocess.run(
        [sys.executable, str(BENCH / "stream_memory.py"), "--quick"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert done.stdout.count(" M │") == 10
