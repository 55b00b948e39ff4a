"""Time left: honest from the first figure on."""

import pytest

from tmkt import pace as paces
from tmkt.pace import Pace, one_after_the_other


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


def test_a_first_batch_that_compiles_tells_nothing(clock: Clock) -> None:
    pace = Pace()
    pace.report(0)
    clock.now += 11
    pace.report(100)
    assert pace.left_s(800) is None
    clock.now += 1
    pace.report(200)
    assert pace.left_s(800) == pytest.approx(6)
    pace.report(800)
    assert pace.left_s(800) == 0


def test_work_that_becomes_slower_is_soon_known_to_be_slow(clock: Clock) -> None:
    pace = Pace()
    for done in range(1, 201):  # the head alone
        clock.now += 0.004
        pace.report(done)
    for done in range(201, 213):
        clock.now += 0.5
        pace.report(done)
    assert pace.left_s(512) == pytest.approx(150)
    for done in range(213, 218):  # units of minutes are averaged, too
        clock.now += 60
        pace.report(done)
    assert pace.left_s(227) == pytest.approx(600)


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


def test_parts_are_told_of_as_one_piece_of_work() -> None:
    told: list[tuple[int, int]] = []
    tell = one_after_the_other(lambda *progress: told.append(progress), 9)
    for done, part in ((2, 3), (3, 3), (2, 6), (6, 6)):
        tell(done, part)
    assert told == [(2, 9), (3, 9), (5, 9), (9, 9)]
