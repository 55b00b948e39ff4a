"""Training of a run as its report shows it: curves, data and result."""

import json
import math
from typing import Any

from tmkt.runs import METRICS, Run

MOST_POINTS = 400  # of a curve: a plot has fewer pixels
LARGEST = 3.4e38  # float32, in which trainings compute, holds no more


def training(run: Run) -> dict[str, Any]:
    """Describe the training: method, data, test result and versions of run.json, and the curves.

    A curve has [step, value] pairs of a metric in metrics.jsonl. NaN and Inf are left out.
    """
    info, recipe = run.info, run.recipe
    return {
        "method": recipe.method.name,
        "network": recipe.network.name,
        "steps": recipe.train.steps,
        "batch": recipe.train.batch,
        "seed": recipe.train.seed,
        "protocol": info.get("protocol"),
        "recordings": info.get("recordings"),
        "images": info.get("images"),
        "test": info["test"],
        "chosen": info.get("chosen"),
        "versions": info.get("versions"),
        "curves": curves(run),
    }


def curves(run: Run) -> dict[str, list[list[float]]]:
    """Return [step, value] pairs by metric, losses first.

    A metric of single steps is never joined with its means over epochs. Epochs give what steps do
    not have: the validation and the spike rates, "spike_rates.conv1" that of layer conv1. Of many
    rows every k-th is kept, and the last. Empty where the run's metrics.jsonl is gone.
    """
    path = run.path / METRICS
    lines = (
        path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    )
    rows = [row for row in map(_row, lines) if row is not None]
    steps = _by_metric([row for row in rows if "epoch" not in row])
    epochs = _by_metric([row for row in rows if "epoch" in row])
    found = {**epochs, **steps}
    ordered = sorted(
        dict.fromkeys([*steps, *epochs]),
        key=lambda name: (not name.startswith("loss"), name.startswith("spike_rates")),
    )
    return {name: found[name] for name in ordered}


def _by_metric(rows: list[dict[str, float]]) -> dict[str, list[list[float]]]:
    every = math.ceil(len(rows) / MOST_POINTS)
    kept = [row for i, row in enumerate(rows) if i % every == 0 or i == len(rows) - 1]
    names = dict.fromkeys(name for row in kept for name in row if name not in ("step", "epoch"))
    return {name: [[row["step"], row[name]] for row in kept if name in row] for name in names}


def _row(line: str) -> dict[str, float] | None:
    """Read the numbers of a line, without NaN and Inf; None for a line that was cut off."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict):
        return None
    flat: dict[str, Any] = {}
    for name, value in values.items():
        flat |= (
            {f"{name}.{part}": v for part, v in value.items()}
            if isinstance(value, dict)
            else {name: value}
        )
    row = {
        name: value
        for name, value in flat.items()
        if isinstance(value, int | float) and abs(value) <= LARGEST
    }
    return row if "step" in row else None


def metric(name: str) -> str:
    """Name a metric for people.

    "loss_ratio_perception" is the part "ratio perception" of the loss, "spike_rates.conv1" the rate
    of a layer.
    """
    if "." in name:
        return name.replace("_", " ").replace("rates.", "rate: ").replace(".", ": ")
    kind, _, part = name.partition("_")
    return f"loss: {part.replace('_', ' ')}" if kind == "loss" and part else name.replace("_", " ")
