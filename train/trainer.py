"""Training: from a recipe, recordings and images to a run."""

import json
import math
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

import tmkt
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, TrainRecipe, dump_recipe
from tmkt.runs import CHECKPOINT, INFO, MODEL, RECIPE, Run, load_run, load_run_recipe
from tmkt.train.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from tmkt.train.data import TrainingData, draw_batch, load_training_data
from tmkt.train.log import MetricsLog
from tmkt.train.methods import Method, make_method

LOG_EVERY = 10  # steps
CHECKPOINT_EVERY = 50  # steps

Progress = Callable[[int, int, dict[str, float]], None]


def train(recipe: Recipe, data: Path, static: Path | None, out: Path, resume: bool = False, progress: Progress | None = None) -> Run:
    """Trains what `recipe` says on the recordings of `data` and the images of `static`, and writes the run to `out`.

    Each step's randomness derives from (seed, step) alone: on a CPU a training that was killed and resumed ends with the same weights,
    bit for bit, as one that ran through, and equal calls write equal weights, metrics and run.json (at an equal number of threads and
    version of torch). On a GPU, where there is one, that is not promised. Nothing is chosen on the test recordings: the network after
    the last step is measured on them once.

    With `resume` an unfinished run of the same recipe and data goes on, a finished one is given back as it is, and where there is none
    training starts. `progress` is called after each step with the steps done, their total and the step's metrics. Ctrl-C ends the step
    at hand, saves a checkpoint and raises KeyboardInterrupt. Raises InputError for bad input, for an `out` that is taken and for a disk
    that cannot be written.
    """
    finished = _open(recipe, out, resume)
    if finished:
        return finished
    with _deterministic(recipe.train.threads):
        return _train(recipe, data, static, out, progress or (lambda step, total, metrics: None))


def _open(recipe: Recipe, out: Path, resume: bool) -> Run | None:
    """Checks that `out` is free or may be resumed; gives the run if it is finished already."""
    if not (out / RECIPE).is_file():
        if out.exists() and not (out.is_dir() and not any(out.iterdir())):
            raise InputError(f"{out}: exists and is not a run; choose another --out or remove it")
        return None
    finished = (out / INFO).is_file()
    if not resume:
        mend = "choose another --out or remove it" if finished else "finish it with --resume, or choose another --out"
        raise InputError(f"{out}: holds {'a finished' if finished else 'an unfinished'} training; {mend}")
    old, new = load_run_recipe(out).model_dump(), recipe.model_dump()
    for section, values in new.items():
        for key, value in values.items():
            if old[section][key] != value:
                raise InputError(
                    f"{out}: was trained with {section}.{key} = {old[section][key]!r}, found {value!r}; resume with the same recipe or choose another --out"
                )
    return load_run(out) if finished else None


def _train(recipe: Recipe, data: Path, static: Path | None, out: Path, progress: Progress) -> Run:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        ...
