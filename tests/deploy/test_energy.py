"""Energy: the formulas by hand, intervals, exclusions, and units that refuse nonsense."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example

import tmkt.deploy.units
from tmkt.deploy.energy.constants import devices, estimators, load_constants
from tmkt.deploy.energy.report import check_device, energy, estimate
from tmkt.deploy.trace import LayerTrace, Trace
from tmkt.deploy.units import Joules, JoulesPerSynop, JoulesPerUpdate, Spikes, Synops, Updates
from tmkt.errors import InputError

FRAMES = example_frames(6)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return energy(write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts()), "loihi1", FRAMES)


def trace_of(synops: list[int], neurons: int) -> Trace:
    """One layer, one step, the given synaptic operations of each sample."""
    counts = np.array(synops, np.int64).reshape(-1, 1)
    return Trace((LayerTrace("n", neurons, counts, counts, counts, counts),))


def test_loihi_1_by_hand() -> None:
    # mean 2000 operations; 100 updates a sample, 60 of them active
    found = estimate(trace_of([1000, 3000], 100), {"n": 120}, "loihi1")
    assert found.energy_j == pytest.approx((23.6 * 2000 + 81 * 60 + 52 * 40) * 1e-12)
    assert found.low_j == pytest.approx((23.6 * 2000 + 52 * 100) * 1e-12)
    assert found.high_j == pytest.approx((27.1 * 2000 + 81 * 100) * 1e-12)
    assert (found.estimator, found.device) == ("davies2018", "loihi1")


def test_the_arithmetic_proxy_by_hand() -> None:
    found = estimate(trace_of([1000, 3000], 100), {"n": 120}, "45nm-cmos-proxy")
    assert (found.energy_j, found.low_j, found.high_j) == pytest.approx((200e-12, 60e-12, 1800e-12))
    assert (found.estimator, found.device) == ("horowitz45nm", "45nm-cmos-proxy")


def test_the_published_dvs_gesture_counts_give_the_published_estimates() -> None:
    """Counts of SANA-FE's DVS-Gesture example; measured: 2.656 mJ by the keras-spiking formula, 1.5 uJ by int8 additions."""
    trace = trace_of([51_549_374], 15_539_753)
    assert estimate(trace, {"n": 15_539_753}, "loihi1").high_j == pytest.approx(2.656e-3, rel=1e-3)
    assert estimate(trace, {"n": 0}, "45nm-cmos-proxy").low_j == pytest.approx(1.5e-6, rel=0.05)


def test_active_updates_of_other_samples_are_refused() -> None:
    with pytest.raises(ValueError, match="same samples"):
        estimate(trace_of([1], 10), {"n": 11}, "loihi1")


def test_no_number_stands_without_interval_exclusions_and_source(report: dict[str, Any]) -> None:
    assert [e["estimator"] for e in report["estimates"]] == ["davies2018", "horowitz45nm"]
    for e in report["estimates"]:
        assert e.keys() == {"estimator", "device", "energy_j", "low_j", "high_j", "includes", "excludes", "source"}
        assert 0 < e["low_j"] < e["energy_j"] < e["high_j"]
        assert "static power" in e["excludes"]
        assert "host input and output" in e["excludes"]
        assert e["includes"]
    assert "Davies" in report["estimates"][0]["source"]
    assert "Horowitz" in report["estimates"][1]["source"]
    json.dumps(report)


def test_the_trace_is_given_a_sample_with_its_spread(report: dict[str, Any]) -> None:
    trace = report["trace"]
    assert report["samples"] == trace["samples"] == 6
    assert [layer["name"] for layer in trace["layers"]] == ["conv1", "conv2", "readout"]
    assert trace["synops_sd"] > 0
    assert 0 < trace["active_updates_per_sample"] <= trace["updates_per_sample"]
    e = report["estimates"][0]
    active, idle = trace["active_updates_per_sample"], trace["updates_per_sample"] - trace["active_updates_per_sample"]
    assert e["energy_j"] == pytest.approx(1e-12 * (23.6 * trace["synops_per_sample"] + 81 * active + 52 * idle))


def test_an_unknown_device_names_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'loihi1'"):
        check_device("loihi")


@pytest.mark.parametrize(("device", "estimator"), [(d, e) for d in devices() for e in estimators(d)])
def test_every_constant_of_an_estimator_has_source_and_status(device: str, estimator: str) -> None:
    found = load_constants(device, estimator)
    assert found.values
    for constant in found.values.values():
        assert len(constant.source) > 10
        assert constant.status
        assert f"{constant.name} {constant.value:g}" in found.source


def test_spikes_times_energy_a_synaptic_operation_is_an_error() -> None:
    assert JoulesPerSynop(2.0) * Synops(3.0) + JoulesPerUpdate(1.0) * Updates(4.0) == Joules(10.0)
    wrong: list[Any] = [Spikes(3.0), Updates(3.0), 3.0, Joules(3.0), JoulesPerSynop(3.0)]
    for other in wrong:
        with pytest.raises(TypeError):
            JoulesPerSynop(2.0) * other
    for left, right in ((JoulesPerUpdate(1.0), Synops(1.0)), (JoulesPerUpdate(1.0), Spikes(1.0))):
        with pytest.raises(TypeError):
            left * right  # type: ignore[operator]
    for left, right in ((Joules(1.0), Synops(1.0)), (Synops(1.0), Updates(1.0)), (JoulesPerSynop(1.0), JoulesPerUpdate(1.0))):
        with pytest.raises(TypeError):
            left + right  # type: ignore[operator]
        with pytest.raises(TypeError):
            left - right  # type: ignore[operator]


def test_the_type_checker_refuses_it_too(tmp_path: Path) -> None:
    shutil.copy(tmkt.deploy.units.__file__, tmp_path / "units.py")
    (tmp_path / "right.py").write_text("from units import *\nx: Joules = JoulesPerSynop(1.0) * Synops(1.0)\n")
    (tmp_path / "wrong.py").write_text("from units import *\nx: Joules = JoulesPerSynop(1.0) * Spikes(1.0)\n")
    found = {}
    for name in ("right", "wrong"):
        command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), f"{name}.py"]
        found[name] = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert found["right"].returncode == 0, found["right"].stdout
    assert "Unsupported operand types" in found["wrong"].stdout
