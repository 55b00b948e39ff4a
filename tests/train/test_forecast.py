"""A training says once, after its first steps, how long it and its test will take."""

import numpy as np
import pytest
from example_backbone import tiny_recipe

from tmkt.datasets.decoded import Rows
from tmkt.networks import SpikingNetwork
from tmkt.recipe import NetworkRecipe
from tmkt.train import forecast
from tmkt.train.forecast import Forecast


def _told(monkeypatch: pytest.MonkeyPatch, seconds: float, tested: int) -> list[str]:
    """Give the lines at steps of so many seconds each, of 1000 steps, where a test takes two such
    steps a recording.
    """
    now = [0.0]
    monkeypatch.setattr(forecast.time, "monotonic", lambda: now[0])
    said: list[str] = []
    frames = Rows(np.zeros((tested, 4, 2, 34, 34), np.uint8), np.arange(tested))
    recipe = tiny_recipe(network={}, train={"steps": 1000}).train
    clock = Forecast(recipe, frames, said.append)
    monkeypatch.setattr(clock, "_test_s", lambda _: 2 * seconds * tested)
    channels = NetworkRecipe(channels=[1], strides=[8], pools=[1])
    net = SpikingNetwork(channels, (2, 34, 34), 2)
    for done in range(1, 30):
        now[0] += 100.0 if done == 1 else seconds  # the first one compiles
        clock.tell(done, net)
    return said


def test_a_long_training_and_its_test_are_announced_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = _told(monkeypatch, 1.0, 100)
    assert said == [
        "994 steps take about 17 min on this machine, then the test of 100 recordings about 3 min"
    ]


def test_few_long_steps_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _told(monkeypatch, 60.0, 0) == ["998 steps take about 16.6 h on this machine"]


def test_a_short_training_needs_no_announcement(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _told(monkeypatch, 0.01, 10) == []


def test_the_network_is_timed_on_recordings_as_the_test_will_be() -> None:
    frames = Rows(np.zeros((40, 4, 2, 34, 34), np.uint8), np.arange(40))
    recipe = tiny_recipe(network={}).train
    network = NetworkRecipe(channels=[1], strides=[8], pools=[1])
    net = SpikingNetwork(network, (2, 34, 34), 2)
    assert 0 < Forecast(recipe, frames, lambda _: None)._test_s(net) < 100
    assert Forecast(recipe, Rows(frames[:0], np.arange(0)), lambda _: None)._test_s(net) == 0
