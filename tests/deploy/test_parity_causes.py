"""Faults planted in exported files: parity must find each and name it."""

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_program import run_plain
from planted_faults import (
    LOUD,
    PLANTED,
    READOUT_THRESHOLD,
    SAMPLES,
    STEPS,
    altered,
    frames_of,
    loud_program,
    readout_fires,
    small_program,
    temporal_program,
    weights,
)
from random_programs import frames_for, programs

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.lava import installed
from tmkt.deploy.engines.onnx_shapes import RULES
from tmkt.deploy.parity.diagnose import Evidence, diagnose
from tmkt.deploy.parity.report import parity
from tmkt.deploy.parity.rules import bias_of, rule_of, run, synaptic_sums
from tmkt.events.frames import InputContract
from tmkt.export.targets.lava import write_lava
from tmkt.export.targets.onnx import write_onnx
from tmkt.program.model import Program


@pytest.fixture(autouse=True)
def planted_operators(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let operators through that faults are made of, and our own graphs do not hold."""
    monkeypatch.setitem(RULES, "Floor", RULES["Round"])
    monkeypatch.setitem(RULES, "Mod", RULES["Add"])


def write(path: Path, program: Program, **writers: Any) -> Bundle:
    contract = InputContract(program.input_shape[1:], STEPS, 1000, program.max_count)
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    return bundles.write(path, program, contract, ["a", "b", "c"], origin, [], writers)


def diagnosis(
    program: Program,
    engine: str,
    file: str,
    writer: Callable[[Path], None],
    folder: Path,
    samples: int = SAMPLES,
) -> dict[str, Any]:
    """Parity's report of the one engine, whose file `writer` writes."""
    bundle = write(folder / "b", program, **{file: writer})
    report = parity(bundle, [engine], frames_of(program)[:samples], np.zeros(samples, np.int64))
    assert not report["passed"]
    return dict(report["engines"][0])


def check(engine: dict[str, Any], layer: str, cause: str, words: str) -> None:
    first = engine["first_divergence"]
    assert (first["layer"], first["cause"]) == (layer, cause), first
    best = [
        candidate["explanation"]
        for candidate in first["candidates"]
        if candidate["unexplained"] == 0
    ]
    assert any(
        words in explanation for explanation in best
    )  # seldom two faults do the same to all samples that were looked at
    assert first["explanation"] == best[0]
    assert first["differing"] > 0


@pytest.mark.parametrize("fault", PLANTED)
def test_a_fault_in_the_onnx_graph_is_named(fault: str, tmp_path: Path) -> None:
    plant, layer, cause, words = PLANTED[fault]
    engine = diagnosis(
        small_program(), "onnx", bundles.ONNX, altered(small_program(), plant), tmp_path
    )
    check(engine, layer, cause, words)


@pytest.mark.parametrize("fault", LOUD)
def test_a_fault_beyond_the_limits_is_named(fault: str, tmp_path: Path) -> None:
    plant, layer, cause, words = LOUD[fault]
    engine = diagnosis(
        loud_program(), "onnx", bundles.ONNX, altered(loud_program(), plant), tmp_path
    )
    check(engine, layer, cause, words)


@pytest.mark.parametrize(
    ("decay", "low", "high"), [(1024, 900, 1150), (2048, 1950, 2150), (3500, 3400, 3600)]
)
def test_another_time_step_is_named_with_the_decay_that_fits(
    decay: int, low: int, high: int, tmp_path: Path
) -> None:
    program = small_program()
    first = replace(program.layers[0], voltage_decay=1500)
    program = replace(program, layers=(first, *program.layers[1:]))
    other = replace(program, layers=(replace(first, voltage_decay=decay), *program.layers[1:]))
    engine = diagnosis(
        program, "onnx", bundles.ONNX, lambda path: write_onnx(other, path), tmp_path
    )
    divergence = engine["first_divergence"]
    assert (divergence["layer"], divergence["cause"]) == ("conv1", "dt")
    span = [
        int(word)
        for word in divergence["explanation"].split("decay is ")[1].split(" of ")[0].split(" to ")
    ]
    assert low <= span[0] <= decay <= span[-1] <= high
    assert "expected 1500" in divergence["explanation"]


def test_another_current_decay_is_named(tmp_path: Path) -> None:
    program = small_program()
    other = replace(
        program,
        layers=(
            program.layers[0],
            replace(program.layers[1], current_decay=1000),
            program.layers[2],
        ),
    )
    divergence = diagnosis(
        program, "onnx", bundles.ONNX, lambda path: write_onnx(other, path), tmp_path
    )["first_divergence"]
    assert (divergence["layer"], divergence["cause"]) == ("conv2", "dt")
    assert "the current decay is" in divergence["explanation"]


@pytest.mark.parametrize("threshold", [11, 18])
def test_another_threshold_is_named_with_its_range(threshold: int, tmp_path: Path) -> None:
    program = small_program()
    other = replace(
        program, layers=(replace(program.layers[0], threshold=threshold), *program.layers[1:])
    )
    divergence = diagnosis(
        program, "onnx", bundles.ONNX, lambda path: write_onnx(other, path), tmp_path
    )["first_divergence"]
    assert (divergence["layer"], divergence["cause"]) == ("conv1", "threshold")
    span = [
        float(word)
        for word in divergence["explanation"].split("threshold is ")[1].split(",")[0].split(" to ")
    ]
    assert 10 <= span[0] <= threshold <= span[-1] + 1 / 64
    assert span[-1] - span[0] < 0.2 * threshold


def test_a_layer_that_never_fires_is_named(tmp_path: Path) -> None:
    program = small_program()
    other = replace(
        program, layers=(replace(program.layers[0], threshold=131071), *program.layers[1:])
    )
    divergence = diagnosis(
        program, "onnx", bundles.ONNX, lambda path: write_onnx(other, path), tmp_path
    )["first_divergence"]
    assert (divergence["layer"], divergence["cause"]) == ("conv1", "threshold")
    assert "or nothing fires, expected 12" in divergence["explanation"]


def test_a_readout_that_fires_is_named(tmp_path: Path) -> None:
    program = small_program()
    program = replace(
        program,
        layers=(*program.layers[:2], replace(program.layers[2], threshold=READOUT_THRESHOLD)),
    )
    engine = diagnosis(program, "onnx", bundles.ONNX, altered(program, readout_fires), tmp_path)
    check(engine, "readout", "reset", f"fires above {READOUT_THRESHOLD}")


def test_random_weights_are_no_known_fault(tmp_path: Path) -> None:
    program = small_program()
    synapse = program.layers[1].synapses[0]
    weight = (
        np.random.default_rng(1).permuted(synapse.weight.reshape(-1)).reshape(synapse.weight.shape)
    )
    other = replace(program.layers[1], synapses=(replace(synapse, weight=weight),))
    other_program = replace(program, layers=(program.layers[0], other, program.layers[2]))
    first = diagnosis(
        program, "onnx", bundles.ONNX, lambda path: write_onnx(other_program, path), tmp_path
    )["first_divergence"]
    assert (first["layer"], first["cause"], first["explanation"]) == ("conv2", "unknown", None)
    assert first["membrane_found"] is None


def test_membranes_of_both_sides_and_the_sum_are_those_of_the_neuron(tmp_path: Path) -> None:
    program = small_program()
    writer = altered(program, weights("conv1.weight_0", lambda w: w[..., ::-1]))
    first = diagnosis(program, "onnx", bundles.ONNX, writer, tmp_path)["first_divergence"]
    channel, y, x = first["neuron"]
    padded = np.pad(
        frames_of(program)[first["sample"]].astype(np.int64), ((0, 0), (0, 0), (1, 1), (1, 1))
    )
    layer = program.layers[0]
    for key, kernel in (
        ("", layer.synapses[0].weight[channel]),
        ("_found", layer.synapses[0].weight[channel][..., ::-1]),
    ):
        v = 0
        for t in range(first["step"] + 1):
            a = int((padded[t, :, y : y + 3, x : x + 3] * kernel).sum())
            kept = 0 if v > 12 << 6 else v  # reset
            v = (
                int(np.sign(kept)) * (abs(kept) * 2048 >> 12)
                + (a << 6)
                + (int(layer.bias[channel]) << 6)
            )
        assert first[f"membrane{key}"] == v
        assert first[f"incoming_sum{key}"] == a
        assert (v > first["threshold"]) == first["found" if key else "expected"]


def test_a_simulator_that_breaks_the_rule_is_named() -> None:
    """An engine that follows the program where the reference does not."""
    program, frames = small_program(), frames_of(small_program())[0]
    layer = program.layers[0]
    right = run(rule_of(layer), synaptic_sums(layer, {"input": frames}), bias_of(layer))[0]
    report = diagnose(Evidence(program, layer, [{"input": frames}], [right]), 2, 5)
    assert report["cause"] == "simulator"


@pytest.mark.parametrize(
    ("fault", "cause"),
    [("delays", "delay"), ("threshold", "threshold"), ("decay", "dt"), ("weights", "weight scale")],
)
def test_faults_of_recurrent_and_delayed_layers_are_named(fault: str, cause: str) -> None:
    program, frames = temporal_program(), frames_of(temporal_program())[:3]
    hidden, readout = program.layers
    changed = {
        "delays": replace(
            hidden, synapses=(replace(hidden.synapses[0], delays=None), hidden.synapses[1])
        ),
        "threshold": replace(hidden, threshold=380),
        "decay": replace(hidden, voltage_decay=2500),
        "weights": replace(
            hidden, synapses=tuple(replace(s, weight=s.weight << 1) for s in hidden.synapses)
        ),
    }[fault]
    ours, theirs = (
        run_plain(replace(program, layers=(layer, readout)), frames)[1]["hidden"]
        for layer in (hidden, changed)
    )
    sources = [{"input": frames[i], "hidden": theirs[i]} for i in range(3)]
    step, neuron = np.argwhere(ours[0] != theirs[0])[0].tolist()
    report = diagnose(Evidence(program, hidden, sources, list(theirs)), step, neuron)
    assert (report["cause"], report["candidates"][0]["unexplained"]) == (cause, 0)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_rule_is_that_of_the_program(data: st.DataObject) -> None:
    """Any layer of any program, from its sources' spikes alone, equals the plain reference."""
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    readout, spikes, _ = run_plain(program, frames)
    for layer in program.layers:
        sources = {"input": frames[0], **{name: s[0] for name, s in spikes.items()}}
        fired, membranes = run(rule_of(layer), synaptic_sums(layer, sources), bias_of(layer))
        if layer.fires:
            np.testing.assert_array_equal(fired, spikes[layer.name][0].reshape(fired.shape))
        elif layer is program.layers[-1]:
            np.testing.assert_array_equal(membranes[-1], readout[0])


def altered_lava(program: Program, change: Callable[[Any], None]) -> Callable[[Path], None]:
    def writer(path: Path) -> None:
        write_lava(program, path)
        with h5py.File(path, "r+") as file:
            change(file)

    return writer


def flip(file: Any) -> None:
    weight = file["layer/1/weight"]
    weight[...] = weight[...][..., ::-1, ::-1]


def other_lava_decay(file: Any) -> None:
    file["layer/1/neuron/vDecay"][...] = 600


def lower_lava_threshold(file: Any) -> None:
    file["layer/2/neuron/vThMant"][...] = 15


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
@pytest.mark.parametrize(
    ("change", "layer", "cause"),
    [
        (flip, "conv1", "kernel flip"),
        (other_lava_decay, "conv1", "dt"),
        (lower_lava_threshold, "conv2", "threshold"),
    ],
)
def test_a_fault_in_the_netx_file_is_named(
    change: Callable[[Any], None], layer: str, cause: str, tmp_path: Path
) -> None:
    engine = diagnosis(
        small_program(),
        "lava",
        bundles.LAVA,
        altered_lava(small_program(), change),
        tmp_path,
        samples=4,
    )
    assert (engine["first_divergence"]["layer"], engine["first_divergence"]["cause"]) == (
        layer,
        cause,
    )
    assert engine["first_divergence"]["candidates"][0]["unexplained"] == 0


@pytest.fixture(scope="module")
def parts() -> Any:
    return example_parts()


def nir_flip(nodes: Any) -> None:
    nodes["conv2_synapse"].weight = nodes["conv2_synapse"].weight[:, :, ::-1, ::-1].copy()


def nir_no_bias(nodes: Any) -> None:
    nodes["conv1_synapse"].bias = np.zeros_like(nodes["conv1_synapse"].bias)


def nir_other_dt(nodes: Any) -> None:
    """Read with half the time step: twice the tau, and r as it is."""
    for name in ("conv1", "conv2"):
        nodes[name].tau, nodes[name].r = 2 * nodes[name].tau, 2 * nodes[name].r


def nir_flattened_otherwise(nodes: Any) -> None:
    weight = nodes["readout"].weight
    nodes["readout"].weight = (
        weight.reshape(4, 3, 3, 8).transpose(0, 3, 1, 2).reshape(weight.shape).copy()
    )


@pytest.mark.parametrize("file", [bundles.ONNX_FLOAT, bundles.NIR])
@pytest.mark.parametrize(
    ("change", "layer", "cause"),
    [
        (nir_flip, "conv2", "kernel flip"),
        (nir_no_bias, "conv1", "bias"),
        (nir_other_dt, "conv1", "dt"),
        (nir_flattened_otherwise, "readout", "axis order"),
    ],
)
def test_a_fault_in_the_float_network_is_told_from_rounding(
    file: str,
    change: Callable[[Any], None],
    layer: str,
    cause: str,
    parts: Any,
    tmp_path: Path,
) -> None:
    """The float network differs from the integers by rounding anyway; a fault by much more."""
    graph, program, report = parts
    faulty = copy.deepcopy(graph)
    change(faulty.nodes)
    bundle = write_example(tmp_path / "b", (faulty, program, report), files=[file])
    frames = example_frames(8)
    labels = np.zeros(8, np.int64)
    found = parity(bundle, ["float"], frames, labels, 100.0)
    first = found["engines"][0]["first_divergence"]
    assert (first["layer"], first["cause"]) == (layer, cause)
    assert found["failures"] == [f"float differs by more than rounding, first in layer {layer}"]
    sound_bundle = write_example(tmp_path / "sound", parts, files=[file])
    sound = parity(sound_bundle, ["float"], frames, labels, 100.0)
    assert sound["passed"]
    assert sound["engines"][0]["first_divergence"] is None
