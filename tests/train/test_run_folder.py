import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tmkt.datasets.digits import simulate_digits
from tmkt.errors import InputError
from tmkt.recipe import Recipe, parse_recipe
from tmkt.runs import CHECKPOINT, LOCK, METRICS, RECIPE
from tmkt.train.run_folder import forget_run, hold_run
from tmkt.train.trainer import train

TINY: dict[str, dict[str, Any]] = {
    "data": {"name": "digits", "shots": 2, "bins": 4, "bin_us": 79000},
    "network": {"channels": [4, 8], "strides": [2, 1], "pools": [2, 2]},
    "method": {"name": "tmkt"},
    "train": {"steps": 12, "batch": 10, "warmup_steps": 2, "threads": 1},
}
# A training in a process of its own that says when it is at its third step, and waits there.
SCRIPT = """
import json, sys, time
from pathlib import Path
from tmkt.recipe import parse_recipe
from tmkt.train.trainer import train
def progress(step, total, metrics):
    if step >= 3:
        print("here", flush=True)
        time.sleep(60)
recipe = parse_recipe(json.loads(sys.argv[1]), "test")
train(recipe, Path(sys.argv[2]), None, Path(sys.argv[3]), progress=progress)
"""


def _recipe(batch: int = 10) -> Recipe:
    return parse_recipe({**TINY, "train": {**TINY["train"], "batch": batch}}, "test")


def _dead_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def _assert_tidy(out: Path) -> None:
    assert not [path.name for path in out.parent.rglob(".*")]


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_killed_while_its_recipe_was_written_is_no_obstacle(
    digits: Path, tmp_path: Path, resume: bool
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    (out / f".{RECIPE}.{_dead_process()}.part").write_text("[data")
    (out / LOCK).write_text("process 1 on elsewhere")
    train(_recipe(), digits, None, out, resume=resume)
    _assert_tidy(out)


def test_other_hidden_files_are_an_obstacle(digits: Path, tmp_path: Path) -> None:
    (tmp_path / ".precious").write_text("x")
    with pytest.raises(InputError, match="is not a run"):
        train(_recipe(), digits, None, tmp_path)
    assert os.listdir(tmp_path) == [".precious"]


def test_one_training_at_a_time_in_a_folder(digits: Path, tmp_path: Path) -> None:
    out, refused = tmp_path / "run", []
    other = tmp_path / "others"
    simulate_digits(other, 4, 1)

    def intrude(step: int, *_: object) -> None:
        if step == 5:
            for data in (digits, other):
                with pytest.raises(InputError, match=f"process {os.getpid()} on .* trains there"):
                    train(_recipe(), data, None, out, resume=True)
                refused.append(data)

    train(_recipe(), digits, None, out, progress=intrude)
    assert len(refused) == 2
    train(_recipe(), digits, None, tmp_path / "alone")
    assert (out / METRICS).read_bytes() == (tmp_path / "alone" / METRICS).read_bytes()
    _assert_tidy(out)
    (out / LOCK).touch()  # killed after the run was finished
    (out / f".{METRICS}.{_dead_process()}.part").touch()
    train(_recipe(), digits, None, out, resume=True)
    _assert_tidy(out)
    with hold_run(out):  # finished: whoever resumes it reads only
        train(_recipe(), digits, None, out, resume=True)


def test_a_process_that_dies_frees_its_folder(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-c", SCRIPT, json.dumps(TINY), str(digits), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "here" in process.stdout.readline()
        with pytest.raises(InputError, match=f"process {process.pid} on .* trains there"):
            train(_recipe(), digits, None, out, resume=True)
        process.send_signal(signal.SIGKILL)
    assert not (out / CHECKPOINT).exists()
    with pytest.raises(InputError, match="digits-0"):
        train(_recipe(), tmp_path / "digits-0", None, out, resume=True)
    assert (out / RECIPE).is_file()  # a failed attempt removes nothing that was there before
    train(_recipe(), digits, None, out, resume=True)
    _assert_tidy(out)


def test_a_demo_removes_its_own_run_alone(digits: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    forget_run(out, _recipe())
    train(_recipe(), digits, None, out)
    with pytest.raises(InputError, match=r"train\.batch = 10, found 12"):
        forget_run(out, _recipe(batch=12))
    assert (out / RECIPE).is_file()
    forget_run(out, _recipe())
    assert not out.exists() or not os.listdir(out)
    (tmp_path / "precious").write_text("x")
    with pytest.raises(InputError, match="is not a run"):
        forget_run(tmp_path, _recipe())
    assert (tmp_path / "precious").exists()
