"""Search for a better recipe by trials on the validation recordings."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import optuna

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.interrupts import note_interrupts
from tmkt.recipe import Recipe, load_recipe, recipe_path
from tmkt.train import RECIPES
from tmkt.train.source import load_source
from tmkt.train.tune.results import Outcome, outcomes, ranked, write_results
from tmkt.train.tune.space import Space, default_searches, described, ends, parse_search
from tmkt.train.tune.storage import open_storage
from tmkt.train.tune.trials import BASE, Plan, Report, Search, TrialRunner, without_test

VALIDATION = 0.1  # of each class's instances, where the recipe names no validation part


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


def tune(
    search: Search,
    data: Path | None,
    static: Path | None,
    out: Path,
    report: Report | None = None,
    test: Path | None = None,
) -> Found:
    """Search until `search.trials` trials have ended; write best.toml, trials.csv and tune.svg to
    `out`.

    A trial is a training on the recipe's training recordings, judged by its accuracy on the
    validation recordings. Test recordings are withheld: no network meets them (`test`: their
    folder, where they are not a part of `data`). A trial whose
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
    plan = Plan(search, base, settings=settings, space=space, data=data, static=static, test=test)
    source = without_test(load_source(base, data, static, test))
    if (cut := source.describe_cut(base.data)) is not None:
        say(cut)
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
            whole = TrialRunner(plan, source, storage, say, ctrl_c.is_set).until_done()
    ended = outcomes(storage.ended(), search.seeds)
    best, validation = ranked(ended), len(source.validation_frames)
    if best:
        recipe = plan.recipe(out, best[0].settings)
        write_results(
            out,
            search.recipe,
            recipe=recipe,
            space=space,
            ended=ended,
            validation=validation,
            seeds=search.seeds,
        )
    return Found(
        space,
        ended,
        best=best,
        importance=importance(storage.study, ended),
        validation=validation,
        interrupted=not whole,
    )


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
