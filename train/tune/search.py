"""Search for a better recipe by trials on the validation recordings."""

import hashlib
import os
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
from tmkt.files import writing
from tmkt.recipe import Recipe, load_recipe, recipe_path
from tmkt.train import RECIPES
from tmkt.train.data import TrainingData, load_training_data
from tmkt.train.methods.registry import METHODS
from tmkt.train.runtime import note_interrupts
from tmkt.train.trainer import train
from tmkt.train.tune.results import LOOKS, Outcome, outcomes, ranked, write_results
from tmkt.train.tune.space import Space, default_searches, described, ends, parse_search, setting
from tmkt.train.tune.storage import INDEX, TRIALS, WORKER, Storage, open_storage

BASE = "base.toml"
VALIDATION = 0.1  # of each class's instances, where the recipe names no validation part
WAIT_S = 1.0

Report = Callable[[str], None]


@dataclass(frozen=True)
class Search:
    """What to search.

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
class Found:
    """The state of a search.

    All trials in their order; `best`: those that ran to their end, best first; `importance` of the
    keys, None where too few trials ended; `validation`: the number of validation recordings.
    """

    space: Space
    ended: list[Outcome]
    best: list[Outcome]
    importance: dict[str, float] | None
    validation: int
    interrupted: bool


class _Pruned(Exception):
    """A trial that is not worth finishing. The message says why; it is empty where others are
    ahead.
    """


def tune(
    search: Search, data: Path, static: Path | None, out: Path, report: Report | None = None
) -> Found:
    """Search until `search.trials` trials have ended; write best.toml, trials.csv and tune.svg to
    `out`.

    A trial is a training on the recipe's training recordings, judged by its accuracy on the
    validation recordings. Test recordings are withheld: no network meets them. A trial whose
    accuracy falls behind the median of the others, at the same share of its training, is ended
    early.

    Values come from Optuna's TPE. Those of each trial depend on (seed, trial) and the trials before
    it: in one process on a CPU, the same search gives the same bytes, interrupted or not.

    The same call on a folder that holds the search continues it, in as many processes as wanted.
    What a dead process left undone is done again. Ctrl-C ends the current trial without a trace and
    returns what was found until then. `report` gets a line after each trial.

    Raises InputError for bad input, and for an `out` that holds something else or another search.
    """
    say: Report = report or (lambda _: None)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise InputError(
            "tune: started by torchrun, expected processes of their own, which share --out; start"
            " the command as often as wanted"
        )
    base, settings = _with_validation(search, say)
    space = dict(parse_search(text) for text in search.searches or default_searches(base))
    for key, distribution in space.items():
        for value in ends(distribution):
            load_recipe(search.recipe, RECIPES, [*settings, f"{key}={value}"])
    say(
        "Searched: "
        + "; ".join(f"{key} = {described(distribution)}" for key, distribution in space.items())
    )
    source = _without_test(
        load_training_data(base, data, static, METHODS[base.method.name].needs_images)
    )
    text = recipe_path(search.recipe, RECIPES).read_bytes()
    meta = {
        "recipe (sha256)": hashlib.sha256(text).hexdigest(),
        "--set": settings,
        "--search": {
            key: optuna.distributions.distribution_to_json(distribution)
            for key, distribution in space.items()
        },
        "--seeds": search.seeds,
        "--seed": search.seed,
        "recordings (sha256)": source.fingerprint().hex(),
    }
    with note_interrupts() as ctrl_c:  # a signal does not break into the writing of the journal
        storage = open_storage(out, meta)
        if not (out / BASE).is_file():
            with writing(out / BASE) as beside:
                beside.write_bytes(text)
        with storage.working():
            run = _Run(
                search, settings, base, space, data, static, source, storage, say, ctrl_c.is_set
            )
            whole = run.until_done()
    ended = outcomes(storage.ended(), search.seeds)
    best, validation = ranked(ended), len(source.validation_frames)
    if best:
        write_results(
            out, search.recipe, run.recipe(best[0].settings), space, ended, validation, search.seeds
        )
    return Found(space, ended, best, importance(storage.study, ended), validation, not whole)


class _Run:
    """The part of a search that one process does."""

    def __init__(
        self,
        search: Search,
        settings: list[str],
        base: Recipe,
        space: Space,
        data: Path,
        static: Path | None,
        source: TrainingData,
        storage: Storage,
        say: Report,
        stopped: Callable[[], bool],
    ) -> None:
        self.search, self.settings, self.base, self.space, self.data, self.static = (
            search,
            settings,
            base,
            space,
            data,
            static,
        )
        self.storage, self.say, self.stopped = storage, say, stopped
        self.source, self.source_of = source, (base.data, METHODS[base.method.name].needs_images)
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

    def recipe(self, settings: dict[str, str]) -> Recipe:
        """Return the recipe with a trial's values."""
        return load_recipe(
            str(self.storage.folder / BASE),
            RECIPES,
            [*self.settings, *(f"{key}={value}" for key, value in settings.items())],
        )

    def _ask(self, index: int) -> optuna.Trial:
        study = self.storage.study
        seed = int(np.random.default_rng([self.search.seed, index]).integers(2**31))
        study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True)
        trial = study.ask(self.space)
        trial.set_user_attr(WORKER, self.storage.worker)
        trial.set_user_attr(INDEX, index)
        trial.set_user_attr(
            "settings",
            {
                key: setting(trial.params[key], distribution)
                for key, distribution in self.space.items()
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
            f"{_duration(time.monotonic() - begin)}, {len(ended)}/{self.search.trials} done,"
            f" {_duration(left)} left"
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
            recipe = self.recipe(settings)
        except (
            InputError
        ) as error:  # each value is possible, but perhaps not with each of the others
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
        wanted = (recipe.data, METHODS[recipe.method.name].needs_images)
        if wanted != self.source_of:
            self.source = _without_test(
                load_training_data(recipe, self.data, self.static, wanted[1])
            )
            self.source_of = wanted
        return self.source


def _with_validation(search: Search, say: Report) -> tuple[Recipe, list[str]]:
    """Return the recipe with a validation part, and the settings that give it one."""
    base = load_recipe(search.recipe, RECIPES, search.settings)
    if base.data.validation:
        return base, list(search.settings)
    settings = [*search.settings, f"data.validation={VALIDATION}"]
    say(
        "The recipe has no validation part, and trials are compared on one:"
        f" data.validation={VALIDATION} is taken; choose it with --set"
    )
    return load_recipe(search.recipe, RECIPES, settings), settings


def _without_test(source: TrainingData) -> TrainingData:
    """Remove the test recordings, so that no trial sees them, not even at its end."""
    nothing = np.empty(0, np.int64)
    return replace(
        source,
        test_frames=Rows(np.empty((0, *source.frames.shape[1:]), source.frames.dtype), nothing),
        test_labels=nothing,
    )


def importance(study: optuna.Study, ended: list[Outcome]) -> dict[str, float] | None:
    """Return the share of the accuracy's variance that each key explains, alone and with others
    (fANOVA).

    None below 10 whole trials or where all are equal.
    """
    accuracies = {outcome.accuracy for outcome in ended if outcome.complete}
    if sum(outcome.complete for outcome in ended) < 10 or len(accuracies) < 2:
        return None
    return optuna.importance.get_param_importances(
        study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)
    )


def _duration(seconds: float) -> str:
    return (
        f"{seconds:.0f} s"
        if seconds < 100
        else f"{seconds / 60:.0f} min"
        if seconds < 6000
        else f"{seconds / 3600:.1f} h"
    )
