"""The comparison with equal tuning tests the settings that each method's search found."""

import json
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "tuned.py"


def test_what_a_search_found_is_tested_beside_the_recipe(shared_data: Path, tmp_path: Path) -> None:
    grid = ["--sets", "pokerdvs", "--methods", "joint", "--trials", 2, "--seeds", 0]
    budget = ["--set", "train.steps=2", "--set", "train.batch=4"]
    command = ["--shared", shared_data, "--out", tmp_path, *grid, *budget]
    found = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, command)],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    ).stdout
    recipe, tuned = (
        json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()
    )
    assert recipe["variant"] == "joint grey scratch"
    assert tuned["variant"].startswith("joint grey scratch train.learning_rate=0.0")
    assert "method.image_share=0." in tuned["variant"]
    assert (tuned["samples"], tuned["shots"]) == (80, 5)  # five of each of four suits trained
    assert (tmp_path / "pokerdvs-joint" / "best.toml").is_file()
    assert tuned["variant"] in " ".join(found.split())
