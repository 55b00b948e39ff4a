"""Parity must pass what is equal, and fail what is not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from example_bundles import example_frames, example_parts, write_example
from numpy.typing import NDArray
from onnx import numpy_helper

from tmkt.bundle import Bundle, sha256
from tmkt.cli.tables.parity import print_parity
from tmkt.deploy import evaluate as evaluation
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.parity.report import parity
from tmkt.deploy.parity.statistics import mcnemar
from tmkt.errors import InputError
from tmkt.program.model import Program

FRAMES = example_frames(30)
LABELS = np.zeros(30, np.int64)


@pytest.fixture(scope="module")
def parts() -> Any:
    return example_parts()


@pytest.fixture(scope="module")
def bundle(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", parts)


def changed(program: Program, layer: int, change: Any) -> Program:
    """Return the program with the weights of one layer put through a function."""
    old = program.layers[layer]
    synapse = replace(old.synapses[0], weight=change(old.synapses[0].weight.copy()))
    return replace(
        program,
        layers=(
            *program.layers[:layer],
            replace(old, synapses=(synapse,)),
            *program.layers[layer + 1 :],
        ),
    )


def by_name(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {engine["name"]: engine for engine in report["engines"]}


def test_engines_that_agree_pass(bundle: Bundle) -> None:
    told: list[tuple[int, int, float | None]] = []
    report = parity(
        bundle,
        ["simulator", "onnx", "float"],
        FRAMES,
        LABELS,
        100.0,
        lambda done, total, _, left_s: told.append((done, total, left_s)),
    )
    engines = by_name(report)
    assert (report["reference"], report["samples"], report["passed"], report["failures"]) == (
        "simulator",
        30,
        True,
        [],
    )
    for name in ("simulator", "onnx"):
        assert (
            engines[name]["spike_mismatches"],
            engines[name]["membrane_mismatches"],
            engines[name]["first_divergence"],
        ) == (0, 0, None)
        assert engines[name]["prediction_agreement"] == 1.0
        assert [layer["name"] for layer in engines[name]["layers"]] == ["conv1", "conv2", "readout"]
        assert [layer["spikes_compared"] for layer in engines[name]["layers"]] == [
            30 * 6 * 6 * 12 * 12,
            30 * 6 * 8 * 6 * 6,
            0,
        ]
        assert [layer["membranes_compared"] for layer in engines[name]["layers"]] == [0, 0, 30 * 4]
        assert engines[name]["mcnemar"] == {"only_reference": 0, "only_engine": 0, "p": 1.0}
        assert engines[name]["spikes_compared"] == 30 * 6 * (6 * 12 * 12 + 8 * 6 * 6)
        assert (engines[name]["rate_change"], engines[name]["logit_error"]) == (None, None)
    assert engines["float"]["membrane_mismatches"] is None
    assert abs(engines["float"]["rate_change"]["conv1"]) < 0.1
    assert engines["float"]["logit_error"] < 0.5
    assert engines["float"]["logit_gap"] >= engines["float"]["logit_error"]
    assert engines["float"]["first_divergence"] is None
    assert report["faults"] == {
        "current_wraps": 0,
        "membrane_clips": 0,
        "readout_over_threshold": 0,
    }
    assert [done for done, _, _ in told] == sorted(done for done, _, _ in told)
    assert told[0][2] is None  # an engine that has not run yet may be a slow one
    assert told[-1] == (120, 120, 0.0)
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
    ours, theirs = (
        open_engine(name, bundle).run(FRAMES).spikes["conv2"] for name in ("simulator", "onnx")
    )
    sample, step, *neuron = np.argwhere(ours != theirs)[0].tolist()
    at = (sample, step, *neuron)
    assert not report["passed"]
    assert engine["spike_mismatches"] == (ours != theirs).sum() > 0
    expected = {
        "sample": sample,
        "layer": "conv2",
        "step": step,
        "neuron": neuron,
        "found": int(theirs[at]),
        "expected": int(ours[at]),
    }
    assert expected.items() <= engine["first_divergence"].items()
    assert engine["first_divergence"]["cause"] == "unknown"
    by_layer = {layer["name"]: layer["spike_mismatches"] for layer in engine["layers"]}
    assert by_layer == {"conv1": 0, "conv2": engine["spike_mismatches"], "readout": 0}
    assert str(engine["spike_mismatches"]) in report["failures"][0]


def test_the_first_divergence_is_earliest_in_steps_before_layers(
    parts: Any, tmp_path: Path
) -> None:
    """A changed first layer spoils both; in the step in which both differ first, the first layer is
    named.
    """
    bundle = write_example(tmp_path / "b", parts, onnx=changed(parts[1], 0, lambda w: -w))
    engine = parity(bundle, ["onnx"], FRAMES, LABELS)["engines"][0]
    pair = [open_engine(name, bundle).run(FRAMES).spikes for name in ("simulator", "onnx")]
    sample = engine["first_divergence"]["sample"]
    first = {
        name: np.argwhere(pair[0][name][sample] != pair[1][name][sample])[:, 0].min()
        for name in ("conv1", "conv2")
    }
    assert engine["first_divergence"]["step"] == min(first.values())
    assert engine["first_divergence"]["layer"] == min(first, key=lambda name: (first[name], name))


def test_a_readout_that_differs_fails_though_every_spike_is_equal(
    parts: Any, tmp_path: Path
) -> None:
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


def test_batches_change_nothing_but_memory(
    parts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = write_example(tmp_path / "b", parts, onnx=changed(parts[1], 1, lambda w: -w))
    whole = parity(bundle, ["onnx", "float"], FRAMES, LABELS)
    monkeypatch.setattr(evaluation, "MOST_SAMPLES", 7)
    cut = parity(bundle, ["onnx", "float"], FRAMES, LABELS)
    for report in (whole, cut):
        by_name(report)["float"].pop(
            "logit_error"
        )  # a float sum, whose last bit may depend on the batch
    assert whole == cut


@pytest.fixture(scope="module")
def worse(parts: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Write a bundle whose integers give other answers than its float network."""
    return write_example(
        tmp_path_factory.mktemp("worse") / "b",
        (parts[0], changed(parts[1], 2, lambda w: w[::-1]), parts[2]),
        files=["network.nir"],
    )


def labels_lost(bundle: Bundle, lost: int) -> NDArray[np.int64]:
    """Labels by which the float network is right in `lost` recordings more than the integers."""
    ours, floats = (
        open_engine(name, bundle).run(FRAMES).predictions for name in ("simulator", "float")
    )
    differ = np.flatnonzero(ours != floats)
    assert len(differ) > lost
    labels = floats.copy()
    for i in differ[lost:]:
        labels[i] = next(k for k in range(4) if k not in (ours[i], floats[i]))
    return labels


@pytest.mark.parametrize(
    ("lost", "max_drop", "passes"),
    [
        (0, 0.5, True),
        (3, 0.0, True),
        (3, 0.5, True),
        (4, 0.5, False),
        (4, 13.3, False),
        (4, 13.4, True),
    ],
)
def test_accuracy_lost_against_float_fails_beyond_the_limit_but_three_recordings_never(
    worse: Bundle, lost: int, max_drop: float, passes: bool
) -> None:
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
    report = parity(
        write_example(tmp_path / "b", (parts[0], hot, parts[2])), ["simulator"], FRAMES, LABELS
    )
    assert report["faults"]["readout_over_threshold"] > 0
    assert report["passed"]


@pytest.mark.parametrize(("fewer", "passes"), [(0, True), (1, False)])
def test_mismatches_up_to_a_limit_may_pass(
    fewer: int, passes: bool, parts: Any, tmp_path: Path
) -> None:
    bundle = write_example(
        tmp_path / "b", parts, onnx=changed(parts[1], 1, lambda w: w[:, :, ::-1])
    )
    engine = parity(bundle, ["onnx"], FRAMES, LABELS)["engines"][0]
    limit = engine["spike_mismatches"] + engine["membrane_mismatches"] - fewer
    report = parity(bundle, ["onnx"], FRAMES, LABELS, 100.0, max_mismatches=limit)
    assert report["passed"] == passes
    assert report["max_mismatches"] == limit
    assert report["engines"][0]["first_divergence"]["cause"] == "kernel flip"


def test_an_exact_engine_that_loses_accuracy_fails_whatever_may_differ(
    parts: Any, tmp_path: Path
) -> None:
    bundle = write_example(tmp_path / "b", parts, onnx=changed(parts[1], 2, lambda w: w[::-1]))
    labels = open_engine("simulator", bundle).run(FRAMES).predictions
    report = parity(bundle, ["onnx"], FRAMES, labels, 0.5, max_mismatches=10**9)
    assert not report["passed"]
    assert "onnx loses" in report["failures"][0]
    assert parity(bundle, ["onnx"], FRAMES, labels, 100.0, max_mismatches=10**9)["passed"]
    mcnemar = report["engines"][0]["mcnemar"]
    assert (mcnemar["only_reference"], mcnemar["only_engine"]) == (
        round(30 * (1 - report["engines"][0]["accuracy"])),
        0,
    )
    assert mcnemar["p"] < 0.05


@pytest.mark.parametrize(
    ("first", "second", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),
        (3, 3, 1.0),
        (6, 0, 2 / 64),
        (9, 1, 2 * 11 / 1024),
        (2, 10, 2 * (1 + 12 + 66) / 4096),
        (2000, 1000, 0.0),
    ],
)
def test_mcnemar_counts_pairs_and_gives_the_exact_p_value(
    first: int, second: int, p: float
) -> None:
    """By hand from the binomial distribution; 5 samples both get right, 4 both get wrong."""
    ours = np.array([True] * 5 + [False] * 4 + [True] * first + [False] * second)
    theirs = np.array([True] * 5 + [False] * 4 + [False] * first + [True] * second)
    assert mcnemar(ours, theirs) == (first, second, pytest.approx(p, abs=1e-12))


def test_people_see_layers_and_the_cause(
    parts: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flipped = changed(parts[1], 1, lambda w: w[:, :, ::-1, ::-1])
    print_parity(
        parity(
            write_example(tmp_path / "b", parts, onnx=flipped),
            ["onnx", "float"],
            FRAMES,
            LABELS,
            100.0,
        )
    )
    shown = capsys.readouterr().out
    for words in (
        "onnx by layer",
        "onnx first differs at sample 0, layer conv2",
        "incoming sum",
        "likely kernel flip: the kernel is flipped in both",
    ):
        assert words in shown
    permuted = changed(parts[1], 1, lambda w: w[::-1])
    print_parity(
        parity(write_example(tmp_path / "c", parts, onnx=permuted), ["onnx"], FRAMES, LABELS, 100.0)
    )
    assert "unknown, none of the faults" in capsys.readouterr().out


def test_the_command_names_the_cause_and_is_a_gate(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(pipeline.bundle, forged)
    model = onnx.load(forged / "network.onnx")
    tensor = next(t for t in model.graph.initializer if t.name == "conv2.weight_0")
    tensor.CopyFrom(
        numpy_helper.from_array(numpy_helper.to_array(tensor)[:, :, ::-1, ::-1].copy(), tensor.name)
    )
    onnx.save(model, forged / "network.onnx")
    manifest = json.loads((forged / "manifest.json").read_text())
    manifest["files"]["network.onnx"] = {
        "sha256": sha256(forged / "network.onnx"),
        "bytes": (forged / "network.onnx").stat().st_size,
    }
    (forged / "manifest.json").write_text(json.dumps(manifest))
    command = (
        "parity",
        forged,
        "--engines",
        "onnx",
        "--data",
        pipeline.data,
        "--limit",
        10,
        "--max-drop",
        100,
    )
    done = tmkt(*command)
    assert done.code == 1
    assert "likely kernel flip" in done.out
    done = tmkt(*command, "--max-mismatches", 10**9, "--json")
    assert done.code == 0, done.err
    assert done.json["engines"][0]["first_divergence"]["cause"] == "kernel flip"


def test_no_engine_is_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no engines"):
        parity(bundle, [], FRAMES, LABELS)
