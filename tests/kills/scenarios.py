"""Scenarios for kills: small trainings, a search, an export, a simulation, the cache."""

import ctypes
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tmkt import bundle
from tmkt.datasets import cache
from tmkt.datasets.digits import find_recordings, simulate_digits
from tmkt.export.export import export_run
from tmkt.recipe import Recipe, parse_recipe
from tmkt.runs import TENSORBOARD, load_run
from tmkt.train import teacher, trainer
from tmkt.train.qat.training import qat_recipe
from tmkt.train.tune.search import tune
from tmkt.train.tune.storage import JOURNAL
from tmkt.train.tune.trials import Search

TINY: dict[str, dict[str, Any]] = {
    "data": {"name": "digits", "shots": 2, "bins": 4, "bin_us": 79000},
    "network": {"channels": [4, 8], "strides": [2, 1], "pools": [2, 2]},
    "method": {"name": "tmkt"},
    "train": {"steps": 12, "batch": 10, "warmup_steps": 2, "threads": 1, "ema": 0.9},
}
CKD = {**TINY, "method": {"name": "ckd", "teacher_steps": 8, "teacher_width": 2}}
TUNE = """
data = {name = "digits", shots = 2, validation = 1.0, bins = 4, bin_us = 79000}
network = {channels = [4, 8], strides = [2, 1], pools = [2, 2]}
method = {name = "tmkt"}
train = {steps = 4, batch = 10, warmup_steps = 2, threads = 1}
"""
PR_SET_PDEATHSIG = 1  # of Linux
NOT_COMPARED = (TENSORBOARD, JOURNAL)  # they hold times


@dataclass(frozen=True)
class Scenario:
    """Work that is killed and called again.

    `before` prepares its folder; `look` reads what a kill has left, as other commands may. `forks`:
    it starts processes itself, which the process that forks the others must not do.
    """

    name: str
    run: Callable[[Path], object]
    before: Callable[[Path], object] | None = None
    look: Callable[[Path], object] | None = None
    forks: bool = False

    def contents(self, folder: Path) -> dict[str, bytes]:
        """Read all files that must be equal; folders count, too."""
        return {
            path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else b""
            for path in sorted(folder.rglob("*"))
            if not any(part in NOT_COMPARED for part in path.relative_to(folder).parts)
        }


def prepare(place: Path) -> None:
    """Make what the scenarios start from: recordings, a run and its bundle."""
    _settle()
    simulate_digits(place / "digits", 4, 0)
    trainer.train(_recipe(TINY), place / "digits", None, place / "start")
    (place / "tune.toml").write_text(TUNE, encoding="utf-8")


def _settle() -> None:
    torch.set_num_threads(1)
    trainer.CHECKPOINT_EVERY = 3
    teacher.CHECKPOINT_EVERY = 3
    cache.WORTH_BYTES = 0
    os.environ[cache.VARIABLE] = ""


def _recipe(values: dict[str, dict[str, Any]]) -> Recipe:
    return parse_recipe(values, "kills")


def _train(values: dict[str, dict[str, Any]]) -> Callable[[Path], object]:
    def run(folder: Path) -> None:
        _settle()
        data = folder.parent / "digits"
        trainer.train(_recipe(values), data, None, folder / "run", resume=True)

    return run


def _train_by_two(folder: Path) -> None:
    """Train in two processes, as torchrun starts them. The second one ends with the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": "2"}
    second = os.fork()
    os.environ |= {"RANK": "0" if second else "1", "LOCAL_RANK": "0" if second else "1"}
    if second == 0:
        code = 1
        try:
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            _train(TINY)(folder)
            code = 0
        finally:
            os._exit(code)
    _train(TINY)(folder)
    _, status = os.waitpid(second, 0)
    assert status == 0, f"the second process ended with {status}"


def _train_on_integers(folder: Path) -> None:
    _settle()
    start = load_run(folder.parent / "start")
    recipe = qat_recipe(start, "4", ["train.steps=8"])
    data = folder.parent / "digits"
    trainer.train(recipe, data, None, folder / "run", resume=True, start=start)


def _tune(folder: Path) -> None:
    _settle()
    searches = ["train.learning_rate=1e-3..0.1"]
    search = Search(str(folder.parent / "tune.toml"), [], searches, trials=3)
    tune(search, folder.parent / "digits", None, folder / "search")


def _export(bits: int) -> Callable[[Path], object]:
    def run(folder: Path) -> None:
        start = load_run(folder.parent / "start")
        export_run(start, folder / "b", ["all"], bits, start.load_calibration())

    return run


def _simulate(folder: Path) -> None:
    simulate_digits(folder / "digits", 1, 1)


def _read_recordings(folder: Path) -> None:
    from tmkt.parts import put_back

    put_back(folder / "digits")
    assert len(find_recordings(folder / "digits")) in (10, 20)


def _make_source(folder: Path) -> None:
    (folder / "source").touch()
    os.utime(folder / "source", ns=(0, 0))  # the cached file tells the date


def _cache(folder: Path) -> None:
    _settle()
    os.environ[cache.VARIABLE] = str(folder / "cache")

    def fill(out: np.ndarray) -> None:
        for i in range(len(out)):
            out[i] = i % 251

    found = cache.cached([folder / "source"], {"kind": "kills"}, (200, 20_000), np.uint8, fill)
    assert found[150, 7] == 150


SCENARIOS = (
    Scenario("train", _train(TINY)),
    Scenario("train-ckd", _train(CKD)),
    Scenario("train-qat", _train_on_integers),
    Scenario("train-by-two", _train_by_two, forks=True),
    Scenario("tune", _tune),
    Scenario("export", _export(8)),
    Scenario("export-again", _export(4), _export(8), lambda folder: bundle.load(folder / "b")),
    Scenario(
        "simulate-again",
        _simulate,
        lambda folder: simulate_digits(folder / "digits", 2, 0),
        _read_recordings,
    ),
    Scenario("cache", _cache, _make_source),
)
