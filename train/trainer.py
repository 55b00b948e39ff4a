"""Training: from a recipe, recordings and images to a run."""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.interrupts import note_interrupts
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, dump_recipe
from tmkt.runs import CHECKPOINT, RECIPE, TEACHER, TEACHER_CHECKPOINT, Run, load_run
from tmkt.train import distributed
from tmkt.train.ahead import Ahead
from tmkt.train.averaging import average_of, update_average
from tmkt.train.checkpoint import TrainingState, load_checkpoint, save_checkpoint
from tmkt.train.chosen import Chosen, chosen_of
from tmkt.train.data import TrainingData
from tmkt.train.draws import check_draw
from tmkt.train.forecast import Forecast
from tmkt.train.frozen import FeatureBank, Head, check_frozen, fill_bank
from tmkt.train.health import SpikeRates, count_spikes, warnings
from tmkt.train.log import EpochMeans, MetricsLog, epoch_line
from tmkt.train.measure import measure
from tmkt.train.methods.base import Method, Setting
from tmkt.train.methods.registry import METHODS
from tmkt.train.optimiser import make_optimizer
from tmkt.train.run_folder import finish_run, hold_run, open_run, remove_started
from tmkt.train.runtime import computing, describe_arithmetic, is_out_of_memory
from tmkt.train.samples import Samples, draw_batch, draw_samples
from tmkt.train.setup import make_network, read_source
from tmkt.train.start import load_blocks, load_init, with_init
from tmkt.train.statistics import set_statistics
from tmkt.train.step import Learner, StepResult, train_step

LOG_EVERY, CHECKPOINT_EVERY = 10, 50  # steps
MOST_EPOCHS = 20  # lines that a training prints

Progress = Callable[[int, int, dict[str, float]], None]
Report = Callable[[str], None]


def train(
    recipe: Recipe,
    data: Path | TrainingData | None,
    static: Path | None,
    out: Path,
    *,
    resume: bool = False,
    progress: Progress | None = None,
    report: Report | None = None,
    start: Run | None = None,
    test: Path | None = None,
) -> Run:
    """Train a network as `recipe` says and write the run to `out`.

    `data` is the folder of the recordings, or what was read of it before, None for a method that
    needs none; `static` is the folder of the images; `test` is that of the recordings to test,
    where they are not a part of `data`. With `resume` an unfinished run of the same recipe and data
    goes on, a finished one is given back as it is, and where there is no run training starts.
    `start` is the run that training on integers goes on from (recipe.qat): it may do so without
    data, on the calibration recordings. torchrun may start several processes: each computes its
    shard of every batch, and the first one writes the run.

    `progress` is called after each step with the steps done, their total and the step's metrics, at
    the end of an epoch also `validation` (the accuracy) and `validation_loss`; what it raises ends
    the training. `report` is called with a line after each epoch and with warnings. An epoch is one
    pass over the training recordings, or over the images where these are all, or a twentieth of all
    steps if that is longer.

    The randomness of a step derives from (seed, step) alone. So on a CPU a training that was killed
    and resumed ends with the same weights, bit for bit, as one that ran through, and equal calls
    write equal weights, metrics and run.json. That holds on one machine, at an equal number of
    threads and version of torch: another processor rounds sums otherwise, and the training may end
    elsewhere. It is not promised on a GPU. Nothing is chosen on the test recordings: the network
    after the last step, the average of its weights (train.ema) or the one that did best on the
    validation recordings (train.choose) is measured on them once.

    Ctrl-C or SIGTERM ends the step at hand, saves a checkpoint and raises KeyboardInterrupt. What
    fails before the first checkpoint leaves no run behind. Raises InputError for bad input, for an
    `out` that is taken or where another process trains, and for a disk that cannot be written;
    Diverged, an InputError, with the step and the layer where NaN or Inf appears; MemoryError where
    memory runs out.
    """
    device = distributed.local_device()
    with distributed.process_group(device), ExitStack() as held:
        with distributed.together():
            if backbone := load_init(recipe):
                recipe = with_init(recipe, backbone)
            check_frozen(recipe)
        distributed.by_the_first(lambda: held.enter_context(hold_run(out)))
        with distributed.together():
            began = not (out / RECIPE).is_file()
            finished = open_run(recipe, out, resume)
        if finished:
            return finished
        try:
            with computing(recipe.train, device):
                with distributed.together():
                    distributed.check_batch_size(recipe.train.batch)
                    source = read_source(recipe, data, static, start, test)
                    check_draw(source.samples, recipe.train)
                    net, method = make_network(recipe, source, start, data is not None)
                    if backbone is not None:
                        load_blocks(net, backbone, recipe.train)
                net.to(device)
                set_statistics(net, source, recipe, device)
                method.to(device)
                training = _Training(recipe, source, out, net=net, method=method, start=start)
                return training.run(progress or (lambda *_: None), report or (lambda _: None))
        except BaseException as error:
            learned = (CHECKPOINT, TEACHER, TEACHER_CHECKPOINT)
            if began and not any((out / name).is_file() for name in learned):
                remove_started(out)  # the place is free for another try
            if is_out_of_memory(error) and not isinstance(error, MemoryError):
                raise MemoryError from error
            raise


class _Training:
    """A training: its data, its network, its method, and the run that it writes."""

    def __init__(
        self,
        recipe: Recipe,
        source: TrainingData,
        out: Path,
        *,
        net: SpikingNetwork,
        method: Method,
        start: Run | None,
    ) -> None:
        self.recipe, self.source, self.out, self.start = recipe, source, out, start
        self.net, self.method, self.device = net, method, distributed.local_device()
        self.writes = distributed.rank() == 0
        net.recompute = recipe.train.recompute
        modules: dict[str, nn.Module] = {"network": net, "method": method}
        self.averaged = net
        if recipe.train.ema:
            self.averaged = modules["averaged"] = average_of(net)
        self.chosen: Chosen | None = None
        if recipe.train.choose == "validation":
            self.chosen = modules["chosen"] = chosen_of(self.averaged, source)
        optimizer = make_optimizer(net, method, recipe.train)
        self.learner = Learner(net, method, optimizer, recipe.train, self.device)
        self.head = replace(self.learner, net=Head(net))
        self.means = EpochMeans()
        self.state = TrainingState(modules, optimizer, source.fingerprint(), self.means)
        self.epoch_steps = max(
            -(-source.samples // recipe.train.batch), -(-recipe.train.steps // MOST_EPOCHS)
        )

    def run(self, progress: Progress, report: Report) -> Run:
        """Train from the checkpoint, if there is one, to the finished run."""
        recipe, checkpoint = self.recipe, self.out / CHECKPOINT
        self.report = report if self.writes else lambda _: None
        total = recipe.train.steps
        with distributed.together():
            start = load_checkpoint(checkpoint, self.state)
            if not 0 <= start <= total:
                raise InputError(
                    f"{checkpoint}: step {start}, expected 0..{total}; remove the run and train"
                    " again"
                )
            if self.writes and not (self.out / RECIPE).is_file():
                with writing(self.out / RECIPE) as beside:
                    beside.write_text(dump_recipe(recipe), encoding="utf-8", newline="\n")
        if (arithmetic := describe_arithmetic(recipe.train, self.device)) is not None:
            self.report(arithmetic)
        self._prepare_method()
        if (cut := self.source.describe_cut(recipe.data)) is not None:
            self.report(cut)
        if METHODS[recipe.method.name].images == "optional" and self.source.images is None:
            self.report(f"No images (--static): {recipe.method.name} learns from recordings alone")
        self.bank = self._fill_bank() if start < recipe.train.frozen_steps else None
        # The steps of a resumed epoch that were done before are not timed.
        self.epoch_began, self.epoch_before = time.monotonic(), self.means.steps
        forecast = Forecast(recipe.train, self.source.test_frames, self.report)
        with distributed.together():
            log = MetricsLog(self.out, start) if self.writes else None
        self.ahead = Ahead(self._draw, total, self.device)
        with (
            note_interrupts() as interrupted,
            closing(self.ahead),
            nullcontext() if log is None else closing(log),
        ):
            for step in range(start, total):
                done = step + 1
                ends_epoch = done % self.epoch_steps == 0 or done == total
                with count_spikes(self.net) if ends_epoch else nullcontext() as spikes:
                    result = self._step(step, interrupted.is_set())
                if recipe.train.ema:
                    update_average(self.averaged, self.net, recipe.train.ema, done)
                self.means.add(result.metrics)
                logs = done % LOG_EVERY == 0 or done == total
                saves = done % CHECKPOINT_EVERY == 0 or done == total or result.stop
                validation: dict[str, float] = {}
                with distributed.together() if logs or saves or ends_epoch else nullcontext():
                    if log is not None and logs:
                        log.write(done, result.metrics)
                    if spikes is not None:
                        validation = self._end_epoch(done, spikes, log)
                    if self.writes and saves:
                        save_checkpoint(checkpoint, self.state, done)
                if result.stop:
                    raise KeyboardInterrupt
                if self.writes:
                    progress(done, total, {**result.metrics, **validation})
                    forecast.tell(done, self.averaged)
        distributed.by_the_first(
            lambda: finish_run(
                self.out, recipe, self.source, self.averaged, self.start, self.chosen
            )
        )
        return load_run(self.out)

    def _prepare_method(self) -> None:
        """Prepare the method in one process after the other.

        The others find in the run's folder what the first one keeps there.
        """
        setting = Setting(
            draw=lambda rng, step: draw_batch(self.source, self.recipe, rng, self.device, step),
            folder=self.out,
            seed=self.recipe.train.seed,
            fingerprint=self.state.fingerprint,
            device=self.device,
        )
        for turn in range(distributed.world_size()):
            with distributed.together():
                if turn == distributed.rank():
                    self.method.prepare(setting)

    def _fill_bank(self) -> FeatureBank:
        """Compute the features that the head learns from, as long as it learns alone."""
        bank = fill_bank(self.learner, self.source, self.recipe)
        self.report(bank.describe(self.recipe.train))
        return bank

    def _draw(self, step: int) -> tuple[np.random.Generator, Samples]:
        """Draw the samples of a step; the generator goes on with what its method draws."""
        rng = np.random.default_rng([self.recipe.train.seed, step])
        return rng, draw_samples(self.source, self.recipe, rng, self.device, step)

    def _step(self, step: int, stop: bool) -> StepResult:
        recipe, learner = self.recipe, self.learner
        if self.bank is not None and step < recipe.train.frozen_steps:
            rng = np.random.default_rng([recipe.train.seed, step])
            learner, batch = self.head, self.bank.draw(recipe.train.batch, rng)
        else:
            self.net.train()
            rng, samples = self.ahead.take(step)
            batch = samples.batch(recipe, self.source.sensor, self.device)
        batch = self.method.exchange(batch, rng, step / recipe.train.steps)
        return train_step(learner, distributed.shard(batch), step, rng, stop)

    def _end_epoch(self, done: int, spikes: SpikeRates, log: MetricsLog | None) -> dict[str, float]:
        """Validate, log and report an epoch; give the results of the validation.

        The spike rates are those of the epoch's last step, over all streams of the method.
        """
        steps, row = self.means.steps - self.epoch_before, self.means.take()
        validation: dict[str, float] = {}
        if self.writes and len(self.source.validation_frames):
            frames, labels = self.source.validation_frames, self.source.validation_labels
            measured = measure(self.averaged, frames, labels)
            row["validation"] = measured["accuracy"]
            validation = {"validation": measured["accuracy"], "validation_loss": measured["loss"]}
            if self.chosen is not None:
                self.chosen.consider(self.averaged, done, measured)
        # While the head learns alone, the rates are those of its bank.
        rates = spikes.rates() or (self.bank.spike_rates if self.bank else {})
        if log is not None:
            epoch = -(-done // self.epoch_steps)
            log.epoch(epoch, done, row, rates)
            line = epoch_line(
                epoch=epoch,
                epochs=-(-self.recipe.train.steps // self.epoch_steps),
                row=row,
                rates=rates,
                speed=steps / max(time.monotonic() - self.epoch_began, 1e-9),
            )
            self.report(line)
        for warning in warnings(rates):
            self.report(f"warning: step {done}: {warning}")
        self.epoch_began, self.epoch_before = time.monotonic(), 0
        return validation
