"""Learning curves of a report, from a run's metrics.jsonl."""

import json
from pathlib import Path
from typing import Any

import pytest

from tmkt.deploy.report.plots import curve
from tmkt.deploy.report.training import MOST_POINTS, curves
from tmkt.recipe import Recipe
from tmkt.runs import METRICS, Run


def curves_of(folder: Path, rows: list[dict[str, Any]]) -> dict[str, list[list[float]]]:
    (folder / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return curves(Run(folder, Recipe.model_construct(), {}))


def log(steps: int, epoch_steps: int) -> list[dict[str, Any]]:
    """Make the rows of a training whose learning rate falls by 1 a step, a row every 10 steps."""
    rows: list[dict[str, Any]] = []
    for step in range(10, steps + 1, 10):
        rows.append({"step": step, "loss": 1.0, "learning_rate": float(steps - step)})
        if step % epoch_steps == 0:
            mean = steps - step + epoch_steps / 2
            rates = {"conv1": step / steps}
            row = {"step": step, "epoch": step // epoch_steps, "loss": 2.0, "learning_rate": mean}
            rows.append({**row, "validation": 0.5, "spike_rates": rates})
    return rows


def test_a_curve_joins_no_epoch_means_with_single_steps(tmp_path: Path) -> None:
    found = curves_of(tmp_path, log(steps=100, epoch_steps=20))
    assert found["learning_rate"] == [[step, 100 - step] for step in range(10, 101, 10)]
    assert {value for _, value in found["loss"]} == {1.0}
    assert found["validation"] == [[step, 0.5] for step in range(20, 101, 20)]
    assert found["spike_rates.conv1"] == [[step, step / 100] for step in range(20, 101, 20)]


def test_curves_of_a_long_training_keep_the_rows_of_its_epochs(tmp_path: Path) -> None:
    steps = 40 * MOST_POINTS
    found = curves_of(tmp_path, log(steps, epoch_steps=20 * MOST_POINTS // 10))
    assert len(found["validation"]) == 20
    assert found["validation"][-1][0] == found["loss"][-1][0] == steps
    assert len(found["loss"]) <= MOST_POINTS + 1


@pytest.mark.parametrize("loss", [7, -2.5, 1e38, -1e38, 10**38, 1e-300])
def test_a_curve_of_one_value_is_drawn_whatever_its_size(tmp_path: Path, loss: float) -> None:
    found = curves_of(tmp_path, [{"step": step, "loss": loss} for step in (10, 20, 30)])
    drawn = curve("loss", [("", found["loss"])])
    assert "nan" not in drawn
    assert "inf" not in drawn


def test_values_that_no_training_measures_are_left_out(tmp_path: Path) -> None:
    damaged = ["9" * 400, "-1e39", "1e400", "NaN", '"x"', "[]", "null", '{"a": {"b": 1}}']
    lines = [f'{{"step": 10, "loss": 1.5, "accuracy": {value}}}' for value in damaged]
    lines += [f'{{"step": {value}, "loss": 2.5}}' for value in damaged]
    lines += ["[]", "9" * 5000, "[" * 5000, '{"step": 20, "loss": 3.5, "spike_rates": "x"}']
    (tmp_path / METRICS).write_text("\n".join(lines))
    found = curves(Run(tmp_path, Recipe.model_construct(), {}))
    assert found == {"loss": [[10, 1.5]] * len(damaged) + [[20, 3.5]]}
