"""Results of a search: outcomes of the trials, the best recipe, a table and a picture."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from tmkt.console import percent, printable
from tmkt.files import writing
from tmkt.recipe import Recipe, dump_recipe
from tmkt.train.tune.plot import Axis, Dot, picture
from tmkt.train.tune.space import Space, described
from tmkt.train.tune.storage import INDEX

BEST, TABLE, PLOT = "best.toml", "trials.csv", "tune.svg"
LOOKS = 20  # of a training, at most, at which it may be pruned: the trainer's epochs


@dataclass(frozen=True)
class Outcome:
    """A trial that has ended.

    `accuracy` (mean over seeds) and `loss` are on the validation recordings; of a pruned trial the
    last accuracy seen, if any, and no loss. `share`: share of its training that was done. `why`:
    why it was pruned, empty where others were ahead. `settings`: TOML by key.
    """

    index: int
    complete: bool
    accuracy: float | None
    accuracies: list[float]
    loss: float | None
    share: float
    why: str
    settings: dict[str, str]

    @property
    def ending(self) -> str:
        """Say how the trial ended, for people."""
        if self.complete:
            return f"validation {percent(self.accuracy)}"
        if self.why:
            return f"pruned: {self.why.partition('(')[0].strip()}"
        return f"pruned after {100 * self.share:.0f} % of it at {percent(self.accuracy)}"

    def to_json(self) -> dict[str, Any]:
        """Return the trial as a row."""
        state = "complete" if self.complete else "pruned"
        kept = {
            "accuracy": self.accuracy,
            "accuracies": self.accuracies,
            "loss": self.loss,
            "share": self.share,
            "why": self.why,
        }
        return {"trial": self.index + 1, "state": state, **kept, "settings": self.settings}


def outcomes(ended: list[FrozenTrial], seeds: int) -> list[Outcome]:
    """Convert ended trials to outcomes."""
    return [_outcome(trial, seeds) for trial in ended]


def _outcome(trial: FrozenTrial, seeds: int) -> Outcome:
    complete = trial.state == TrialState.COMPLETE
    last, seen = max(trial.intermediate_values.items(), default=(0, None))
    known = trial.user_attrs
    return Outcome(
        index=known[INDEX],
        complete=complete,
        accuracy=trial.value if complete else seen,
        accuracies=known.get("accuracies", []),
        loss=known.get("loss"),
        share=1.0 if complete else last / (LOOKS * seeds),
        why=known.get("why", ""),
        settings=known["settings"],
    )


def ranked(ended: list[Outcome]) -> list[Outcome]:
    """Sort the trials that ran to their end, best first: by accuracy, then loss, then number."""
    return sorted(
        (o for o in ended if o.complete),
        key=lambda o: (-(o.accuracy or 0.0), o.loss or 0.0, o.index),
    )


def write_results(
    out: Path,
    name: str,
    recipe: Recipe,
    space: Space,
    ended: list[Outcome],
    validation: int,
    seeds: int,
) -> None:
    """Write best.toml, trials.csv and tune.svg to `out`.

    `recipe` is the best trial's; `validation` is the number of its validation recordings. The files
    hold no times: the same trials give the same bytes.
    """
    best = ranked(ended)[0]
    pruned = sum(not o.complete for o in ended)
    header = [
        f"The best of {len(ended)} trials ({pruned} pruned) of: tmkt tune {name}",
        f"Trial {best.index + 1}: {percent(best.accuracy)} of {validation} validation recordings"
        + (f", mean of {seeds} seeds" if seeds > 1 else ""),
        (
            "These have chosen it, so they do not measure it; the test recordings had no part."
            " Train it: tmkt train best.toml"
        ),
        "Searched: "
        + "; ".join(f"{key} = {described(distribution)}" for key, distribution in space.items()),
    ]
    with writing(out / BEST) as beside:
        beside.write_text(
            "".join(f"# {printable(line)}\n" for line in header) + "\n" + dump_recipe(recipe),
            encoding="utf-8",
            newline="\n",
        )
    with writing(out / TABLE) as beside:
        beside.write_text(_table(list(space), ended), encoding="utf-8", newline="\n")
    shown = [o for o in ended if o.accuracy is not None]
    dots = [Dot(o.index + 1, o.accuracy or 0.0, o.complete, o is best) for o in shown]
    axes = []
    for key, distribution in space.items():
        choices = [str(choice) for choice in getattr(distribution, "choices", ())]
        values = [
            float(choices.index(o.settings[key])) if choices else float(o.settings[key])
            for o in shown
        ]
        if choices:
            low, high = -0.5, len(choices) - 0.5
        else:
            low = float(distribution.low)  # type: ignore[attr-defined]
            high = float(distribution.high)  # type: ignore[attr-defined]
        axes.append(
            Axis(
                key,
                values,
                low=low,
                high=high,
                log=bool(getattr(distribution, "log", False)),
                choices=choices,
            )
        )
    with writing(out / PLOT) as beside:
        beside.write_text(
            picture(f"tmkt tune {name}", dots, axes, validation), encoding="utf-8", newline="\n"
        )


def _table(keys: list[str], ended: list[Outcome]) -> str:
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", "state", "accuracy", "loss", "share", *keys, "why"])
    for o in ended:
        rows.writerow(
            [
                o.index + 1,
                "complete" if o.complete else "pruned",
                o.accuracy,
                o.loss,
                o.share,
                *(o.settings[key] for key in keys),
                o.why,
            ]
        )
    return text.getvalue()
