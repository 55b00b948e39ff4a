"""Terminal tables of a search for a better recipe."""

from pathlib import Path
from typing import TYPE_CHECKING

from tmkt.cli.tables.table import table
from tmkt.console import note, percent

if TYPE_CHECKING:
    from tmkt.train.tune.search import Found

MOST_TRIALS = 10


def print_search(path: Path, found: "Found") -> None:
    """Print the best trials, what the accuracy depends on, and how many trials are equally good."""
    keys = list(found.space)
    rows: list[list[object]] = []
    for o in found.best[:MOST_TRIALS]:
        loss = None if o.loss is None else f"{o.loss:.3f}"
        settings = [o.settings[key] for key in keys]
        rows.append([o.index + 1, percent(o.accuracy), loss, *settings])
    count = f"{len(found.best)} of {len(found.ended)} trials ran to their end"
    table(
        f"{path}: {count}; accuracy on {found.validation} validation recordings",
        ["trial", "accuracy", "loss", *keys],
        rows,
    )
    if found.importance is None:
        note(
            "What the accuracy hangs on: not said of fewer than 10 trials that ran to their end, or"
            " of equal ones"
        )
    else:
        shares: list[list[object]] = [
            [key, f"{100 * share:.0f} %"] for key, share in found.importance.items()
        ]
        table(
            "What the accuracy hangs on: share of its variance over the trials (fANOVA)",
            ["key", "share"],
            shares,
        )
    _note_equally_good(found)


def _note_equally_good(found: "Found") -> None:
    """Say how many trials lie within one standard deviation of the best accuracy."""
    best = found.best[0].accuracy or 0.0
    variance = max(best * (1 - best), 1 / found.validation) / found.validation
    deviation = variance**0.5  # of a share of so many recordings
    near = sum((o.accuracy or 0.0) >= best - deviation for o in found.best)
    if near > 1:
        note(
            f"{near} trials are as good as the best: {found.validation} recordings tell accuracies"
            f" apart by {100 * deviation:.1f} points at best; a larger data.validation tells more,"
            " --seeds evens out luck in training"
        )
