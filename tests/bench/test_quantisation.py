"""The benchmark of quantisation measures each network once, and shows it beside the float one."""

import json
import subprocess
import sys
from pathlib import Path

from tmkt.datasets.digits import simulate_digits
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES
from tmkt.train.trainer import train

SCRIPT = Path(__file__).parent / "quantisation.py"


def test_each_network_is_measured_once_and_shown(tmp_path: Path) -> None:
    simulate_digits(tmp_path / "data", 3, 0)
    recipe = load_recipe(
        "digits", RECIPES, ["data.shots=2", "train.steps=2", "train.batch=10", "train.threads=1"]
    )
    train(recipe, tmp_path / "data", None, tmp_path / "run")
    words = [
        tmp_path / "run",
        "--data",
        tmp_path / "data",
        "--out",
        tmp_path / "out",
        "--bits",
        8,
        "--qat",
        3,
        "--set",
        "train.steps=2",
    ]
    command = [sys.executable, str(SCRIPT), *map(str, words)]
    first, again = (
        subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
        for _ in range(2)
    )
    lines = [
        json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    ]
    assert [(line["kind"], line["bits"], line["samples"]) for line in lines] == [
        ("float", "32", 10),
        ("post-training", "8", 10),
        ("trained", "3", 10),
    ]
    assert "post-training" in first
    assert "post-training" in again
