"""Speed of a training on this machine, by some real steps of it."""

import tempfile
import time
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from statistics import median

from tmkt.recipe import Recipe
from tmkt.train.data import TrainingData
from tmkt.train.trainer import train

WARM_UP = 3  # steps that are not timed: the first ones compile and allocate
MEASURED = 15  # steps
LONGEST_S = 10.0  # of the steps that are timed; then fewer are enough


class _Measured(Exception):
    """End of a measurement."""


def seconds_a_step(recipe: Recipe, source: TrainingData) -> float:
    """Train some steps as `recipe` says, and give the median time of one. Nothing is kept."""
    ends: list[float] = []

    def look(done: int, total: int, metrics: dict[str, float]) -> None:  # noqa: ARG001
        if done >= WARM_UP:
            ends.append(time.monotonic())
        if len(ends) > 1 and (len(ends) > MEASURED or ends[-1] - ends[0] > LONGEST_S):
            raise _Measured

    # One step more than is taken, so that no network is tested at an end.
    steps = recipe.train.model_copy(update={"steps": WARM_UP + MEASURED + 1})
    with tempfile.TemporaryDirectory(prefix="tmkt-speed-") as folder:
        recipe = recipe.model_copy(update={"train": steps})
        with suppress(_Measured):
            train(recipe, source, None, Path(folder) / "run", progress=look)
    return median(after - before for before, after in pairwise(ends))
