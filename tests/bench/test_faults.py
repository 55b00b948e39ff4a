"""Faults do to events what they say."""

import runpy
from pathlib import Path

import numpy as np
import pytest
from example_streams import make_events

from tmkt.events.types import Events

SENSOR = (20, 30)
FAULTS = runpy.run_path(str(Path(__file__).with_name("faults.py")))["FAULTS"]


@pytest.fixture(scope="module")
def events() -> Events:
    return make_events(1, SENSOR, [0, 100_000], burst=2000)


@pytest.mark.parametrize("name", FAULTS)
def test_faults_keep_order_and_sensor_and_grow_with_severity(name: str, events: Events) -> None:
    fault, levels = FAULTS[name]
    changes = []
    for level in levels:
        found = fault(events, level, np.random.default_rng(0))
        again = fault(events, level, np.random.default_rng(0))
        np.testing.assert_array_equal(found.t, again.t)
        assert (np.diff(found.t) >= 0).all()
        assert found.x.max() < SENSOR[1]
        assert found.y.max() < SENSOR[0]
        assert set(found.p.tolist()) <= {0, 1}
        moved = len(found) == len(events) and np.abs(found.t - events.t).sum() / len(events)
        changes.append(moved or abs(len(found) - len(events)))
    assert sorted(changes) == changes
    assert changes[-1] > 0


def test_noise_has_its_rate_and_a_lamp_its_frequency(events: Events) -> None:
    seconds = (events.t[-1] - events.t[0]) * 1e-6
    noisy = FAULTS["background activity, events a pixel and second"][0]
    added = len(noisy(events, 30, np.random.default_rng(0))) - len(events)
    assert added == pytest.approx(30 * seconds * SENSOR[0] * SENSOR[1], rel=0.1)
    lamp = FAULTS["pixels that see a lamp"][0]
    added = len(lamp(events, 1.0, np.random.default_rng(0))) - len(events)
    assert added == pytest.approx(200 * seconds * SENSOR[0] * SENSOR[1], rel=0.1)
