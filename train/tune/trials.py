"""Trials of a search: the part that one process runs."""

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState

from tmkt import console
from tmkt.datasets.decoded import Rows
from tmkt.errors import Diverged, InputError
from tmkt.recipe import DataRecipe, Recipe, StaticRecipe, load_recipe
from tmkt.train import RECIPES
from tmkt.train.data import TrainingData
from tmkt.train.methods.registry import METHODS, learns_from_images
from tmkt.train.source import load_source
from tmkt.train.trainer import train
from tmkt.train.tune.results import LOOKS, outcomes, ranked
from tmkt.train.tune.space import Space, setting
from tmkt.train.tune.storage import INDEX, TRIALS, WORKER, Storage

BASE = "base.toml"
WAIT_S = 1.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class Search:
    """Settings of a search.

    `searches`: keys and ranges; empty: the method's defaults. `trials`: number of trials in all,
    over all processes and resumptions. `seeds`: trainings a trial, whose mean counts; they share
    the split, which the recipe's own seed draws. `seed`: of the values that are tried.
    """

    recipe: str
    settings: list[str] = field(default_factory=list)
    searches: list[str] = field(default_factory=list)
    trials: int = 40
    seeds: int = 1
    seed: int = 0


@dataclass(frozen=True)
class Plan:
    """A search made concrete: the base recipe and its settings, the space, and the data."""

    search: Search
    base: Recipe
    settings: list[str]
    space: Space
    data: Path | None
    static: Path | None
    test: Path | None

    def recipe(self, folder: Path, settings: dict[str, str]) -> Recipe:
        """Return the recipe in the search's folder with a trial's values."""
        values = [f"{key}={value}" for key, value in settings.items()]
        return load_recipe(str(folder / BASE), RECIPES, [*self.settings, *values])


class _Pruned(Exception):
    """A trial that is not worth finishing. The message says why; it is empty where others are
    ahead.
    """


class TrialRunner:
    """The part of a search that one process does."""

    def __init__(
        self,
        plan: Plan,
        source: TrainingData,
        storage: Storage,
        say: Report,
        stopped: Callable[[], bool],
    ) -> None:
        """`source`: the base recipe's recordings; `stopped`: whether Ctrl-C was pressed."""
        self.plan, self.search = plan, plan.search
        self.storage, self.say, self.stopped = storage, say, stopped
        self.source, self.source_of = source, _recordings_of(plan.base, plan.static)
        self.begin, self.ended_before = time.monotonic(), len(storage.ended())

    def until_done(self) -> bool:
        """Run trials until all are done, also those of other processes; return False
        after Ctrl-C.
        """
        waited = False
        while not self.stopped():
            with self.storage.claimed():
                self.storage.fail_dead()
                index = self.storage.next_index(self.search.trials)
                trial = None if index is None else self._ask(index)
            if trial is not None and index is not None:
                if not self._try(trial, index):
                    return False
            elif len(self.storage.ended()) >= self.search.trials:
                return True
            else:
                if not waited:
                    self.say("All trials are taken; waiting for those of other processes")
                waited = True
                time.sleep(WAIT_S)
        return False

    def _ask(self, index: int) -> optuna.Trial:
        study = self.storage.study
        seed = int(np.random.default_rng([self.search.seed, index]).integers(2**31))
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        trial = study.ask(self.plan.space)
        trial.set_user_attr(WORKER, self.storage.worker)
        trial.set_user_attr(INDEX, index)
        trial.set_user_attr(
            "settings",
            {
                key: setting(trial.params[key], distribution)
                for key, distribution in self.plan.space.items()
            },
        )
        return trial

    def _try(self, trial: optuna.Trial, index: int) -> bool:
        """Run a trial and record how it ended; return False after Ctrl-C."""
        study, settings = self.storage.study, trial.user_attrs["settings"]
        values = ", ".join(f"{key.split('.')[1]} {value}" for key, value in settings.items())
        begin = time.monotonic()
        try:
            accuracies, losses = self._train(trial, index, settings)
        except KeyboardInterrupt:
            study.tell(trial, state=TrialState.FAIL)
            return False
        except _Pruned as why:
            trial.set_user_attr("why", str(why))
            study.tell(trial, state=TrialState.PRUNED)
        except BaseException:
            study.tell(trial, state=TrialState.FAIL)
            raise
        else:
            trial.set_user_attr("accuracies", accuracies)
            trial.set_user_attr("loss", float(np.mean(losses)))
            study.tell(trial, float(np.mean(accuracies)))
        ended = outcomes(self.storage.ended(), self.search.seeds)
        this, best = next(outcome for outcome in ended if outcome.index == index), ranked(ended)
        best_yet = f" (best {console.percent(best[0].accuracy)})" if best else ""
        since = len(ended) - self.ended_before  # those of other processes, too: they share the rest
        left = (time.monotonic() - self.begin) / max(since, 1) * (self.search.trials - len(ended))
        rest = (
            f"{console.duration(time.monotonic() - begin)}, {len(ended)}/{self.search.trials} done,"
            f" {console.duration(left)} left"
        )
        self.say(f"trial {index + 1}: {values}: {this.ending}{best_yet}; {rest}")
        return True

    def _train(
        self, trial: optuna.Trial, index: int, settings: dict[str, str]
    ) -> tuple[list[float], list[float]]:
        """Train with each seed; return validation accuracy and loss.

        Raises _Pruned and KeyboardInterrupt.
        """
        try:
            recipe = self.plan.recipe(self.storage.folder, settings)
        except InputError as error:  # each value is possible, but some contradict each other
            raise _Pruned(str(error)) from None
        source, seeds = self._source(recipe), self.search.seeds
        folder = self.storage.folder / TRIALS / str(trial.number)
        accuracies, losses = [], []
        for turn in range(seeds):
            last: dict[str, float] = {}
            shutil.rmtree(folder, ignore_errors=True)
            with console.progress(f"trial {index + 1}") as update:

                def look(
                    done: int,
                    total: int,
                    metrics: dict[str, float],
                    turn: int = turn,
                    last: dict[str, float] = last,
                ) -> None:
                    update(turn * total + done, seeds * total, {"loss": metrics["loss"]})
                    if self.stopped():
                        raise KeyboardInterrupt
                    if "validation" in metrics:
                        last |= metrics
                        trial.report(metrics["validation"], turn * LOOKS + LOOKS * done // total)
                        if (turn, done) != (seeds - 1, total) and trial.should_prune():
                            raise _Pruned

                try:
                    seeded = recipe.train.model_copy(update={"seed": recipe.train.seed + turn})
                    train(
                        recipe.model_copy(update={"train": seeded}),
                        source,
                        None,
                        folder,
                        progress=look,
                    )
                except Diverged as error:
                    raise _Pruned(str(error)) from None
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
            accuracies.append(last["validation"])
            losses.append(last["validation_loss"])
        return accuracies, losses

    def _source(self, recipe: Recipe) -> TrainingData:
        """Return the recordings of a recipe, split by the base recipe's seed.

        Those of the trial before are used again if they are the same.
        """
        wanted = _recordings_of(recipe, self.plan.static)
        if wanted != self.source_of:
            self.source = without_test(
                load_source(recipe, self.plan.data, self.plan.static, self.plan.test)
            )
            self.source_of = wanted
        return self.source


def _recordings_of(
    recipe: Recipe, static: Path | None
) -> tuple[DataRecipe, bool, str, StaticRecipe | None]:
    """Return what decides the recordings of a recipe: its data, whether it learns from images, the
    network that it starts from, and the camera where that makes the recordings.
    """
    camera = None if METHODS[recipe.method.name].needs_recordings else recipe.static
    return recipe.data, learns_from_images(recipe, static), recipe.train.init, camera


def without_test(source: TrainingData) -> TrainingData:
    """Remove the test recordings, so that no trial sees them, not even at its end."""
    nothing = np.empty(0, np.int64)
    return replace(
        source,
        test_frames=Rows(np.empty((0, *source.frames.shape[1:]), source.frames.dtype), nothing),
        test_labels=nothing,
    )
