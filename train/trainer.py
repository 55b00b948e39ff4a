"""Training: from a recipe, recordings and images to a run."""

import json
import math
import os
import platform
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from tmkt import __version__
from tmkt.datasets.splits import to_ranges
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, TrainRecipe, dump_recipe
from tmkt.runs import CALIBRATION, CHECKPOINT, INFO, METRICS, MODEL, RECIPE, TEACHER, TEACHER_CHECKPOINT, TENSORBOARD, Run, load_run, load_run_recipe
from tmkt.train.averaging import average_of, update_average
from tmkt.train.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from tmkt.train.data import TrainingData, draw_batch, load_training_data
from tmkt.train.log import MetricsLog
from tmkt.train.measure import accuracy, measure
from tmkt.train.methods import METHODS, Method, Setting

LOG_EVERY = 10  # steps
CHECKPOINT_EVERY = 50  # steps
CALIBRATION_RECORDINGS = 100  # training recordings, at most, that the run keeps for the quantiser
LIBRARIES = ("torch", "spikingjelly", "numpy")  # whose versions decide a training's last bits

Progress = Callable[[int, int, dict[str, float]], None]


def train(recipe: Recipe, data: Path, static: Path | None, out: Path, resume: bool = False, progress: Progress | None = None) -> Run:
    """Trains what `recipe` says on the recordings of `data` and the images of `static`, and writes the run to `out`.

    Each step's randomness derives from (seed, step) alone: on a CPU a training that was killed and resumed ends with the same weights,
    bit for bit, as one that ran through, and equal calls write equal weights, metrics and run.json (at an equal number of threads and
    version of torch). On a GPU, where there is one, that is not promised. Nothing is chosen on the test recordings: the network after
    the last step (or the average of its weights, train.ema) is measured on them once.

    With `resume` an unfinished run of the same recipe and data goes on, a finished one is given back as it is, and where there is none
    training starts. `progress` is called after each step with the steps done, their total and the step's metrics. Ctrl-C (or SIGTERM)
    ends the step at hand, saves a checkpoint and raises KeyboardInterrupt. What fails before the first checkpoint leaves no run behind.
    Raises InputError for bad input, for an `out` that is taken and for a disk that cannot be written.
    """
    finished = _open(recipe, out, resume)
    if finished:
        return finished
    try:
        with _deterministic(recipe.train.threads):
            return _train(recipe, data, static, out, progress)
    except BaseException as error:
        if not any((out / name).is_file() for name in (CHECKPOINT, TEACHER, TEACHER_CHECKPOINT)):  # nothing was learned: leave the place free
            _remove_started(out)
        if isinstance(error, RuntimeError) and "alloc" in str(error):  # torch has no class of its own for it on the CPU
            raise MemoryError from error
        raise


def _remove_started(out: Path) -> None:
    with suppress(OSError):
        for name in (METRICS, RECIPE):
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / TENSORBOARD, ignore_errors=True)
        out.rmdir()


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
                was = f"was trained with {section}.{key} = {old[section][key]!r}, found {value!r}"
                raise InputError(f"{out}: {was}; resume with the same recipe or choose another --out")
    return load_run(out) if finished else None


def _train(recipe: Recipe, data: Path, static: Path | None, out: Path, progress: Progress | None) -> Run:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source = load_training_data(recipe, data, static, METHODS[recipe.method.name].needs_images)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        net = SpikingNetwork(recipe.network, (2, *source.sensor), len(source.classes)).to(device)
        method = METHODS[recipe.method.name](recipe.method, net, recipe.data.bins).to(device)
    averaged = average_of(net) if recipe.train.ema else net
    optimizer = make_optimizer([*net.parameters(), *method.parameters()], recipe.train)
    learnt = {"network": net, "method": method} | ({"averaged": averaged} if recipe.train.ema else {})
    fingerprint = source.fingerprint()
    checkpoint = out / CHECKPOINT
    start = load_checkpoint(checkpoint, learnt, optimizer, fingerprint) if checkpoint.is_file() else 0
    if not 0 <= start <= recipe.train.steps:
        raise InputError(f"{checkpoint}: step {start}, expected 0..{recipe.train.steps}; remove the run and train again")
    if not (out / RECIPE).is_file():
        with writing(out / RECIPE) as beside:
            beside.write_text(dump_recipe(recipe), encoding="utf-8")
    method.prepare(Setting(lambda rng: draw_batch(source, recipe, rng, device), out, recipe.train.seed, fingerprint, device))

    with _ctrl_c_noted() as ctrl_c, closing(MetricsLog(out, start)) as log:
        for step in range(start, recipe.train.steps):
            metrics = _step(step, recipe, source, net, method, optimizer, device)
            done = step + 1
            if recipe.train.ema:
                update_average(averaged, net, recipe.train.ema, done)
            last, stop = done == recipe.train.steps, ctrl_c.is_set()
            if done % LOG_EVERY == 0 or last:
                log.write(done, metrics)
            if done % CHECKPOINT_EVERY == 0 or last or stop:
                save_checkpoint(checkpoint, learnt, optimizer, done, fingerprint)
            if stop:
                raise KeyboardInterrupt
            if progress:
                progress(done, recipe.train.steps, metrics)

    save_tensors(out / CALIBRATION, {"frames": torch.from_numpy(source.calibration(CALIBRATION_RECORDINGS))})
    save_tensors(out / MODEL, averaged.state_dict())
    test = measure(averaged, source.test_frames, source.test_labels, device)
    with writing(out / INFO) as beside:  # last: it says that the run is finished
        beside.write_text(json.dumps(_info(recipe, source, test), indent=1) + "\n", encoding="utf-8")
    return load_run(out)


def _step(
    step: int, recipe: Recipe, source: TrainingData, net: SpikingNetwork, method: Method, optimizer: torch.optim.Optimizer, device: torch.device
) -> dict[str, float]:
    """One step of the optimiser; gives its losses, the batch's accuracy on events and the learning rate."""
    rng = np.random.default_rng([recipe.train.seed, step])
    net.train()
    batch = draw_batch(source, recipe, rng, device)
    losses = method.losses(net, batch, rng, step / recipe.train.steps)
    rate = learning_rate(step, recipe.train)
    for group in optimizer.param_groups:
        group["lr"] = rate
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()
    optimizer.step()
    loss = float(losses.total.detach())
    if not math.isfinite(loss):
        raise InputError(f"training diverged at step {step + 1} (loss {loss}); lower train.learning_rate = {recipe.train.learning_rate}")
    parts = {f"loss_{name}": float(value.detach()) for name, value in losses.parts.items()}
    return {"loss": loss, **parts, "accuracy": accuracy(losses.logits, batch.labels), "learning_rate": rate}


def learning_rate(step: int, recipe: TrainRecipe) -> float:
    """The rate of the step counted from 0: a linear warm-up, then a cosine down to 1 %."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1)
    return recipe.learning_rate * (0.01 + 0.99 * (1.0 + math.cos(math.pi * share)) / 2.0)


def make_optimizer(parameters: list[nn.Parameter], recipe: TrainRecipe) -> torch.optim.Optimizer:
    """AdamW; weight decay on matrices and kernels, not on biases and batch norm."""
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def _info(recipe: Recipe, source: TrainingData, test: dict[str, Any]) -> dict[str, Any]:
    return {
        "dataset": recipe.data.name,
        "sensor": list(source.sensor),
        "classes": list(source.classes),
        "protocol": source.protocol,
        "trained_on": source.trained_on,
        "validated_on": source.validated_on,
        "recordings": {"train": len(source.frames), "test": len(source.test_frames)},
        "images": len(source.images) if source.images else 0,
        "images_trained_on": to_ranges(source.seen()),
        "test": test,
        "versions": {"tmkt": __version__, "python": platform.python_version(), **{name: version(name) for name in LIBRARIES}},
    }


@contextmanager
def _ctrl_c_noted() -> Iterator[threading.Event]:
    """Notes the first Ctrl-C or SIGTERM instead of breaking off in the middle of a step; a second one breaks off."""
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():  # only the main thread may handle signals
        yield noted
        return

    def note(*_: object) -> None:
        noted.set()
        restore()

    def restore() -> None:
        for sign, handler in before.items():
            signal.signal(sign, handler)

    before = {sign: signal.signal(sign, note) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        restore()


@contextmanager
def _deterministic(threads: int) -> Iterator[None]:
    """The number of threads and deterministic algorithms for the time of a training; a sum's last bit depends on both."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA needs for it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
