"""Measured energy of the processor, on a folder that behaves like the kernel's: counters that grow
with a clock, wrap, or cannot be read.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tmkt.deploy.energy import rapl
from tmkt.deploy.energy.rapl import POWERCAP, measure_cpu

RANGE_UJ = 65_532_610_987  # of a real package


class Machine:
    """Clock that only sleeping and running move, and packages whose counters follow it: idle watts,
    and more while running.
    """

    def __init__(
        self,
        folder: Path,
        packages: int = 1,
        start_uj: int = 0,
        idle_w: Callable[[float], float] = lambda _s: 20.0,
    ) -> None:
        self.now_s, self.idle_w, self.folder, self.packages = 0.0, idle_w, folder, packages
        self.uj = [float(start_uj)] * packages
        zones = [(f"intel-rapl:{i}", f"package-{i}") for i in range(packages)]
        for zone, name in [
            *zones,
            ("intel-rapl:0:0", "core"),
            ("intel-rapl", "control"),
            ("intel-rapl:9", "psys"),
        ]:
            (folder / zone).mkdir(parents=True)
            (folder / zone / "name").write_text(f"{name}\n")
            (folder / zone / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
            (folder / zone / "energy_uj").write_text("0\n")
        self.write()

    def write(self) -> None:
        for i, uj in enumerate(self.uj):
            (self.folder / f"intel-rapl:{i}" / "energy_uj").write_text(
                f"{round(uj) % (RANGE_UJ + 1)}\n"
            )

    def pass_s(self, seconds: float, more_w: float = 0.0) -> None:
        self.uj = [uj + (self.idle_w(self.now_s) + more_w) * seconds * 1e6 for uj in self.uj]
        self.now_s += seconds
        self.write()

    def monotonic(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.pass_s(seconds)


def on(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Machine:
    monkeypatch.setattr(rapl, "time", machine)
    return machine


@pytest.mark.parametrize(
    "start_uj", [0, RANGE_UJ - 5_000_000], ids=["counter from 0", "counter that wraps"]
)
@pytest.mark.parametrize("packages", [1, 2])
def test_the_energy_of_a_run_is_what_it_takes_above_idle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, packages: int, start_uj: int
) -> None:
    machine = on(monkeypatch, Machine(tmp_path, packages, start_uj))
    found = measure_cpu(lambda: machine.pass_s(0.5, more_w=30.0), 4.0, tmp_path)
    assert found.energy_j == pytest.approx(15.0 * packages, rel=1e-5)
    assert (found.low_j, found.high_j) == (
        pytest.approx(found.energy_j, rel=1e-5),
        pytest.approx(found.energy_j, rel=1e-5),
    )
    assert found.idle_w == pytest.approx(20.0 * packages, rel=1e-5)
    assert (found.runs, found.reason) == (8, None)


def test_many_wraps_are_counted_while_it_runs_long(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = on(monkeypatch, Machine(tmp_path))
    found = measure_cpu(
        lambda: machine.pass_s(1.0, more_w=2000.0), 200.0, tmp_path
    )  # the counter wraps every 32 s
    assert found.energy_j == pytest.approx(2000.0, rel=1e-5)


def test_an_idle_power_that_drifts_widens_the_interval(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = on(monkeypatch, Machine(tmp_path, idle_w=lambda now_s: 20.0 if now_s < 5 else 24.0))
    found = measure_cpu(lambda: machine.pass_s(1.0, more_w=10.0), 4.0, tmp_path)
    assert found.low_j is not None
    assert found.high_j is not None
    assert found.energy_j is not None
    assert found.high_j - found.low_j == pytest.approx(4.0, rel=1e-3)
    assert found.low_j < found.energy_j < found.high_j


def test_without_counters_nothing_runs_and_the_reason_is_given(tmp_path: Path) -> None:
    ran: list[int] = []
    for folder, reason in ((tmp_path / "none", "no such folder"), (tmp_path, "no intel-rapl")):
        found = measure_cpu(lambda: ran.append(1), 1.0, folder)
        assert (found.energy_j, found.low_j, found.high_j, found.idle_w, found.runs) == (
            None,
            None,
            None,
            None,
            0,
        )
        assert found.reason is not None
        assert reason in found.reason
    assert not ran


def test_a_counter_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    Machine(tmp_path)
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    counter.unlink()
    counter.mkdir()  # unreadable even for root
    assert str(counter) in str(measure_cpu(lambda: None, 1.0, tmp_path).reason)


def test_a_run_that_is_lost_in_the_idle_power_is_not_given_a_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = on(monkeypatch, Machine(tmp_path))
    found = measure_cpu(lambda: machine.pass_s(1.0), 4.0, tmp_path)
    assert found.energy_j is None
    assert found.idle_w == pytest.approx(20.0, rel=1e-5)
    assert "no more than idle" in str(found.reason)


def test_this_machine_gives_a_number_or_a_reason() -> None:
    found = measure_cpu(lambda: sum(range(100_000)), 0.2, POWERCAP)
    assert (found.energy_j is None) == (found.reason is not None)
