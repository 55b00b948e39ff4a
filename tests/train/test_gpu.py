"""Training on a GPU, as far as it shows without one; the rest runs where there is one.

`make gpu` checks more there: layers and methods against the CPU, times, memory.
"""

import threading
import warnings
from contextlib import closing
from pathlib import Path

import pytest
import torch
from example_backbone import tiny_recipe

from tmkt.recipe import TrainRecipe
from tmkt.train import distributed, trainer
from tmkt.train.ahead import AHEAD, Ahead
from tmkt.train.runtime import computing
from tmkt.train.trainer import train

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")


def _settings() -> tuple[object, ...]:
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.benchmark,
        torch.backends.cudnn.allow_tf32,
        torch.get_float32_matmul_precision(),
    )


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_tf32_is_used_where_the_recipe_says_so_alone(precision: str) -> None:
    before = _settings()
    recipe = TrainRecipe(steps=1, threads=torch.get_num_threads(), precision=precision)
    with computing(recipe, GPU):
        assert _settings() == (False, True, precision == "tf32", "highest")
    assert _settings() == before
    with computing(recipe, CPU):
        assert _settings() == (True, False, precision == "tf32", "highest")
    assert _settings() == before


@pytest.fixture
def no_gpu_to_set(monkeypatch: pytest.MonkeyPatch) -> list[torch.device]:
    told: list[torch.device] = []
    monkeypatch.setattr(torch.cuda, "set_device", told.append)
    return told


def test_a_thread_prepares_steps_ahead_on_the_gpu_of_its_process(
    no_gpu_to_set: list[torch.device],
) -> None:
    made: list[tuple[int, str]] = []
    reached = threading.Event()

    def prepare(step: int) -> int:
        made.append((step, threading.current_thread().name))
        if step == 3 + AHEAD:
            reached.set()
        return 10 * step

    device = torch.device("cuda", 1)
    with closing(Ahead(prepare, 3 + AHEAD + 1, device)) as ahead:
        assert ahead.take(3) == 30
        assert reached.wait(10)  # before anyone asked for it
        assert [ahead.take(step) for step in range(4, 3 + AHEAD + 1)] == [40, 50]
    assert [step for step, _ in made] == [3, 4, 5]  # none beyond the end
    assert all(name.startswith("ahead") for _, name in made)
    assert no_gpu_to_set == [device]


def test_what_fails_in_the_thread_is_raised_where_the_step_is_taken(
    no_gpu_to_set: list[torch.device],
) -> None:
    def prepare(step: int) -> int:
        if step == 1:
            raise MemoryError("no room")
        return step

    with closing(Ahead(prepare, 9, GPU)) as ahead:
        assert ahead.take(0) == 0
        with pytest.raises(MemoryError, match="no room"):
            ahead.take(1)
    assert no_gpu_to_set == [GPU]


def test_a_cpu_prepares_a_step_when_it_is_taken() -> None:
    made: list[int] = []
    with closing(Ahead(made.append, 9, CPU)) as ahead:
        ahead.take(4)
    assert made == [4]


def test_a_process_computes_on_its_own_gpu_before_it_meets_the_others(
    monkeypatch: pytest.MonkeyPatch, no_gpu_to_set: list[torch.device]
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    device = distributed.local_device()
    with distributed.process_group(device):
        assert no_gpu_to_set == [torch.device("cuda", 2)]


@on_gpu
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_training_says_how_it_computes_and_waits_for_the_gpu_once_a_step(
    digits: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(network={}, train={"precision": precision, "steps": 8})
    waits: list[int] = []
    step = trainer.train_step

    def counted(*arguments: object) -> object:
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as found:
                warnings.simplefilter("always")
                return step(*arguments)  # type: ignore[arg-type]
        finally:
            torch.cuda.set_sync_debug_mode("default")
            waits.append(sum("synchroniz" in str(one.message) for one in found))

    monkeypatch.setattr(trainer, "train_step", counted)
    said: list[str] = []
    train(recipe, digits, None, tmp_path / "run", report=said.append)
    assert f"train.precision = {precision}" in said[0]
    assert waits[-2] == 1  # the last step ends an epoch, whose spikes are counted
