"""Parity with the float network: the quantiser's own changes are no fault, and faults are named."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from example_nir import affine, flatten, graph, lif
from float_faults import FAULTS, flip
from planted_faults import small_program, temporal_program
from trained_networks import SHAPE, Parts, Trained, digits, rate_of, train, write_bundle

from tmkt.bundle import Bundle
from tmkt.cli.tables.parity import print_parity
from tmkt.deploy.parity.report import parity
from tmkt.deploy.parity.rounding import Rounding, allowance, rounding_of
from tmkt.deploy.parity.rules import bias_of, float_rule_of, run, synaptic_sums
from tmkt.deploy.parity.verdict import verdicts
from tmkt.errors import InputError
from tmkt.export.quantise.quantise import quantise
from tmkt.program.model import Layer, Synapse

SETTINGS = {
    "leak": Trained(seed=1, width=3, tau=2.0),
    "long memory": Trained(seed=3, width=4, tau=20.0),
    "hardly a leak": Trained(seed=4, width=4, tau=1000.0, biased=False),
    "no leak": Trained(seed=2, width=4, tau=None, biased=False),
    "no leak, wide": Trained(seed=6, width=6, tau=None, biased=False),
}


@pytest.fixture(scope="module")
def networks() -> dict[str, nir.NIRGraph]:
    return {name: train(setting) for name, setting in SETTINGS.items()}


def quantised(network: nir.NIRGraph, name: str, steps: int, bits: int) -> Parts:
    frames, _ = digits(12, steps, 7, rate_of(SETTINGS[name], steps))
    return network, *quantise(network, SHAPE, 1, frames, bits)


def of_float(bundle: Bundle, name: str, steps: int, samples: int = 3) -> dict[str, Any]:
    frames, labels = digits(samples, steps, 99, rate_of(SETTINGS[name], steps))
    return parity(bundle, ["float"], frames, labels, 100.0)


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("steps", [10, 300])
@pytest.mark.parametrize("name", SETTINGS)
def test_a_sound_network_is_never_called_faulty(
    name: str, steps: int, bits: int, networks: Any, tmp_path: Path
) -> None:
    parts = quantised(networks[name], name, steps, bits)
    report = of_float(write_bundle(tmp_path / "b", parts, steps), name, steps)
    assert report["passed"], report["failures"]
    assert all(layer["spikes"] for layer in report["engines"][0]["layers"][:2])


@pytest.mark.parametrize(
    ("fault", "name", "steps", "bits"),
    [
        *((fault, "no leak", 300, 4) for fault in ("flip", "polarity", "halve", "flatten")),
        *((fault, "leak", 300, 8) for fault in FAULTS),
        ("dt", "leak", 300, 4),
        ("bias", "leak", 300, 4),
        ("flip", "leak", 10, 4),
    ],
)
def test_a_fault_is_named_in_long_recordings_and_with_few_bits(
    fault: str, name: str, steps: int, bits: int, networks: Any, tmp_path: Path
) -> None:
    plant, layer, cause = FAULTS[fault]
    network, program, quantisation = quantised(networks[name], name, steps, bits)
    faulty = copy.deepcopy(network)
    plant(faulty.nodes)
    bundle = write_bundle(tmp_path / "b", (faulty, program, quantisation), steps)
    report = of_float(bundle, name, steps)
    first = report["engines"][0]["first_divergence"]
    assert (first["layer"], first["cause"]) == (layer, cause)
    assert first["candidates"][0]["unexplained"] == 0
    assert report["failures"] == [f"float differs by more than rounding, first in layer {layer}"]


def corrected(parts: Parts, by: int, told: bool, why: str = "bias_correction") -> Parts:
    """Add to the second layer's bias, as a correction that the manifest tells or as a fault."""
    network, program, report = parts
    layers, entry = list(program.layers), dict(report[1])
    layers[1] = replace(layers[1], bias=layers[1].bias + np.int32(by))
    if told:
        entry[why] = [value + by for value in entry[why]]
    return network, replace(program, layers=tuple(layers)), [report[0], entry, *report[2:]]


@pytest.mark.parametrize("why", ["bias_correction", "bias_for_weights"])
def test_the_quantisers_own_bias_is_no_fault_however_long_it_adds_up(
    networks: Any, tmp_path: Path, why: str
) -> None:
    """Without a leak, a few units a step are several thresholds in 300 steps."""
    parts = quantised(networks["no leak"], "no leak", 300, 8)
    known = write_bundle(tmp_path / "told", corrected(parts, 12, told=True, why=why), 300)
    report = of_float(known, "no leak", 300)
    engine = report["engines"][0]
    assert engine["rate_change"]["conv2"] > 0.2
    assert report["passed"], report["failures"]
    fault = write_bundle(tmp_path / "untold", corrected(parts, 12, told=False), 300)
    first = of_float(fault, "no leak", 300)["engines"][0]["first_divergence"]
    assert (first["layer"], first["cause"]) == ("conv2", "bias")


def test_a_manifest_without_corrections_never_blames_the_bias(
    networks: Any, tmp_path: Path
) -> None:
    """Bundles of version 0.1: all of a bias may be the quantiser's; other faults are found."""
    network, program, report = corrected(
        quantised(networks["no leak"], "no leak", 300, 8), 6, told=False
    )
    for entry in report:
        entry.pop("bias_correction")
    bundle = write_bundle(tmp_path / "old", (network, program, report), 300)
    sound = of_float(bundle, "no leak", 300)
    assert sound["passed"]
    [line] = [line for line in sound["warnings"] if line.startswith("note: ")]
    assert "does not say how the bias was corrected" in line
    faulty = copy.deepcopy(network)
    flip(faulty.nodes)
    bundle = write_bundle(tmp_path / "flipped", (faulty, program, report), 300)
    assert of_float(bundle, "no leak", 300)["failures"]


def test_an_exact_tie_is_no_evidence(tmp_path: Path) -> None:
    """Every second membrane is the threshold itself. The float network fires there, the integers
    two steps later, and a slightly smaller voltage decay would explain all of it.
    """
    nodes = {
        "hidden_synapse": nir.Conv2d(
            (4, 4),
            np.array([[[[1.0]], [[1.5]]]], np.float32),
            (1, 1),
            (0, 0),
            (1, 1),
            1,
            np.zeros(1, np.float32),
        ),
        "hidden": lif(1, 4, 4),
        "flatten": flatten(1, 4, 4),
        "readout": affine(3, 16),
    }
    network = graph((2, 4, 4), nodes, metadata={"dt": 1e-4, "threshold_rule": ">="})
    frames = np.zeros((4, 12, 2, 4, 4), np.uint8)
    frames[:, 0::2, 0] = frames[:, 1::2, 1] = 1
    program, report = quantise(network, (2, 4, 4), 1, frames)
    weight = np.array([[[[168]], [[254]]]], np.int16)
    tie = Layer(
        "hidden",
        (1, 4, 4),
        (Synapse("input", "conv", weight),),
        np.zeros(1, np.int32),
        338,
        2048,
        scale=338,
    )
    program = replace(program, layers=(tie, program.layers[1]))
    report[0]["bias_correction"] = [0.0]
    bundle = write_bundle(tmp_path / "b", (network, program, report), 12)
    found = parity(bundle, ["float"], frames, np.zeros(4, np.int64), 100.0)
    assert found["engines"][0]["spike_mismatches"] == 4 * 3 * 16
    assert found["passed"], found["failures"]


@pytest.mark.parametrize("which", ["conv1", "conv2", "hidden"])
def test_rounding_moves_no_membrane_farther_than_is_allowed(which: str) -> None:
    """Weights with errors of known size, and neurons that both sides reset alike."""
    rng = np.random.default_rng(0)
    program = temporal_program() if which == "hidden" else small_program()
    layer = next(layer for layer in program.layers if layer.name == which)
    rule, bias = float_rule_of(layer), bias_of(layer).astype(np.float64)
    ratios = []
    for _ in range(10):
        sources = {
            name: (rng.random((40, *program.shape_of(name))) < 0.3).astype(np.uint8)
            for name in {"input", *(synapse.source for synapse in layer.synapses)}
        }
        sums = synaptic_sums(layer, sources)
        spikes, right = run(rule, sums, bias)
        allowed = allowance(rule, layer, Rounding(bias, 0 * bias, 2.0), sources, sums, spikes)
        synapses = tuple(
            replace(s, weight=s.weight + rng.choice((-2, 2), s.weight.shape).astype(np.int16))
            for s in layer.synapses
        )
        moved = synaptic_sums(replace(layer, synapses=synapses), sources)
        ratios.append(np.abs(run(rule, moved, bias, spikes)[1] - right) / allowed)
    assert (np.stack(ratios) > 1).mean() < 0.003  # three standard deviations
    assert (np.stack(ratios) > 1 / 6).mean() > 0.3  # not much more than needed


@pytest.mark.parametrize(
    "change",
    [
        {"bias_correction": [1.0]},
        {"bias_correction": "none"},
        {"bias_correction": [float("nan")] * 4},
        {"weight_error_rms": "x"},
        {"weight_error_rms": -1.0},
    ],
)
def test_a_manifest_of_the_wrong_kind_is_refused(change: dict[str, Any]) -> None:
    layer = small_program().layers[0]
    entry = {"bits": 8, "weight_error_rms": 0.01, "bias_correction": [0.0] * 4}
    rounding_of(layer, entry)
    with pytest.raises(InputError, match=r"quantisation of layer 'conv1'.*export again"):
        rounding_of(layer, {**entry, **change})


def test_integers_that_agree_are_not_blamed_for_the_float_network(
    networks: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    network, program, quantisation = quantised(networks["leak"], "leak", 10, 8)
    faulty = copy.deepcopy(network)
    flip(faulty.nodes)
    bundle = write_bundle(tmp_path / "b", (faulty, program, quantisation), 10)
    frames, labels = digits(6, 10, 99)
    report = parity(bundle, ["simulator", "onnx", "float"], frames, labels, 100.0)
    integers, floats = verdicts([report])
    assert (integers.engines, integers.failures) == (["simulator", "onnx"], [])
    assert (floats.engines, floats.failures) == (["float"], report["failures"])
    print_parity(report)
    shown = " ".join(capsys.readouterr().out.split())
    assert "integer engines agree; float network FAILED: float differs by more" in shown


def test_integers_that_differ_are_blamed_alone(networks: Any, tmp_path: Path) -> None:
    parts = quantised(networks["leak"], "leak", 10, 8)
    first = parts[1].layers[0]
    other = replace(parts[1], layers=(replace(first, threshold=90), *parts[1].layers[1:]))
    bundle = write_bundle(tmp_path / "b", parts, 10, onnx=other)
    frames, labels = digits(6, 10, 99)
    report = parity(bundle, ["onnx", "float"], frames, labels, 100.0)
    integers, floats = verdicts([report])
    assert integers.failures == report["failures"]
    assert (len(integers.failures), floats.failures) == (1, [])
