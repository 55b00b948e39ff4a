"""Time left: honest from the first figure on."""

import pytest

from tmkt import pace as paces
from tmkt.pace import Pace


class Clock:
    now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(paces, "time", clock)
    return clock


def test_a_slow_start_is_not_taken_for_the_speed_of_the_work(clock: Clock) -> None:
    pace = Pace()
    clock.now += 11  # compiles
    pace.report(1)
    assert pace.left_s(60) is None
    clock.now += 0.5
    pace.report(2)
    assert pace.left_s(60) == pytest.approx(29)


def test_a_batch_is_better_than_nothing(clock: Clock) -> None:
    pace = Pace()
    clock.now += 8
    pace.report(4)
    assert pace.left_s(6) == pytest.approx(4)
    pace.report(6)
    assert pace.left_s(6) == 0


def test_work_that_begins_anew_forgets_the_speed_before(clock: Clock) -> None:
    pace = Pace()
    for done in (1, 2, 1):
        clock.now += 1
        pace.report(done)
    assert pace.left_s(9) is None


def test_other_work_does_not_count(clock: Clock) -> None:
    pace = Pace(paused=True)
    for done in (1, 2, 3):
        clock.now += 50
        pace.resume()
        clock.now += 2
        pace.report(done)
        pace.pause()
    assert pace.left_s(5) == pytest.approx(4)
