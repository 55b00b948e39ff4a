"""The comparison with equal tuning tests the settings that each method's search found."""

import json
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "tuned.py"
SETTINGS = ["--sets", "pokerdvs", "--methods", "joint", "--seeds", "0"]
SHORT = ["--set", "train.steps=2", "--set", "train.batch=4"]


def test_an_interrupted_search_tests_nothing(shared_data: Path, tmp_path: Path) -> None:
    command = ["--shared", str(shared_data), "--out", str(tmp_path), *SETTINGS, *SHORT]
    with subprocess.Popen(
        [sys.executable, str(SCRIPT), *command, "--trials", "1000"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as search:
        assert search.stdout
        next(line for line in search.stdout if line.startswith("trial 1"))
        search.send_signal(signal.SIGINT)
        _, said = search.communicate(timeout=120)
    assert search.returncode == 1
    assert "of 1000 trials; the same command goes on" in said.splitlines()[-1]
    assert "Traceback" not in said
    assert not (tmp_path / "results.jsonl").exists()


def test_what_a_search_found_is_tested_beside_the_recipe(shared_data: Path, tmp_path: Path) -> None:
    command = ["--shared", shared_data, "--out", tmp_path, *SETTINGS, *SHORT, "--trials", 2]
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
