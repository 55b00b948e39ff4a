"""Energy from counts: formulas by hand and against published figures, the report, and units that
refuse wrong products.
"""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_activity import by_hand
from example_bundles import STEPS, example_frames, example_parts, write_example

import tmkt.deploy.energy.units
from tmkt.bundle import Bundle
from tmkt.deploy.energy import report as reports
from tmkt.deploy.energy.activity import Activity, count_activity
from tmkt.deploy.energy.constants import devices, estimators, load_constants
from tmkt.deploy.energy.count_estimators import davies2018, horowitz45nm, lemaire2022
from tmkt.deploy.energy.estimate import to_json
from tmkt.deploy.energy.units import Joules, JoulesPer, Seconds, Spikes, Synops, Updates, Watts
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError

FRAMES = example_frames(6)
LABELS = np.array([0, 1, 2, 0, 1, 2], np.int64)
RECEIPT = {"estimator", "device", "energy_j", "low_j", "high_j", "includes", "excludes", "source"}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts())


@pytest.fixture(scope="module")
def activity(bundle: Bundle) -> Activity:
    return count_activity(bundle, FRAMES, LABELS, ["loihi1"])


@pytest.fixture(scope="module")
def report(activity: Activity) -> dict[str, Any]:
    return reports.report(activity, ["loihi1"])


def figures(activity: Activity, estimator: Any, device: str) -> dict[str, Any]:
    return to_json(estimator(activity, load_constants(device, estimator.__name__)), activity)


def test_loihi_1_by_hand() -> None:
    # mean 2000 operations; 100 updates a sample, 60 of them active
    found = figures(by_hand([1000, 3000], 100, 60), davies2018, "loihi1")
    assert found["energy_j"] == pytest.approx((23.6 * 2000 + 81 * 60 + 52 * 40) * 1e-12)
    assert found["low_j"] == pytest.approx((23.6 * 2000 + 52 * 100) * 1e-12)
    assert found["high_j"] == pytest.approx((27.1 * 2000 + 81 * 100) * 1e-12)
    assert found["sd_j"] == pytest.approx(23.6e-12 * 1000 * np.sqrt(2))


def test_the_arithmetic_proxy_by_hand() -> None:
    found = figures(by_hand([1000, 3000], 100, 60), horowitz45nm, "45nm-cmos-proxy")
    assert (found["energy_j"], found["low_j"], found["high_j"]) == pytest.approx(
        (200e-12, 60e-12, 1800e-12)
    )


def test_the_published_dvs_gesture_counts_give_the_published_estimates() -> None:
    """Use the counts of SANA-FE's DVS-Gesture example. Measured: 2.656 mJ by the keras-spiking
    formula, 46.4 and 1.5 uJ by fp32 and int8 additions.
    """
    activity = by_hand([51_549_374], 15_539_753, 15_539_753)
    assert figures(activity, davies2018, "loihi1")["high_j"] == pytest.approx(2.656e-3, rel=1e-3)
    proxy = figures(activity, horowitz45nm, "45nm-cmos-proxy")
    assert (proxy["low_j"], proxy["high_j"]) == pytest.approx((1.546e-6, 46.4e-6), rel=1e-3)


def test_lemaire_by_hand(activity: Activity) -> None:
    """Write out the model for the first layer: 2 x 13 x 13 into 6 x 12 x 12 (13 cropped), 3 x 3,
    with biases and leak.
    """
    layer, trace = activity.program.layers[0], activity.trace.layers[0]
    synops, arriving, spikes = (
        float(x.sum(1).mean()) for x in (trace.synops, trace.source_spikes, trace.spikes)
    )
    updates = layer.neurons * STEPS
    small = 10 / 8192  # pJ an access and byte below 8 KB
    assert layer.neurons * 4 < 8192
    adds = synops + 2 * updates + spikes + synops + 2 * arriving
    multiplications = updates + 2 * arriving
    accesses = (
        synops * 4 * layer.synapses[0].weight.size
        + updates * 4 * 6
        + 2 * (synops + updates) * 4 * layer.neurons
        + 4096 * (arriving + spikes)
    )
    found = figures(activity, lemaire2022, "45nm-cmos-proxy")
    assert found["layers"][0]["energy_j"] == pytest.approx(
        1e-12 * (0.1 * adds + 3.1 * multiplications + small * accesses)
    )
    assert sum(part["energy_j"] for part in found["parts"]) == pytest.approx(found["energy_j"])
    assert found["low_j"] < found["energy_j"] < found["high_j"]


def test_no_number_stands_without_interval_exclusions_and_source(report: dict[str, Any]) -> None:
    names = [e["estimator"] for e in report["estimates"]]
    assert names == [
        "davies2018",
        "loihi1-calibrated",
        "loihi1-static",
        "horowitz45nm",
        "lemaire2022",
    ]
    for e in report["estimates"]:
        assert e.keys() >= RECEIPT
        assert 0 < e["low_j"] < e["energy_j"] < e["high_j"]
        assert any("host input and output" in line for line in e["excludes"])
        assert "static" in e["estimator"] or any("static power" in line for line in e["excludes"])
        assert e["includes"]
        assert e["source"]
        inner = [e["per_second"], *e["layers"], *e["classes"], *e["steps"], *e["parts"]]
        assert all(0 <= entry["low_j"] <= entry["energy_j"] <= entry["high_j"] for entry in inner)
    for e in report["ann"]:
        assert e["low_j"] <= e["energy_j"] <= e["high_j"]
        assert e["crossover_low"] <= e["crossover"] <= e["crossover_high"]
        assert e["includes"]
        assert e["excludes"]
        assert e["source"]
    json.dumps(report, allow_nan=False)


def test_layers_classes_and_steps_add_up_to_the_inference(report: dict[str, Any]) -> None:
    for e in report["estimates"]:
        for key in ("layers", "steps"):
            assert sum(entry["energy_j"] for entry in e[key]) == pytest.approx(e["energy_j"])
        by_class = sum(entry["energy_j"] * entry["samples"] for entry in e["classes"])
        assert by_class / 6 == pytest.approx(e["energy_j"])
        assert [entry["name"] for entry in e["classes"]] == [
            "0",
            "1",
            "2",
        ]  # class 3 has no recording


def test_a_second_of_stream_is_as_many_inferences_as_fit_into_it(report: dict[str, Any]) -> None:
    assert report["seconds_of_stream"] == pytest.approx(STEPS * 1e-3)
    for e in report["estimates"]:
        if e["estimator"] != "loihi1-static":
            assert e["per_second"]["energy_j"] == pytest.approx(e["energy_j"] / (STEPS * 1e-3))


def test_the_trace_is_given_a_sample_with_its_spread(report: dict[str, Any]) -> None:
    trace = report["trace"]
    assert report["samples"] == trace["samples"] == 6
    assert [layer["name"] for layer in trace["layers"]] == ["conv1", "conv2", "readout"]
    assert trace["synops_sd"] > 0
    assert trace["state_accesses_per_sample"] == 2 * (
        trace["synops_per_sample"] + trace["updates_per_sample"]
    )
    biased = STEPS * (6 * 12 * 12 + trace["layers"][1]["neurons"] + trace["layers"][2]["neurons"])
    assert trace["weight_accesses_per_sample"] == trace["synops_per_sample"] + biased
    e = report["estimates"][0]
    active, idle = (
        trace["active_updates_per_sample"],
        trace["updates_per_sample"] - trace["active_updates_per_sample"],
    )
    assert e["energy_j"] == pytest.approx(
        1e-12 * (23.6 * trace["synops_per_sample"] + 81 * active + 52 * idle)
    )


def test_active_updates_are_those_that_the_simulator_counts(tmp_path: Path) -> None:
    graph, program, report = example_parts()
    layers = program.layers
    layers[0].bias[::2] = 0
    layers[1].bias[:] = 0
    bundle = write_example(tmp_path / "b", (graph, program, report), files=("network.nir",))
    found = count_activity(bundle, FRAMES, LABELS, ["loihi1"])
    expected = open_engine("simulator", bundle).run(FRAMES).active_updates
    assert expected is not None
    assert dict(zip(found.layers, found.active.sum((0, 1)), strict=True)) == expected
    assert found.active.sum() < found.trace.per_sample("updates").sum()


def test_neurobench_counts_are_the_traces(report: dict[str, Any]) -> None:
    counts = report["neurobench"]
    assert counts["SynapticOperations"]["Effective_ACs"] == pytest.approx(
        report["trace"]["nonzero_synops_per_sample"]
    )
    assert counts["SynapticOperations"]["Effective_MACs"] == 0
    assert counts["SynapticOperations"]["Dense"] > report["trace"]["synops_per_sample"]
    firing = sum(layer["neurons"] for layer in report["trace"]["layers"][:2])
    assert counts["ActivationSparsity"] == pytest.approx(
        1 - report["trace"]["spikes_per_sample"] / (firing * STEPS)
    )


def test_a_network_that_does_not_fit_leaves_the_placed_estimates_unknown_and_says_why(
    activity: Activity,
) -> None:
    found = reports.report(replace(activity, on={"loihi1": "conv1 does not fit"}), ["loihi1"])
    assert [e["estimator"] for e in found["estimates"]] == [
        "davies2018",
        "horowitz45nm",
        "lemaire2022",
    ]
    assert [(e["estimator"], e["reason"]) for e in found["unknown"]] == [
        ("loihi1-calibrated", "conv1 does not fit"),
        ("loihi1-static", "conv1 does not fit"),
    ]


def test_an_unknown_device_names_the_nearest(bundle: Bundle) -> None:
    with pytest.raises(
        InputError, match=r"unknown, known are .*loihi1, loihi2; did you mean 'loihi"
    ):
        reports.energy(bundle, ["loihi"], FRAMES, LABELS)


@pytest.mark.parametrize(
    ("device", "estimator"), [(d, e) for d in devices() for e in estimators(d)]
)
def test_every_constant_of_an_estimator_has_source_and_status(device: str, estimator: str) -> None:
    found = load_constants(device, estimator)
    assert found.values
    for constant in found.values.values():
        assert len(constant.source) > 10
        assert constant.status
        assert f"{constant.name} {constant.value:g}" in found.source


def test_spikes_times_energy_a_synaptic_operation_is_an_error() -> None:
    synop, update = JoulesPer(2.0, Synops), JoulesPer(1.0, Updates)
    assert (synop * Synops(3.0) + update * Updates(4.0)).value == 10.0
    assert (Watts(2.0) * Seconds(3.0)).value == 6.0
    array = synop * Synops(np.array([1.0, 2.0]))
    assert isinstance(array, Joules)
    assert np.array_equal(array.value, [2.0, 4.0])
    wrong: list[Any] = [Spikes(3.0), Updates(3.0), 3.0, np.ones(2), Joules(3.0), synop]
    for other in wrong:
        with pytest.raises(TypeError):
            synop * other
    for left, right in (
        (Watts(1.0), Spikes(1.0)),
        (Joules(1.0), Joules(1.0)),
        (np.ones(2), synop),
        (Spikes(1.0), synop),
    ):
        with pytest.raises(TypeError):
            left * right
    for left, right in (
        (Joules(1.0), Synops(1.0)),
        (Synops(1.0), Updates(1.0)),
        (synop, update),
        (Joules(1.0), Watts(1.0)),
    ):
        with pytest.raises(TypeError):
            left + right
        with pytest.raises(TypeError):
            left - right
    with pytest.raises(TypeError):
        Joules(1.0).scaled(Spikes(2.0))  # type: ignore[arg-type]


def test_the_type_checker_refuses_it_too(tmp_path: Path) -> None:
    shutil.copy(tmkt.deploy.energy.units.__file__, tmp_path / "units.py")
    (tmp_path / "right.py").write_text(
        "from units import *\nx: Joules = JoulesPer(1.0, Synops) * Synops(1.0)\n"
    )
    (tmp_path / "wrong.py").write_text(
        "from units import *\nx: Joules = JoulesPer(1.0, Synops) * Spikes(1.0)\n"
    )
    found = {}
    for name in ("right", "wrong"):
        command = [
            sys.executable,
            "-m",
            "mypy",
            "--strict",
            "--cache-dir",
            str(tmp_path / "cache"),
            f"{name}.py",
        ]
        found[name] = subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, timeout=120
        )
    assert found["right"].returncode == 0, found["right"].stdout
    assert "Unsupported operand types" in found["wrong"].stdout
