"""Two processes compute what one would."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tmkt.datasets.digits import simulate_digits
from tmkt.errors import InputError
from tmkt.runs import METRICS, load_run
from tmkt.train import distributed

RECIPE = """
[data]
name = "digits"
shots = 2
bins = 5
bin_us = 63200
[network]
channels = [4, 8]
strides = [2, 1]
pools = [2, 2]
[method]
METHOD
[train]
steps = 6
batch = 10
draw = "DRAW"
warmup_steps = 2
threads = 1
ema = 0.9
learning_rate = 1e-3
"""
SCRIPT = """
import sys
from pathlib import Path
from tmkt.recipe import load_recipe
from tmkt.train import trainer
trainer.LOG_EVERY = trainer.CHECKPOINT_EVERY = 1
recipe, data, out = sys.argv[1:]
trainer.train(load_recipe(recipe, Path()), Path(data), None, Path(out))
"""

# Says which process trains a teacher, and of which teacher each learns.
TEACHER_SCRIPT = """
import hashlib, os, sys
from pathlib import Path
from tmkt.recipe import load_recipe
from tmkt.train import distributed, teacher, trainer
from tmkt.train.methods import ckd
recipe, data, out = sys.argv[1:]
train, prepare = teacher._train, ckd.prepare_teacher
def trained(*arguments):
    os.write(1, f"trains: {distributed.rank()}\\n".encode())  # a line at once, as print does not
    train(*arguments)
def prepared(*arguments):
    made = prepare(*arguments)
    weights = b"".join(tensor.numpy().tobytes() for tensor in made.net.state_dict().values())
    os.write(1, f"learns of: {hashlib.sha256(weights).hexdigest()}\\n".encode())
    return made
teacher._train, ckd.prepare_teacher = trained, prepared
settings = ["method.name=ckd", "method.teacher_steps=2", "method.teacher_width=4"]
settings += ["train.steps=1", "train.ema=0.0"]
trainer.train(load_recipe(recipe, Path(), settings), Path(data), None, Path(out))
"""

# Runs the command; the second process finds a damaged recording where the first one finds none.
COMMAND_SCRIPT = """
import os, sys
from tmkt.cli import main
recipe, data, out = sys.argv[1:]
if os.environ["RANK"] == "1":
    data += "-damaged"
sys.argv = ["tmkt", "train", recipe, "--data", data, "--out", out]
try:
    main()
except SystemExit as end:
    os.write(1, f"process {os.environ['RANK']} ends with {end.code}\\n".encode())  # a line at once
    raise
"""


def _train(
    tmp_path: Path,
    out: str,
    count: int,
    script: str = SCRIPT,
    method: str = 'name = "tmkt"',
    draw: str = "classes",
) -> subprocess.CompletedProcess[str]:
    recipe = RECIPE.replace("METHOD", method).replace("DRAW", draw)
    (tmp_path / "recipe.toml").write_text(recipe)
    (tmp_path / "script.py").write_text(script)
    if not (tmp_path / "digits").exists():
        simulate_digits(tmp_path / "digits", 4, 0)
    launch = (
        ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
        if count > 1
        else []
    )
    arguments = [str(tmp_path / name) for name in ("script.py", "recipe.toml", "digits", out)]
    return subprocess.run(
        [sys.executable, *launch, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def _losses(run: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (run / METRICS).read_text().splitlines()]
    return [
        {
            name: value
            for name, value in row.items()
            if name.startswith("loss") or name == "accuracy"
        }
        for row in rows
        if "epoch" not in row
    ]


# From the first step on CKD replaces most images by recordings of like classes.
CKD = """
name = "ckd"
teacher_steps = 2
teacher_width = 4
sliding_power = 0.5
likeness_temperature = 1.0
"""
# One of the batch's ten samples is a recording: neither process may round its half to none.
MIX = """
name = "mix"
real_share = 0.1
"""


@pytest.mark.parametrize(
    ("method", "draw"),
    [('name = "tmkt"', "epochs"), (CKD, "weighted"), (MIX, "classes")],
    ids=["tmkt", "ckd", "mix"],
)
def test_two_processes_learn_as_one_with_the_same_whole_batch(
    tmp_path: Path, method: str, draw: str
) -> None:
    for count, out in ((1, "one"), (2, "two")):
        done = _train(tmp_path, out, count, method=method, draw=draw)
        assert done.returncode == 0, done.stderr
    one, two = _losses(tmp_path / "one"), _losses(tmp_path / "two")
    assert len(one) == len(two) == 6
    for a, b in zip(one, two, strict=True):
        assert a == pytest.approx(b, rel=2e-4)
    first, second = (load_run(tmp_path / out).load_network().state_dict() for out in ("one", "two"))
    for name, weights in first.items():
        np.testing.assert_allclose(
            second[name].numpy(), weights.numpy(), rtol=2e-3, atol=2e-4, err_msg=name
        )


def test_the_first_of_two_processes_trains_the_teacher_and_the_other_waits_for_it(
    tmp_path: Path,
) -> None:
    done = _train(tmp_path, "run", 2, TEACHER_SCRIPT)
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert [line for line in said if line.startswith("trains:")] == ["trains: 0"]
    learnt = [line for line in said if line.startswith("learns of:")]
    assert len(learnt) == 2
    assert len(set(learnt)) == 1


def test_bad_input_of_one_process_ends_all_with_its_line(tmp_path: Path) -> None:
    simulate_digits(tmp_path / "digits", 4, 0)
    shutil.copytree(tmp_path / "digits", tmp_path / "digits-damaged")
    damaged = next((tmp_path / "digits-damaged" / "Train" / "3").iterdir())
    damaged.write_bytes(damaged.read_bytes()[:-2])
    done = _train(tmp_path, "run", 2, COMMAND_SCRIPT)
    said = [line for line in done.stderr.splitlines() if line.startswith("tmkt: ")]
    assert len(said) == 1
    assert str(damaged) in said[0]
    assert sorted(done.stdout.splitlines()) == [f"process {i} ends with 2" for i in (0, 1)]
    assert done.stderr.count("Traceback") == 1  # torchrun's own, when a process fails
    assert "ChildFailedError" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_batch_without_equal_shares_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(distributed, "world_size", lambda: 2)
    distributed.check_batch_size(10)
    with pytest.raises(
        InputError, match=r"train\.batch: 11, expected a multiple of the 2 processes"
    ):
        distributed.check_batch_size(11)
