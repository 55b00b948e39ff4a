"""Tests of the quantiser by layer: its statistics, its rounding, its scale, and what it
reports.
"""

from dataclasses import replace

import numpy as np
import pytest
from example_networks import make_frames, make_network
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt.errors import InputError
from tmkt.export.quantise import calibration
from tmkt.export.quantise.calibration import (
    InputStatistics,
    input_statistics,
    mean_inputs,
    run_layer,
    source_of,
)
from tmkt.export.quantise.quantise import quantise
from tmkt.export.quantise.report import describe_answers, describe_spikes
from tmkt.export.quantise.rounding import WeightRounder, choose_grid
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import Layer, Synapse, conv_shape
from tmkt.program.weight_grid import WeightGrid, bits_of

SHAPE = (2, 34, 34)
PLAIN = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@PLAIN
@given(st.data())
def test_layers_run_on_calibration_recordings_as_the_program_says(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    readout, expected, _ = run_plain(program, frames)
    spikes: dict[str, np.ndarray] = {}
    for layer in program.layers:
        run = run_layer(layer, source_of(frames, spikes), *frames.shape[:2])
        silent = np.zeros((*frames.shape[:2], *layer.shape), np.uint8)  # as no export has them
        spikes[layer.name] = run.spikes if layer.fires else silent
        if layer.fires:
            np.testing.assert_array_equal(run.spikes, expected[layer.name])
    if program.readout == "membrane":
        np.testing.assert_array_equal(run.membrane, readout)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"stride": (2, 1), "padding": (1, 2)},
        {"dilation": (2, 1)},
        {"groups": 2},
        {"pool": 2},
        {"groups": 4, "pool": 3, "padding": (1, 1)},
    ],
)
def test_statistics_are_those_of_the_synaptic_sums(
    fields: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = make_frames(3, 2, (4, 13, 14), 3, seed=2)
    rng = np.random.default_rng(0)
    groups = fields.get("groups", 1)
    weight = rng.integers(-20, 20, (8, 4 // groups, 3, 2)).astype(np.int16)
    synapse = replace(Synapse("input", "conv", weight), **fields)
    shape = conv_shape(synapse, (4, 13, 14))
    layer = Layer("a", shape, (synapse,), np.zeros(8, np.int32), 0, 0, fires=False)
    flat = frames.reshape(6, 1, 4, 13, 14)  # a step each: the membrane is the sum
    sums = run_layer(layer, source_of(flat, {}), 6, 1).membrane.reshape(6, 8, -1) / 64
    groups_found = input_statistics([synapse], weight.shape, shape, source_of(frames, {}))
    assert len(groups_found) == groups
    for g, found in enumerate(groups_found):
        rows = weight[g * 8 // groups : (g + 1) * 8 // groups].reshape(8 // groups, -1)
        here = sums[:, g * 8 // groups : (g + 1) * 8 // groups]
        np.testing.assert_allclose(rows @ found.mean, here.mean((0, 2)), rtol=1e-5, atol=1e-5)
        [second] = found.second
        np.testing.assert_allclose(
            np.diag(rows @ second @ rows.T), (here**2).mean((0, 2)), rtol=1e-4
        )
    monkeypatch.setattr(calibration, "BLOCK", 5)
    for found, parted in zip(
        groups_found,
        input_statistics([synapse], weight.shape, shape, source_of(frames, {})),
        strict=True,
    ):
        np.testing.assert_allclose(parted.second[0], found.second[0][:5, :5])
        assert sum(len(block) for block in parted.second) == len(found.mean)


def test_statistics_of_branches_are_those_of_their_sum() -> None:
    both = make_frames(3, 4, (2, 6, 6), seed=1), make_frames(3, 4, (2, 6, 6), seed=2)
    synapses = [
        Synapse(name, "conv", np.zeros(0, np.int16), padding=(1, 1)) for name in ("one", "two")
    ]
    kernels, shape = (4, 2, 3, 3), (4, 6, 6)
    [found] = mean_inputs(synapses, kernels, shape, {"one": both[0], "two": both[1]}.__getitem__)
    [expected] = mean_inputs(synapses[:1], kernels, shape, {"one": both[0] + both[1]}.__getitem__)
    np.testing.assert_allclose(found, expected)


def correlated_inputs(inputs: int, seed: int) -> InputStatistics:
    rng = np.random.default_rng(seed)
    shared = (rng.random((400, inputs // 4)) < 0.2).astype(float) @ (
        rng.random((inputs // 4, inputs)) < 0.2
    )
    rows = shared + (rng.random((400, inputs)) < 0.05)
    return InputStatistics(rows.mean(0), [rows.T @ rows / 400])


@PLAIN
@given(st.integers(2, 8), st.integers(1, 80), st.integers(0, 2**31))
def test_rounding_keeps_to_the_grid(bits: int, inputs: int, seed: int) -> None:
    weight = np.random.default_rng(seed).normal(0, 0.1, (12, inputs))
    on = WeightGrid(bits, 2 ** (9 - bits), 1000)
    for statistics in ([correlated_inputs(inputs, seed)], None):
        found = WeightRounder(weight, statistics).integers(on)
        assert not np.any(found % on.step)
        assert np.abs(found).max() <= on.limit


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8])
def test_rounded_weights_make_up_for_each_others_errors(bits: int) -> None:
    weight = np.random.default_rng(bits).normal(0, 0.1, (12, 70))
    statistics = correlated_inputs(70, bits)
    on = WeightGrid(bits, 2 ** (9 - bits), 1)
    on = replace(on, scale=int(on.limit / np.abs(weight).max()))
    errors = []
    for given_statistics in ([statistics], None):
        difference = WeightRounder(weight, given_statistics).integers(on) / on.scale - weight
        errors.append(np.einsum("ok,kl,ol->", difference, statistics.second[0], difference))
    assert errors[0] < 0.6 * errors[1]


def test_weights_on_the_grid_stay_as_they_are() -> None:
    weight = np.random.default_rng(0).integers(-7, 8, (6, 40)) / 7
    rounding = WeightRounder(weight, [correlated_inputs(40, 1)])
    np.testing.assert_array_equal(
        rounding.integers(WeightGrid(4, 32, 224)), np.rint(weight * 7) * 32
    )
    assert rounding.error(WeightGrid(4, 32, 224)) < 1e-20


def test_a_few_large_weights_are_clipped_where_bits_are_few_and_none_where_they_are_many() -> None:
    weight = np.random.default_rng(0).normal(0, 0.1, (16, 60))
    weight[0, 0] = 1.0
    rounding = WeightRounder(weight, [correlated_inputs(60, 2)])
    few, many = (choose_grid([rounding], bits, 1e9) for bits in (3, 8))
    assert few is not None
    assert few.scale > 1.5 * few.limit
    assert many == WeightGrid(8, 2, 254)


def test_where_little_scale_is_left_the_grid_is_finer() -> None:
    weight = np.random.default_rng(0).uniform(-1, 1, (8, 30))
    weight[0, 0] = 1.0
    for most, step in ((1e6, 128), (100.5, 64), (20, 16), (1.5, 2)):
        found = choose_grid([WeightRounder(weight, None)], 2, most)
        assert found is not None
        assert found.step == step
        assert 1 <= found.scale <= most
    assert choose_grid([WeightRounder(weight, None)], 2, 0.5) is None


@pytest.mark.parametrize("bits", [4, 3])
def test_calibration_brings_the_logits_nearer_to_the_float_networks(bits: int) -> None:
    graph, frames = network_to_nir(make_network()), make_frames(24, 6, SHAPE)
    chosen = quantise(graph, SHAPE, 1, frames, bits)[1]
    grids = {entry["layer"]: WeightGrid(bits, entry["step"], entry["scale"]) for entry in chosen}
    nearest = quantise(graph, SHAPE, 1, frames, bits, grids)[1]
    assert chosen[-1]["logit_error"] < 0.6 * nearest[-1]["logit_error"]


def test_given_grids_are_used_as_they_are_and_weights_go_to_their_nearest_level() -> None:
    graph = network_to_nir(make_network())
    grids = {
        "conv1": WeightGrid(3, 64, 200),
        "conv2": WeightGrid(3, 64, 300),
        "conv3": WeightGrid(3, 32, 1500),
        "readout": WeightGrid(3, 16, 5000),
    }
    program, report = quantise(graph, SHAPE, 1, make_frames(2, 4, SHAPE), "3", grids)
    assert (
        [entry["scale"] for entry in report]
        == [layer.scale for layer in program.layers]
        == [200, 300, 1500, 5000]
    )
    weight = np.asarray(graph.nodes["readout"].weight, np.float64) * 5000
    np.testing.assert_array_equal(
        program.layers[-1].synapses[0].weight, np.clip(16 * np.rint(weight / 16), -48, 48)
    )


def test_every_layer_may_have_its_own_bits_and_says_what_became_of_it() -> None:
    frames = make_frames(8, 6, SHAPE)
    labels = np.arange(8) % 10
    program, report = quantise(
        network_to_nir(make_network()), SHAPE, 1, frames, "4,conv2=2,readout=8", labels=labels
    )
    assert [entry["bits"] for entry in report] == [4, 2, 4, 8]
    readout, spikes, _ = run_plain(program, frames)
    for layer, entry in zip(program.layers, report, strict=True):
        assert not np.any(layer.synapses[0].weight % entry["step"])
        assert 0 < entry["grid_used"] <= 1
        if layer.fires:
            assert entry["spike_rate"] == spikes[layer.name].mean()
            assert entry["silent_neurons"] == (~spikes[layer.name].any((0, 1))).mean()
            assert entry["spike_rate_change"] == pytest.approx(
                entry["spike_rate"] / entry["spike_rate_float"] - 1
            )
    assert report[1]["grid_used"] == 1.0
    assert report[1]["clipped_weights"] > 0.01
    assert report[-1]["accuracy"] == (readout.argmax(1) == labels).mean()
    assert report[-1]["calibration_recordings"] == 8


def test_layers_that_die_or_never_rest_are_warned_of() -> None:
    rng = np.random.default_rng(0)
    some = (rng.random((4, 10, 3, 8, 8)) < 0.2).astype(np.uint8)
    few, all_of_them = (rng.random(some.shape) < 0.01).astype(np.uint8), np.ones_like(some)
    assert describe_spikes(some, some)["warning"] is None
    assert "dead" in describe_spikes(some, 0 * some)["warning"]
    assert "dying" in describe_spikes(some, few)["warning"]
    assert "saturated" in describe_spikes(some, all_of_them)["warning"]
    assert describe_spikes(some, all_of_them)["saturated_neurons"] == 1
    assert describe_spikes(0 * some, 0 * some)["spike_rate_change"] is None
    assert describe_spikes(all_of_them, all_of_them[..., :6, :6])["spike_rate_change"] == 0, (
        "a map is cropped where nothing reads its end"
    )


def test_answers_are_compared_with_the_float_networks() -> None:
    expected = np.array([[1.0, 0.0], [0.0, 2.0]])
    found = describe_answers(expected, np.array([[1.0, 1.5], [0.0, 2.0]]), np.array([0, 1]))
    assert (found["same_class"], found["accuracy"], found["accuracy_float"]) == (0.5, 0.5, 1.0)
    assert found["logit_error"] == pytest.approx(1.5 / np.sqrt(5))
    assert describe_answers(expected, expected, None)["accuracy"] is None


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("4", [4, 4, 4]),
        (8, [8, 8, 8]),
        ("8,4, 2", [8, 4, 2]),
        ("b=3", [8, 3, 8]),
        ("4,c=8", [4, 4, 8]),
        ("5,4,3,a=2", [2, 4, 3]),
    ],
)
def test_bits_are_given_for_all_layers_each_or_by_name(text: str | int, bits: list[int]) -> None:
    assert bits_of(text, ["a", "b", "c"]) == bits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bits: nothing, expected 2..8"),
        ("1", "bits: 1, expected"),
        ("4,4", "2 numbers in '4,4', expected one"),
        ("d=4", "no layer 'd', there are a, b, c"),
    ],
)
def test_bits_that_no_layer_can_have_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        bits_of(text, ["a", "b", "c"])
