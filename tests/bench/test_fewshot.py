"""The benchmark of methods trains what is wanted once, and shows it."""

import json
import subprocess
import sys
from pathlib import Path

from tmkt.datasets.digits import simulate_digits

SCRIPT = Path(__file__).parent / "fewshot.py"
SHORT = [
    "--recipe",
    "digits",
    "--set",
    "train.steps=2",
    "--set",
    "train.batch=10",
    "--set",
    "train.threads=1",
]


def _run(*arguments: object) -> str:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_grid_is_trained_once_in_parts_and_shown_as_a_table(tmp_path: Path) -> None:
    simulate_digits(tmp_path / "data", 3, 0)
    grid = [
        "--out",
        tmp_path / "out",
        "--data",
        tmp_path / "data",
        *SHORT,
        "--shots",
        1,
        2,
        "--seeds",
        0,
    ]
    wanted = ["--variants", "target-only", "kt method.heads=1"]
    _run(*grid, *wanted, "--part", "1/2")
    out = _run(*grid, *wanted, "--part", "2/2", "--against", "target-only")
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    ]
    done = [(line["variant"], line["shots"]) for line in lines]
    assert sorted(done) == [
        ("kt method.heads=1", 1),
        ("kt method.heads=1", 2),
        ("target-only", 1),
        ("target-only", 2),
    ]
    for line in lines:
        assert line["samples"] == 30 - 10 * line["shots"]
        assert line["spikes_per_inference"] > 0
        assert line["cpu_ms_per_step"] > 0
    before = (tmp_path / "out" / "results.jsonl").read_bytes()
    again = _run(*grid, *wanted)
    assert (tmp_path / "out" / "results.jsonl").read_bytes() == before
    for text in (out, again):
        assert "kt method.heads=1" in text
        assert "(n=1)" in text
