"""Training: from a recipe, recordings and images to a run."""

import json
import math
import shutil
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from tmkt.errors import Diverged, InputError
from tmkt.files import writing
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, TrainRecipe, dump_recipe
from tmkt.runs import (
    CALIBRATION,
    CHECKPOINT,
    INFO,
    MODEL,
    RECIPE,
    TEACHER,
    TEACHER_CHECKPOINT,
    Run,
    load_run,
)
from tmkt.train import processes
from tmkt.train.averaging import average_of, update_average
from tmkt.train.checkpoint import load_checkpoint, save_checkpoint, save_tensors
from tmkt.train.data import TrainingData, draw_batch, load_training_data
from tmkt.train.health import (
    SpikeRates,
    counted_spikes,
    first_bad_layer,
    gradients_finite,
    warnings,
)
from tmkt.train.log import EpochMeans, MetricsLog, epoch_line
from tmkt.train.measure import accuracy, measure
from tmkt.train.methods import METHODS, Method, Setting
from tmkt.train.qat.training import calibration_source, check_same_data, deployed, on_grid, qat_info
from tmkt.train.run_folder import open_run, remove_started, run_info
from tmkt.train.runtime import ctrl_c_noted, deterministic, is_out_of_memory

LOG_EVERY = 10  # steps
CHECKPOINT_EVERY = 50  # steps
MOST_EPOCHS = 20  # lines that a training prints
CALIBRATION_RECORDINGS = 100  # training recordings, at most, that the run keeps for the quantiser

Progress = Callable[[int, int, dict[str, float]], None]
Report = Callable[[str], None]


def train(
    recipe: Recipe,
    data: Path | TrainingData | None,
    static: Path | None,
    out: Path,
    resume: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
    start: Run | None = None,
) -> Run:
    """Trains what `recipe` says on the recordings of `data` (or what was read of them before) and
    the images of `static`; writes the run to `out`.

    Each step's randomness derives from (seed, step) alone: on a CPU a training that was killed and
    resumed ends with the same weights, bit for bit, as one that ran through, and equal calls write
    equal weights, metrics and run.json (at an equal number of threads and version of torch). On a
    GPU, where there is one, that is not promised. Nothing is chosen on the test recordings: the
    network after the last step (or the average of its weights, train.ema) is measured on them once.

    With `resume` an unfinished run of the same recipe and data goes on, a finished one is given
    back as it is, and where there is none training starts. `progress` is called after each step
    with the steps done, their total and the step's metrics, at the end of an epoch also
    `validation` (the accuracy) and `validation_loss`; what it raises ends the training. `report` is
    called with a line after each epoch (the training recordings once, or a twentieth of all steps
    if that is longer) and with warnings. Ctrl-C (or SIGTERM) ends the step at hand, saves a
    checkpoint and raises KeyboardInterrupt. What fails before the first checkpoint leaves no run
    behind. `start`: the run that training on integers goes on from (recipe.qat); it may do so
    without `data`, on the calibration recordings. Started by torchrun in several processes, each
    computes its share of every batch, and the first one writes. Raises InputError for bad input,
    for an `out` that is taken, for a disk that cannot be written, and where numbers stop being
    numbers, with the step and the layer.
    """
    device = processes.device()
    with processes.joined(device):
        finished = open_run(recipe, out, resume)
        processes.wait_for_all()
        if finished:
            return finished
        try:
            with deterministic(recipe.train.threads):
                return _Training(
                    recipe, data, static, out, device, report or (lambda _: None), start
                ).run(progress or (lambda *_: None))
        except BaseException as error:
            if not any(
                (out / name).is_file() for name in (CHECKPOINT, TEACHER, TEACHER_CHECKPOINT)
            ):  # nothing was learned: leave the place free
                remove_started(out)
            if is_out_of_memory(error) and not isinstance(error, MemoryError):
                raise MemoryError from error
            raise


@dataclass(frozen=True)
class _Step:
    """`metrics`: losses, the batch's accuracy on events, the learning rate; `stop`: whether some
    process was told to.
    """

    metrics: dict[str, float]
    stop: bool


class _Training:
    """All that a training holds."""

    def __init__(
        self,
        recipe: Recipe,
        data: Path | TrainingData | None,
        static: Path | None,
        out: Path,
        device: torch.device,
        report: Report,
        start: Run | None,
    ) -> None:
        processes.check_batch(recipe.train.batch)
        self.recipe, self.out, self.device, self.start = recipe, out, device, start
        self.writes = processes.rank() == 0
        self.report: Report = report if self.writes else lambda _: None
        self.source: TrainingData = _source(recipe, data, static, start)
        self.method: Method
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.train.seed)
            if start is None:
                self.net = SpikingNetwork(
                    recipe.network, (2, *self.source.sensor), len(self.source.classes)
                )
                self.method = METHODS[recipe.method.name](recipe.method, self.net, recipe.data.bins)
            else:
                self.net, self.method = on_grid(recipe, start, data is not None)
        self.net.to(device).recompute = recipe.train.recompute
        self.method.to(device)
        self.averaged = average_of(self.net) if recipe.train.ema else self.net
        self.learnt: dict[str, nn.Module] = {"network": self.net, "method": self.method} | (
            {"averaged": self.averaged} if recipe.train.ema else {}
        )
        self.optimizer = make_optimizer(
            [*self.net.parameters(), *self.method.parameters()], recipe.train
        )
        self.means = EpochMeans()
        self.epoch_steps = max(
            -(-len(self.source.frames) // recipe.train.batch), -(-recipe.train.steps // MOST_EPOCHS)
        )

    def run(self, progress: Progress) -> Run:
        """From the checkpoint, if there is one, to the finished run."""
        recipe, fingerprint, checkpoint = (
            self.recipe,
            self.source.fingerprint(),
            self.out / CHECKPOINT,
        )
        total = recipe.train.steps
        start = (
            load_checkpoint(checkpoint, self.learnt, self.optimizer, fingerprint, self.means)
            if checkpoint.is_file()
            else 0
        )
        if not 0 <= start <= total:
            raise InputError(
                f"{checkpoint}: step {start}, expected 0..{total}; remove the run and train again"
            )
        if self.writes and not (self.out / RECIPE).is_file():
            with writing(self.out / RECIPE) as beside:
                beside.write_text(dump_recipe(recipe), encoding="utf-8")
        self._prepare(fingerprint)
        self.epoch_began, self.epoch_before = (
            time.monotonic(),
            self.means.steps,
        )  # a resumed epoch's steps before are not timed
        with (
            ctrl_c_noted() as ctrl_c,
            closing(MetricsLog(self.out, start)) if self.writes else nullcontext() as log,
        ):
            for step in range(start, total):
                done = step + 1
                ends_epoch = done % self.epoch_steps == 0 or done == total
                with counted_spikes(self.net) if ends_epoch else nullcontext() as spikes:
                    found = self._step(step, ctrl_c.is_set())
                if recipe.train.ema:
                    update_average(self.averaged, self.net, recipe.train.ema, done)
                self.means.add(found.metrics)
                if log is not None and (done % LOG_EVERY == 0 or done == total):
                    log.write(done, found.metrics)
                validation = {} if spikes is None else self._end_epoch(done, spikes, log)
                if self.writes and (done % CHECKPOINT_EVERY == 0 or done == total or found.stop):
                    save_checkpoint(
                        checkpoint, self.learnt, self.optimizer, done, fingerprint, self.means
                    )
                if found.stop:
                    raise KeyboardInterrupt
                if self.writes:
                    progress(done, total, {**found.metrics, **validation})
        if self.writes:
            self._finish()
        processes.wait_for_all()
        return load_run(self.out)

    def _prepare(self, fingerprint: bytes) -> None:
        """The method's preparation, in one process after the other: what the first one keeps in the
        run's folder, the others find there.
        """
        setting = Setting(
            lambda rng: draw_batch(self.source, self.recipe, rng, self.device),
            self.out,
            self.recipe.train.seed,
            fingerprint,
            self.device,
        )
        for turn in range(processes.count()):
            if turn == processes.rank():
                self.method.prepare(setting)
            processes.wait_for_all()

    def _step(self, step: int, stop: bool) -> _Step:
        """One step of the optimiser."""
        recipe = self.recipe
        rng = np.random.default_rng([recipe.train.seed, step])
        self.net.train()
        batch = processes.share(draw_batch(self.source, recipe, rng, self.device))
        bf16 = recipe.train.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            losses = self.method.losses(
                self.net,
                batch,
                processes.SharedGenerator(rng.bit_generator),
                step / recipe.train.steps,
            )
        rate = learning_rate(step, recipe.train)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        losses.total.backward()
        processes.average_gradients(
            parameter for group in self.optimizer.param_groups for parameter in group["params"]
        )
        parts = {f"loss_{name}": float(value.detach()) for name, value in losses.parts.items()}
        metrics = {
            "loss": float(losses.total.detach()),
            **parts,
            "accuracy": accuracy(losses.logits, batch.labels),
        }
        stops, *means = processes.averaged([float(stop), *metrics.values()], self.device)
        metrics = dict(zip(metrics, means, strict=True))
        if not (
            math.isfinite(metrics["loss"])
            and gradients_finite(self.net)
            and gradients_finite(self.method)
        ):
            where = first_bad_layer(self.net, batch.events)
            found = f"loss {metrics['loss']:.3g}, no number first in {where}"
            raise Diverged(
                f"training diverged at step {step + 1} ({found}); lower train.learning_rate ="
                f" {recipe.train.learning_rate}"
            )
        self.optimizer.step()
        return _Step({**metrics, "learning_rate": rate}, stops > 0)

    def _end_epoch(self, done: int, spikes: SpikeRates, log: MetricsLog | None) -> dict[str, float]:
        """Says and logs how the epoch went; spike rates are those of its last step, in all of the
        method's streams. Gives what validation found.
        """
        steps, row, validation = (
            self.means.steps - self.epoch_before,
            self.means.take(),
            dict[str, float](),
        )
        if self.writes and len(self.source.validation_frames):
            measured = measure(
                self.averaged,
                self.source.validation_frames,
                self.source.validation_labels,
                self.device,
            )
            row["validation"] = measured["accuracy"]
            validation = {"validation": measured["accuracy"], "validation_loss": measured["loss"]}
        rates = spikes.rates()
        if log is not None:
            epoch = -(-done // self.epoch_steps)
            log.epoch(epoch, done, row, rates)
            epochs, speed = (
                -(-self.recipe.train.steps // self.epoch_steps),
                steps / max(time.monotonic() - self.epoch_began, 1e-9),
            )
            self.report(epoch_line(epoch, epochs, done, row, rates, speed))
        for line in warnings(rates):
            self.report(f"warning: step {done}: {line}")
        self.epoch_began, self.epoch_before = time.monotonic(), 0
        return validation

    def _finish(self) -> None:
        test = measure(self.averaged, self.source.test_frames, self.source.test_labels, self.device)
        info = run_info(self.recipe, self.source, test)
        if self.start is None:
            frames, labels = self.source.calibration(CALIBRATION_RECORDINGS)
            save_tensors(
                self.out / CALIBRATION,
                {"frames": torch.from_numpy(frames), "labels": torch.from_numpy(labels)},
            )
            save_tensors(self.out / MODEL, self.averaged.state_dict())
        else:
            shutil.copyfile(self.start.path / CALIBRATION, self.out / CALIBRATION)
            save_tensors(self.out / MODEL, deployed(self.averaged, self.start).state_dict())
            info = qat_info(info, self.averaged, self.start)
        with writing(self.out / INFO) as beside:  # last: it says that the run is finished
            beside.write_text(json.dumps(info, indent=1) + "\n", encoding="utf-8")


def _source(
    recipe: Recipe, data: Path | TrainingData | None, static: Path | None, start: Run | None
) -> TrainingData:
    if start is None and recipe.qat.bits:
        found = f"qat.bits = {recipe.qat.bits!r}"
        raise InputError(
            f"{found}: training on integers goes on from a finished run; leave it out, then: tmkt"
            " train RUN --qat BITS"
        )
    if isinstance(data, TrainingData):
        return data
    if data is None:
        if start is None:
            raise InputError("train: no folder of recordings; give one")
        return calibration_source(start)
    source = load_training_data(recipe, data, static, METHODS[recipe.method.name].needs_images)
    if start is not None:
        check_same_data(source, start, data)
    return source


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
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
