"""Parity must pass what is equal, and fail what is not."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy import evaluate as evaluation
from tmkt.deploy.engines import open_engine
from tmkt.deploy.parity import parity
from tmkt.errors import InputError
from tmkt.program import Program

FRAMES = example_frames(30)
LABELS = np.zeros(30, np.int64)


@pytest.fixture(scope="module")
def parts() -> Any:
    return example_parts()


@pytest.fixture(scope="module")
def bundle(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", parts)


def changed(program: Program, layer: int, change: Any) -> Program:
    """The program with the weights of one layer put through a function."""
    old = program.layers[layer]
    synapse = replace(old.synapses[0], weight=change(old.synapses[0].weight.copy()))
    return replace(program, layers=(*program.layers[:layer], replace(old, synapses=(synapse,)), *program.layers[layer + 1 :]))


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {engine["name"]: engine for engine in report["engines"]}


def test_engines_that_agree_pass(bundle: Bundle) -> None:
    told: list[tuple[int, int]] = []
    report = parity(bundle, ["simulator", "onnx", "float"], FRAMES, LABELS, 100.0, lambda done, total, _: told.append((done, total)))
    engines = by_name(report)
    assert (report["reference"], report["samples"], report["passed"], report["failures"]) == ("simulator", 30, True, [])
    for name in ("simulator", "onnx"):
        assert (engines[name]["spike_mismatches"], engines[name]["membrane_mismatches"], engines[name]["first_divergence"]) == (0, 0, None)
        assert engines[name]["prediction_agreement"] == 1.0
        assert engines[name]["layers"] == ["conv1", "conv2"]
        assert engines[name]["spikes_compared"] == 30 * 6 * (6 * 12 * 12 + 8 * 6 * 6)
        assert (engines[name]["rate_change"], engines[name]["logit_error"]) == (None, None)
    assert engines["float"]["membrane_mismatches"] is None
    assert abs(engines["float"]["rate_change"]["conv1"]) < 0.1
    assert engines["float"]["logit_error"] < 0.5
    assert report["faults"] == {"current_wraps": 0, "membrane_clips": 0, "readout_over_threshold": 0}
    assert told[-1] == (120, 120)
    assert told == sorted(told)
    json.dumps(report)


def test_spikes_of_another_program_fail_and_the_first_is_named(parts: Any, tmp_path: Path) -> None:
    def stronger(weight: NDArray[np.int16]) -> NDArray[np.int16]:
        weight[3] = np.abs(weight[3])
        return weight

    other = changed(parts[1], 1, stronger)
    bundle = write_example(tmp_path / "b", parts, onnx=other)
    report = parity(bundle, ["onnx"], FRAMES, LABELS)
    engine = report["engines"][0]
    ours, theirs = (open_engine(name, bundle).run(FRAMES).spikes["conv2"] for name in ("simulator", "onnx"))
    sample, step, *neuron = np.argwhere(ours != theirs)[0].tolist()
    at = (sample, step, *neuron)
    assert not report["passed"]
    assert engine["spike_mismatches"] == (ours != theirs).sum() > 0
    expected = {"sample": sample, "layer": "conv2", "step": step, "neuron": neuron, "found": int(theirs[at]), "expected": int(ours[at])}
    assert engine["first_divergence"] == expected
    assert str(engine["spike_mismatches"]) in report["failures"][0]


def test_the_first_divergence_is_earliest_in_steps_before_layers(parts: Any, tmp_path: Path) -> None:
    """A changed first layer spoils both; in the step in which both differ first, the first layer is named."""
    bundle = write_example(tmp_path / "b", parts, onnx=changed(parts[1], 0, lambda w: -w))
    engine = parity(bundle, ["onnx"], FRAMES, LABELS)["engines"][0]
    pair = [open_engine(name, bundle).run(FRAMES).spikes for name in ("simulator", "onnx")]
    sample = engine["first_divergence"]["sample"]
    first = {name: np.argwhere(pair[0][name][sample] != pair[1][name][sample])[:, 0].min() for name in ("conv1", "conv2")}
    assert engine["first_divergence"]["step"] == min(first.values())
    assert engine["first_divergence"]["layer"] == min(first, key=lambda name: (first[name], name))


def test_a_readout_that_differs_fails_though_every_spike_is_equal(parts: Any, tmp_path: Path) -> None:
    def nudge(weight: NDArray[np.int16]) -> NDArray[np.int16]:
        weight[2] += np.where(weight[2] < 254, 2, -2).astype(np.int16)
        return weight

    bundle = write_example(tmp_path / "b", parts, onnx=changed(parts[1], 2, nudge))
    report = parity(bundle, ["onnx"], FRAMES, LABELS)
    engine = report["engines"][0]
    assert (report["passed"], engine["spike_mismatches"]) == (False, 0)
    assert 0 < engine["membrane_mismatches"] <= 30
    assert engine["first_divergence"]["layer"] == "readout"
    assert engine["first_divergence"]["neuron"] == [2]
    assert engine["first_divergence"]["step"] == 5
    assert engine["first_divergence"]["found"] != engine["first_divergence"]["expected"]


def test_batches_change_nothing_but_memory(parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = write_example(tmp_path / "b", parts, onnx=changed(parts[1], 1, lambda w: -w))
    whole = parity(bundle, ["onnx", "float"], FRAMES, LABELS)
    monkeypatch.setattr(evaluation, "MOST_SAMPLES", 7)
    cut = parity(bundle, ["onnx", "float"], FRAMES, LABELS)
    for report in (whole, cut):
        by_name(report)["float"].pop("logit_error")  # a float sum, whose last bit may depend on the batch
    assert whole == cut


@pytest.fixture(scope="module")
def worse(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle whose integers answer otherwise than its float network."""
    return write_example(tmp_path_factory.mktemp("worse") / "b", (parts[0], changed(parts[1], 2, lambda w: w[::-1]), parts[2]), files=["network.nir"])


def labels_lost(bundle: Bundle, lost: int) -> NDArray[np.int64]:
    """Labels by which the float network is right in `lost` recordings more than the integers."""
    ours, floats = (open_engine(name, bundle).run(FRAMES).predictions for name in ("simulator", "float"))
    differ = np.flatnonzero(ours != floats)
    assert len(differ) > lost
    labels = floats.copy()
    for i in differ[lost:]:
        labels[i] = next(k for k in range(4) if k not in (ours[i], floats[i]))
    return labels


@pytest.mark.parametrize(
    ("lost", "max_drop", "passes"), [(0, 0.5, True), (1, 0.0, True), (1, 0.5, True), (2, 0.5, False), (2, 6.6, False), (2, 6.7, True)]
)
def test_accuracy_lost_against_float_fails_beyond_the_limit_but_one_recording_never(worse: Bundle, lost: int, max_drop: float, passes: bool) -> None:
    report = parity(worse, ["float"], FRAMES, labels_lost(worse, lost), max_drop)
    assert report["passed"] == passes
    assert bool(report["failures"]) != passes
    assert report["engines"][0]["accuracy"] - report["accuracy"] == pytest.approx(lost / 30)
    assert report["engines"][0]["prediction_agreement"] < 1


def test_integers_that_do_better_than_float_pass(worse: Bundle) -> None:
    ours = open_engine("simulator", worse).run(FRAMES).predictions
    assert parity(worse, ["float"], FRAMES, ours, 0.0)["passed"]


def test_faults_of_the_reference_are_reported(parts: Any, tmp_path: Path) -> None:
    """A read-out whose weights are all at the limit crosses its threshold."""
    hot = changed(parts[1], 2, lambda w: np.full_like(w, 254))
    hot = replace(hot, layers=(*hot.layers[:2], replace(hot.layers[2], threshold=10)))
    report = parity(write_example(tmp_path / "b", (parts[0], hot, parts[2])), ["simulator"], FRAMES, LABELS)
    assert report["faults"]["readout_over_threshold"] > 0
    assert report["passed"]


def test_no_engine_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no engines"):
        parity(bundle, [], FRAMES, LABELS)
