"""Forecast how long a training and its test will take on this machine, after a few steps."""

import time
from collections.abc import Callable

from tmkt import console
from tmkt.datasets.decoded import Rows
from tmkt.networks import SpikingNetwork
from tmkt.recipe import TrainRecipe
from tmkt.train.measure import logits_of

STEPS, LONGEST_S = 5, 10.0  # timed: so many steps, or fewer where they take longer
TESTED = 4  # recordings that are timed
LONG_S = 60.0  # what takes less is not announced


class Forecast:
    """Clock of the first steps, without the very first: it compiles and allocates.

    Steps of the head alone are quick and tell nothing of the ones behind them.
    """

    def __init__(self, recipe: TrainRecipe, tested: Rows, report: Callable[[str], None]) -> None:
        self.recipe, self.tested, self.report = recipe, tested, report
        self.began: tuple[int, float] | None = None
        self.told = recipe.freeze

    def tell(self, done: int, net: SpikingNetwork) -> None:
        """Note that a step is done; say once how long all that is left will take, if it is long."""
        total = self.recipe.steps
        if self.told or done <= self.recipe.frozen_steps:
            return
        now = time.monotonic()
        if self.began is None:
            self.began = done, now
            return
        first, began = self.began
        if done - first < STEPS and now - began < LONGEST_S:
            return
        self.told = True
        left_s = (total - done) * (now - began) / (done - first)
        test_s = self._test_s(net)
        if left_s + test_s > LONG_S:
            test = (
                f", then the test of {len(self.tested)} recordings about {console.duration(test_s)}"
                if len(self.tested)
                else ""
            )
            self.report(
                f"{total - done} steps take about {console.duration(left_s)} on this machine{test}"
            )

    def _test_s(self, net: SpikingNetwork) -> float:
        """Time some recordings, and the same ones again: the first time allocates."""
        frames = self.tested[:TESTED]
        if not len(frames):
            return 0.0
        for _ in range(2):
            began = time.monotonic()
            net.eval()
            for _ in logits_of(net, frames):
                pass
        return (time.monotonic() - began) / len(frames) * len(self.tested)
