"""Energy of this machine's processor, measured by the counters of Linux's powercap (RAPL) while
something runs.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")
MICRO = 1e-6
# a counter is read at least so often, where the runs let it: the smallest wraps after about a
# minute at full power
POLL_S = 10.0


@dataclass(frozen=True)
class Measured:
    """Joules of one run above idle, and idle watts; None with the `reason` where they cannot be
    measured.

    `low_j` and `high_j` come from the idle power before and after, so that drift shows. The
    processor packages are counted (with what the kernel counts in them), for all that runs on the
    machine; memory, disks and power supply are not.
    """

    energy_j: float | None
    low_j: float | None
    high_j: float | None
    idle_w: float | None
    runs: int
    reason: str | None


@dataclass(frozen=True)
class _Zone:
    counter: Path
    range_uj: int


class _Meter:
    """Counter of joules over all packages since it was made. A package's counter that falls has
    wrapped once.
    """

    def __init__(self, zones: list[_Zone]) -> None:
        self._zones = zones
        self._last = [_number(zone.counter) for zone in zones]
        self._total_uj = 0

    def read_j(self) -> float:
        for i, zone in enumerate(self._zones):
            now = _number(zone.counter)
            passed = now - self._last[i]
            self._total_uj += passed if passed >= 0 else passed + zone.range_uj + 1
            self._last[i] = now
        return self._total_uj * MICRO


def _number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))


def _zones(powercap: Path) -> list[_Zone] | str:
    """List the packages, or say why there are none to read.

    They are called `intel-rapl:N`, on AMD too. Their parts `intel-rapl:N:M` are contained in them
    and left out.
    """
    if not powercap.is_dir():
        return (
            f"{powercap}: no such folder; the kernel shows no energy counters (virtual machine,"
            " container, or no powercap driver)"
        )
    found = sorted(path for path in powercap.glob("intel-rapl:*") if path.name.count(":") == 1)
    if not found:
        return (
            f"{powercap}: no intel-rapl:N in it; the kernel shows no counter of a processor package"
        )
    zones = []
    for path in found:
        try:
            name = (path / "name").read_text(encoding="ascii").strip()
            if name.startswith("package"):
                zones.append(_Zone(path / "energy_uj", _number(path / "max_energy_range_uj")))
                _number(zones[-1].counter)
        except (OSError, ValueError) as error:
            what = error.strerror if isinstance(error, OSError) else "not a number"
            return (
                f"{path}/energy_uj: {what}; only root may read it unless the administrator allows"
                " it (chmod a+r)"
            )
    return zones or (
        f"{powercap}: no zone is called package-N; the kernel shows no counter of a processor"
        " package"
    )


def measure_cpu(run: Callable[[], object], seconds: float, powercap: Path = POWERCAP) -> Measured:
    """Call `run` again and again for `seconds`, and measure the energy of one call above the idle
    machine.

    The machine is left idle for half as long before and after. The energy is the mean of what
    either idle power gives, and the interval the two. A call should take less than a minute, else a
    counter may wrap unseen. What else runs on the machine is measured with it.
    """
    zones = _zones(powercap)
    if isinstance(zones, str):
        return Measured(energy_j=None, low_j=None, high_j=None, idle_w=None, runs=0, reason=zones)
    meter = _Meter(zones)
    before_w = _idle_w(meter, seconds / 2)
    run()  # not measured: what is compiled or loaded once
    begin_j, begin_s, runs = meter.read_j(), time.monotonic(), 0
    read_s = begin_s
    while runs == 0 or time.monotonic() - begin_s < seconds:
        run()
        runs += 1
        if time.monotonic() - read_s > POLL_S:
            meter.read_j()
            read_s = time.monotonic()
    taken_j, taken_s = meter.read_j() - begin_j, time.monotonic() - begin_s
    after_w = _idle_w(meter, seconds / 2)
    first, second = ((taken_j - idle_w * taken_s) / runs for idle_w in (before_w, after_w))
    low, high = sorted((first, second))
    idle_w = (before_w + after_w) / 2
    if low <= 0:
        reason = (
            f"{taken_j / taken_s:.3g} W while running is no more than idle; measure longer, on a"
            " quiet machine"
        )
        return Measured(
            energy_j=None, low_j=None, high_j=None, idle_w=idle_w, runs=runs, reason=reason
        )
    mean = (first + second) / 2
    return Measured(energy_j=mean, low_j=low, high_j=high, idle_w=idle_w, runs=runs, reason=None)


def _idle_w(meter: _Meter, seconds: float) -> float:
    begin_j, begin_s = meter.read_j(), time.monotonic()
    while (left := begin_s + seconds - time.monotonic()) > 0:
        time.sleep(min(left, POLL_S))
        meter.read_j()
    return (meter.read_j() - begin_j) / max(time.monotonic() - begin_s, 1e-9)
