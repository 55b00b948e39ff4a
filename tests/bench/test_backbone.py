"""The comparison of methods over sets trains each method as it is asked for, and shows differences
with their intervals.
"""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "backbone.py"


def _run(*arguments: object) -> str:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


def test_a_method_is_trained_with_each_kind_of_images_and_each_start(
    shared_data: Path, tmp_path: Path
) -> None:
    grid = ["--sets", "pokerdvs", "--shots", 1, "--seeds", 0, "--bits"]
    crossed = ["--encodings", "grey", "simulated", "--starts", "scratch", "backbone"]
    budget = ["--set", "train.steps=2", "--set", "train.batch=4"]
    wanted = ["--variants", "joint-fewer-images", *crossed, *budget]
    _run("--shared", shared_data, "--out", tmp_path, *grid, *wanted)
    lines = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert [line["variant"] for line in lines] == [
        f"joint-fewer-images {encoding} {start}"
        for encoding in ("grey", "simulated")
        for start in ("scratch", "backbone")
    ]
    for line in lines:
        assert line["samples"] == 96
        assert not [name for name in line if name.startswith("accuracy_")]


def test_differences_have_an_interval_over_paired_seeds(tmp_path: Path) -> None:
    rows = []
    for seed in range(6):
        common = {"set": "pokerdvs", "network": "s", "shots": 1, "seed": seed}
        base = 0.5 + 0.01 * seed  # seeds differ, methods do so by the same in each
        rows += [{**common, "variant": "joint grey scratch", "accuracy": base}]
        rows += [{**common, "variant": "tmkt grey scratch", "accuracy": base + 0.02}]
        rows += [{**common, "variant": "kt grey scratch", "accuracy": base + 0.01 * (-1) ** seed}]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shown = _run("--out", tmp_path, "--table", "--against", "joint grey scratch", "--bits")
    of = {
        line.split()[0]: " ".join(line.split())
        for line in shown.splitlines()
        if "scratch (s)" in line
    }
    assert "+2.0 (+2.0 to +2.0, n=6)" in of["tmkt"]
    assert "+0.0 (-0.7 to +0.7, n=6)" in of["kt"]
