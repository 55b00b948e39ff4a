import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from tmkt.datasets.digits import simulate_digits
from tmkt.errors import InputError
from tmkt.recipe import Recipe, load_recipe, parse_recipe
from tmkt.runs import CHECKPOINT, INFO, METRICS, MODEL, load_run
from tmkt.train import RECIPES, trainer
from tmkt.train.optimiser import learning_rate
from tmkt.train.runtime import is_out_of_memory
from tmkt.train.trainer import train

STEPS = 24
TINY = {
    "data": {"name": "digits", "shots": 2, "bins": 5, "bin_us": 63200},
    "network": {"channels": [4, 8], "strides": [2, 1], "pools": [2, 2]},
    "method": {"name": "tmkt"},
    "train": {"steps": STEPS, "batch": 10, "warmup_steps": 2, "threads": 1, "ema": 0.9},
}
# A training in a process of its own that checkpoints every 4 steps and, at step 10, says so and
# waits for a signal.
SCRIPT = """
import json, sys, time
from pathlib import Path
from typing import Any
from tmkt.recipe import parse_recipe
from tmkt.train import trainer
recipe, data, out = json.loads(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
trainer.CHECKPOINT_EVERY = 4
def progress(step, total, metrics):
    if step >= 10:
        print("here", flush=True)
        time.sleep(0.2)
trainer.train(parse_recipe(recipe, "test"), data, None, out, resume=True, progress=progress)
"""


def _recipe(**changes: dict[str, object]) -> Recipe:
    return parse_recipe(
        {section: {**values, **changes.get(section, {})} for section, values in TINY.items()},
        "test",
    )


@pytest.fixture(scope="module")
def whole(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a run in one go, in this process."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    train(_recipe(), digits, None, out)
    return out


def _stop_at_step_ten(digits: Path, out: Path, by: signal.Signals) -> str:
    """Trains in a process of its own until step 10, sends it a signal there; gives what it wrote to
    standard error.
    """
    command = [sys.executable, "-c", SCRIPT, json.dumps(TINY), str(digits), str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        if "here" in process.stdout.readline():
            process.send_signal(by)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == (-signal.SIGKILL if by == signal.SIGKILL else -signal.SIGINT), (
        errors
    )  # what Python makes of KeyboardInterrupt
    return errors


def _same_run(a: Path, b: Path) -> None:
    for name in (MODEL, METRICS, INFO, CHECKPOINT, "recipe.toml", "calibration.safetensors"):
        assert (a / name).read_bytes() == (b / name).read_bytes(), name


def test_a_run_holds_what_the_next_stages_need(whole: Path) -> None:
    run = load_run(whole)
    assert run.recipe == _recipe()
    assert run.info["sensor"] == [34, 34]
    assert len(run.info["classes"]) == 10
    assert len(run.info["trained_on"]) == 20
    assert run.info["recordings"] == {"train": 20, "test": 20}
    assert run.info["images"] == 1797 - 20  # no image of a tested digit
    assert set(run.info["test"]["spike_rates"]) == {"conv1", "conv2"}
    assert all(0 < rate < 1 for rate in run.info["test"]["spike_rates"].values())
    assert run.load_calibration().shape == (20, 5, 2, 34, 34)
    net = run.load_network()
    assert not net.training
    assert (whole / "tensorboard").is_dir()
    rows = [
        row
        for line in (whole / METRICS).read_text().splitlines()
        if "epoch" not in (row := json.loads(line))
    ]
    assert [row["step"] for row in rows] == [10, 20, 24]
    assert rows[-1]["loss"] < rows[0]["loss"]
    assert not [path for path in whole.rglob("*") if path.suffix in (".part", ".pt", ".pkl")]


@pytest.mark.parametrize(("bin_us", "cut"), [(63200, False), (500, True)])
def test_recordings_that_the_bins_cut_are_told_of(
    digits: Path, tmp_path: Path, tmkt: Any, bin_us: int, cut: bool
) -> None:
    said: list[str] = []
    recipe = _recipe(data={"bin_us": bin_us}, train={"steps": 1})
    run = train(recipe, digits, None, tmp_path / "run", report=said.append)
    lines = [line for line in said if "the bins leave out" in line]
    outside = run.info["outside_bins"]
    assert outside["recordings"] == 40
    assert (outside["time_median"] > 0.9) == (outside["events_median"] > 0.9) == cut
    assert len(lines) == cut
    if cut:
        assert lines[0].startswith("warning: the bins leave out")
        assert "5 bins of 500 us are 0.0025 s" in lines[0]
        assert re.search(r"--set data.bins=\d+ or --set data.bin_us=\d+ would cover all", lines[0])
    arguments = ("--target", "nir", "--out", tmp_path / "bundle", "--allow-silent")
    exported = tmkt("export", run.path, *arguments).err.splitlines()
    assert [line for line in exported if "the bins leave out" in line] == [
        f"{line}, in a new training" for line in lines
    ]


def test_the_same_command_twice_gives_the_same_bytes(
    digits: Path, whole: Path, tmp_path: Path
) -> None:
    train(_recipe(), digits, None, tmp_path / "again")
    _same_run(whole, tmp_path / "again")


def test_a_training_that_was_killed_and_resumed_ends_bit_for_bit_like_one_that_was_not(
    digits: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    _stop_at_step_ten(digits, out, signal.SIGKILL)
    assert not (out / INFO).exists()
    with (out / METRICS).open("a") as file:  # as a kill in the middle of a row leaves it
        file.write('{"step": 12, "lo')
    with pytest.raises(InputError, match="not finished"):
        load_run(out)
    with pytest.raises(InputError, match="unfinished training; finish it with --resume"):
        train(_recipe(), digits, None, out)
    steps: list[int] = []
    train(_recipe(), digits, None, out, resume=True, progress=lambda step, *_: steps.append(step))
    assert steps == list(range(9, STEPS + 1))  # from the checkpoint of step 8 on
    _same_run(whole, out)


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_saves_the_last_step_and_leaves_a_run_that_resumes(
    digits: Path, whole: Path, tmp_path: Path, sign: signal.Signals
) -> None:
    out = tmp_path / "interrupted"
    assert "KeyboardInterrupt" in _stop_at_step_ten(digits, out, sign)
    assert (out / CHECKPOINT).is_file()
    assert not (out / MODEL).exists()
    steps: list[int] = []
    train(_recipe(), digits, None, out, resume=True, progress=lambda step, *_: steps.append(step))
    assert steps[0] > 10  # goes on after the interrupted step, not from the checkpoint of step 8
    assert steps[-1] == STEPS
    _same_run(whole, out)


def test_a_finished_run_is_neither_overwritten_nor_trained_again(digits: Path, whole: Path) -> None:
    with pytest.raises(
        InputError, match="holds a finished training; choose another --out or remove it"
    ):
        train(_recipe(), digits, None, whole)
    before = time.time()
    assert train(_recipe(), digits, None, whole, resume=True).info == load_run(whole).info
    assert (whole / MODEL).stat().st_mtime < before


def test_a_run_is_resumed_with_its_own_recipe_alone(digits: Path, whole: Path) -> None:
    with pytest.raises(
        InputError,
        match=r"was trained with train\.batch = 10, found 12; resume with the same recipe",
    ):
        train(_recipe(train={"batch": 12}), digits, None, whole, resume=True)


def test_a_run_is_resumed_with_its_own_data_alone(
    digits: Path, whole: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    out.mkdir()
    for name in ("recipe.toml", CHECKPOINT):
        (out / name).write_bytes((whole / name).read_bytes())
    other = tmp_path / "digits"
    simulate_digits(other, 4, 1)
    with pytest.raises(InputError, match="made with other recordings or images"):
        train(_recipe(), other, None, out, resume=True)
    (out / CHECKPOINT).write_bytes((whole / CHECKPOINT).read_bytes()[:-100])
    with pytest.raises(InputError, match="damaged checkpoint"):
        train(_recipe(), digits, None, out, resume=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"step": np.array(-3)},
        {"step": np.array(10**12)},
        {"optimizer.0.exp_avg": np.zeros(3, np.float32)},
        {"optimizer.0.exp_avg": None},
        {"optimizer.999.exp_avg": np.zeros(3, np.float32)},
    ],
    ids=str,
)
def test_a_checkpoint_that_does_not_fit_is_refused(
    digits: Path, whole: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    (tmp_path / "recipe.toml").write_bytes((whole / "recipe.toml").read_bytes())
    tensors = {
        name: value
        for name, value in {**load_file(whole / CHECKPOINT), **changes}.items()
        if value is not None
    }
    save_file(tensors, tmp_path / CHECKPOINT)
    with pytest.raises(InputError, match="remove the run and train again"):
        train(_recipe(), digits, None, tmp_path, resume=True)


def test_metrics_that_cannot_be_read_are_dropped(digits: Path, whole: Path, tmp_path: Path) -> None:
    for name in ("recipe.toml", CHECKPOINT):
        (tmp_path / name).write_bytes((whole / name).read_bytes())
    damaged = ["\xff", "[]", '{"step": null}', '{"step": ' + "9" * 400 + "}", "[" * 5000]
    rows = "\n".join([*damaged, '{"step": 10}', ""])
    (tmp_path / METRICS).write_text(rows, encoding="latin-1")
    train(_recipe(), digits, None, tmp_path, resume=True)
    assert (tmp_path / METRICS).read_text() == '{"step": 10}\n'


def test_a_folder_with_other_files_is_left_alone(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="is not a run"):
        train(_recipe(), digits, None, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_bad_data_leaves_no_run_behind(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"class 0 \(.*Train/0\): 4 recorded instances"):
        train(_recipe(data={"shots": 4}), digits, None, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("file", [METRICS, "events.out.tfevents."])
def test_a_full_disk_is_told_in_one_line_and_the_run_is_not_finished(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    real = Path.open

    def full(path: Path, *args: object, **options: object) -> object:
        written = path.name.startswith(file) and args in (("a",), ("wb",))
        return real(Path("/dev/full") if written else path, *args, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(Path, "open", full)
    out = tmp_path / "run"
    with pytest.raises(InputError, match="cannot be written") as raised:
        train(_recipe(), digits, None, out)
    assert "\n" not in str(raised.value)
    assert not (out / MODEL).exists()
    assert not (out / INFO).exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
        MemoryError("Unable to allocate 7.11 PiB for an array"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate"
            " memory: you tried to allocate 4000000000000000 bytes. Error code 12"
        ),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:81] data. DefaultCPUAllocator: not enough memory:"
            " you tried to allocate 4000000000000000 bytes."
        ),
    ],
    ids=str,
)
def test_memory_that_runs_out_is_a_memory_error(
    digits: Path, tmp_path: Path, error: Exception
) -> None:
    def fail(*_: object) -> None:
        raise error

    with pytest.raises(MemoryError):
        train(_recipe(), digits, None, tmp_path / "run", progress=fail)


def test_torch_says_that_memory_ran_out_as_we_expect() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(2**50)
    assert is_out_of_memory(raised.value)


def test_another_error_is_not_blamed_on_memory(digits: Path, tmp_path: Path) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the kernel of conv1 reallocated its workspace twice: not allocated")

    with pytest.raises(RuntimeError, match="of conv1"):
        train(_recipe(), digits, None, tmp_path / "run", progress=fail)


def test_the_recordings_alone_can_be_trained_without_images(digits: Path, tmp_path: Path) -> None:
    run = train(
        _recipe(method={"name": "target-only"}, train={"steps": 3}), digits, None, tmp_path / "run"
    )
    assert run.info["images"] == 0


def test_a_diverging_training_says_so(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"diverged at step \d+ .* lower train\.learning_rate"):
        train(_recipe(train={"learning_rate": 1e30}), digits, None, tmp_path / "run")
    assert not (tmp_path / "run").exists(), (
        "nothing was learned, so the place is free for another try"
    )


def test_training_leaves_the_settings_of_torch_as_they_were(digits: Path, tmp_path: Path) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGINT),
    )
    train(_recipe(train={"steps": 1}), digits, None, tmp_path / "run")
    assert (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        signal.getsignal(signal.SIGINT),
    ) == before
    assert torch.equal(torch.rand(3), expected)


def test_the_learning_rate_warms_up_and_falls_to_one_percent() -> None:
    recipe = _recipe(train={"steps": 1000, "warmup_steps": 20}).train
    rates = np.array([learning_rate(step, recipe) for step in range(1000)])
    assert rates.argmax() in (19, 20)
    assert rates.max() == recipe.learning_rate
    assert (np.diff(rates[:20]) > 0).all()
    assert (np.diff(rates[20:]) < 0).all()
    assert rates[-1] == pytest.approx(0.01 * recipe.learning_rate, rel=0.01)
    assert (
        trainer.CHECKPOINT_EVERY % trainer.LOG_EVERY == 0
    )  # else rows between two checkpoints would be lost on resume


@pytest.mark.parametrize(
    ("name", "epoch", "epochs", "first", "highest", "last"),
    [  # as KT publishes them, from 1e-6 on
        ("ncaltech101-kt", 65, 300, 1e-6, 5.86e-4, 1e-5),
        ("cepdvs-kt", 41, 200, 1e-6, 5.86e-4, 1e-5),
        ("nomniglot-kt", 1521, 50, 1e-6, 0.01875, 0.001875),
    ],
)
def test_the_papers_learning_rates_change_by_epochs_and_end_where_theirs_do(
    name: str, epoch: int, epochs: int, first: float, highest: float, last: float
) -> None:
    recipe = load_recipe(name, RECIPES).train
    assert recipe.steps == epoch * epochs
    rates = np.array([learning_rate(step, recipe) for step in range(recipe.steps)])
    assert (rates.reshape(epochs, epoch) == rates[::epoch, None]).all()
    by_epoch = rates[::epoch]
    assert by_epoch[0] == pytest.approx(first + highest / recipe.warmup_steps, rel=0.01)
    assert by_epoch.argmax() == 5
    assert by_epoch.max() == highest
    assert by_epoch[-1] == pytest.approx(last, rel=0.02)
    if name == "nomniglot-kt":
        assert (by_epoch[5:40] == highest).all()
        assert (by_epoch[40:] == by_epoch[-1]).all()


def test_each_epoch_is_told_with_losses_validation_and_spike_rates(tmp_path: Path) -> None:
    simulate_digits(tmp_path / "digits", 6, 0)
    lines: list[str] = []
    out = tmp_path / "run"
    train(
        _recipe(data={"validation": 1}, train={"steps": 8}),
        tmp_path / "digits",
        None,
        out,
        report=lines.append,
    )
    epochs = [
        row
        for line in (out / METRICS).read_text().splitlines()
        if "epoch" in (row := json.loads(line))
    ]
    told = [line for line in lines if line.startswith("epoch")]
    assert len(told) == len(epochs) == 4  # 20 recordings, 10 a batch
    assert "epoch 4/4: loss " in told[-1]
    assert "validation" in told[-1]
    assert all(
        0 <= row["validation"] <= 1 and set(row["spike_rates"]) == {"conv1", "conv2"}
        for row in epochs
    )
    assert all(
        {"loss", "loss_static", "loss_events", "loss_alignment", "accuracy"} <= row.keys()
        for row in epochs
    )


def test_a_silent_layer_is_warned_of(digits: Path, tmp_path: Path) -> None:
    lines: list[str] = []
    train(
        _recipe(network={"threshold": 50.0}, train={"steps": 2}),
        digits,
        None,
        tmp_path / "run",
        report=lines.append,
    )
    assert any("conv1 is silent" in line for line in lines)


def test_bfloat16_learns_much_the_same(digits: Path, whole: Path, tmp_path: Path) -> None:
    train(_recipe(train={"precision": "bf16"}), digits, None, tmp_path / "run")
    last = [
        json.loads((run / METRICS).read_text().splitlines()[-1])["loss"]
        for run in (whole, tmp_path / "run")
    ]
    assert last[1] == pytest.approx(last[0], rel=0.2)
