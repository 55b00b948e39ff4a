"""Tests of reading NIR: nodes, loops, delays, conventions; this project's form of it;
integers as they are.
"""

from typing import Any

import nir
import numpy as np
import pytest
import torch
from example_nir import DT, affine, conv, flatten, frames, full, graph, lif, weights
from numpy.typing import NDArray

from tmkt.export.normalise import normalise
from tmkt.export.quantise.quantise import quantise
from tmkt.nir.conventions import Conventions
from tmkt.nir.float_network import FloatNetwork, FloatOutput
from tmkt.nir.order import order
from tmkt.program.simulator.simulator import Simulator

SHAPE = (2, 6, 6)


def run(network: Any, given: NDArray[np.uint8], **conventions: Any) -> FloatOutput:
    return FloatNetwork(network, Conventions(**conventions)).run(given)


def same_in_our_form(
    network: nir.NIRGraph, given: NDArray[np.uint8]
) -> tuple[nir.NIRGraph, FloatOutput]:
    """Convert a graph to this project's form, which must compute what the file does."""
    ordered = order(network)
    ours, _ = normalise(ordered, None)
    expected, found = FloatNetwork(ordered).run(given), run(ours, given)
    for a, b in zip(expected.spikes.values(), found.spikes.values(), strict=True):
        assert a.any()
        np.testing.assert_array_equal(a, b)
    np.testing.assert_allclose(expected.readout, found.readout, rtol=1e-4, atol=1e-4)
    return ours, found


def as_program(ours: nir.NIRGraph, given: NDArray[np.uint8]) -> Any:
    program, _ = quantise(ours, SHAPE, 1, given)
    return program, Simulator(program, 1).run(given)


@pytest.mark.filterwarnings("ignore:Using padding")
@pytest.mark.parametrize(
    ("size", "dilation"), [((3, 3), (1, 1)), ((4, 2), (1, 1)), ((3, 5), (2, 1)), ((2, 3), (2, 3))]
)
def test_padding_same_is_that_of_torch(size: tuple[int, int], dilation: tuple[int, int]) -> None:
    w = weights(3, 2, *size)
    node = nir.Conv2d(None, w, (1, 1), "same", dilation, 1, full(0.1, 3))
    x = frames((2, 7, 8))
    with torch.no_grad():
        flat = torch.from_numpy(x).float().flatten(0, 1)
        y = torch.nn.functional.conv2d(
            flat, torch.from_numpy(w), full_tensor(0.1, 3), padding="same", dilation=dilation
        )
    expected = y.unflatten(0, x.shape[:2]).sum(1).flatten(1).numpy()
    np.testing.assert_allclose(
        run(graph((2, 7, 8), {"conv": node}), x).readout, expected, atol=1e-4
    )


def full_tensor(value: float, *shape: int) -> torch.Tensor:
    return torch.full(shape, value)


def test_a_sequence_is_a_map_of_one_row() -> None:
    w = weights(3, 2, 3)
    node = nir.Conv1d(None, w, 1, 1, 1, 1, np.zeros(3, np.float32))
    x = frames((2, 1, 9))
    with torch.no_grad():
        y = torch.nn.functional.conv1d(
            torch.from_numpy(x).float().flatten(0, 1)[:, :, 0], torch.from_numpy(w), padding=1
        )
    neurons = nir.LIF(*(full(value, 3, 9) for value in (2 * DT, 1, 0, 1, 0)))
    network = graph(
        (2, 9), {"conv": node, "lif": neurons, "flat": flatten(3, 9), "out": affine(4, 27)}
    )
    assert FloatNetwork(network).graph.input_shape == (2, 1, 9)
    expected = y.unflatten(0, x.shape[:2]).sum(1).flatten(1).numpy()
    np.testing.assert_allclose(run(graph((2, 9), {"conv": node}), x).readout, expected, atol=1e-4)
    ours, _ = same_in_our_form(network, x)
    assert quantise(ours, (2, 1, 9), 1, x)[0].layers[0].shape == (3, 1, 9)


@pytest.mark.parametrize(
    "nodes",
    [
        {
            "conv": conv(4, 2),
            "scale": nir.Scale(full(2, 4, 6, 6)),
            "lif": lif(4, 6, 6),
            "flat": flatten(4, 6, 6),
            "out": affine(3, 144),
        },
        {
            "scale": nir.Scale(np.stack([full(2, 6, 6), full(0.5, 6, 6)])),
            "conv": conv(4, 2),
            "lif": lif(4, 6, 6),
            "out": affine(3, 144),
        },
        {
            "flat": flatten(*SHAPE),
            "scale": nir.Scale(1 + weights(72) ** 2),
            "linear": affine(5, 72),
            "lif": lif(5),
            "out": affine(3, 5),
        },
        {
            "flat": flatten(*SHAPE),
            "linear": affine(5, 72),
            "scale": nir.Scale(1 + weights(5) ** 2),
            "lif": lif(5),
            "out": affine(3, 5),
        },
        {"scale": nir.Scale(full(3, *SHAPE)), "lif": lif(*SHAPE), "out": affine(3, 72)},
        {
            "conv": conv(4, 2, scale=2),
            "lif": lif(4, 6, 6),
            "pool": nir.AvgPool2d(np.array(2), np.array(2), np.array(0)),
            "flat": flatten(4, 3, 3, start=1),
            "out": affine(3, 36),
        },
        {
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "lif": lif(2, 3, 3),
            "out": affine(3, 18),
        },
        {
            "flat": flatten(*SHAPE),
            "linear": affine(5, 72),
            "on": nir.Threshold(full(0.5, 5)),
            "out": affine(3, 5),
        },
        {
            "conv": conv(4, 2, groups=2, scale=2),
            "lif": nir.LIF(*(np.array([v], np.float32) for v in (3e-4, 1.5, 0, 0.8, 0))),
            "out": affine(3, 144),
        },
        {
            "conv": conv(4, 2, scale=2),
            "lif": lif(4, 6, 6, r=2.5, threshold=1.1),
            "out": affine(3, 144),
        },
    ],
    ids=[
        "scale",
        "scale-input",
        "scale-flat",
        "scale-dense",
        "scale-only",
        "pool-scalar",
        "pool-first",
        "threshold",
        "scalars",
        "gain",
    ],
)
def test_nodes_become_weights_and_neurons_that_compute_the_same(nodes: dict[str, Any]) -> None:
    x = frames(SHAPE)
    ours, out = same_in_our_form(graph(SHAPE, nodes), x)
    kinds = {type(node).__name__ for node in ours.nodes.values()}
    assert kinds <= {"Input", "Output", "Conv2d", "Affine", "LIF", "SumPool2d", "Flatten"}
    program, integers = as_program(ours, x)
    layer = program.layers[0]
    found = next(iter(out.spikes.values()))
    wanted = found[:, :, :, : layer.shape[1], : layer.shape[2]] if len(layer.shape) == 3 else found
    assert (integers.spikes[layer.name] != wanted).mean() < 0.03


def test_neurons_that_differ_within_a_layer_share_a_threshold_and_weights_differ() -> None:
    values = np.linspace(0.5, 2, 5).astype(np.float32)
    neurons = nir.LIF(full(2 * DT, 5), values[::-1].copy(), full(0, 5), values, full(0, 5))
    ours, _ = same_in_our_form(
        graph(
            SHAPE,
            {"flat": flatten(*SHAPE), "linear": affine(5, 72), "lif": neurons, "out": affine(3, 5)},
        ),
        frames(SHAPE),
    )
    assert (ours.nodes["lif"].v_threshold == 1).all()


def test_a_membrane_that_rests_elsewhere_is_shifted() -> None:
    x = frames(SHAPE)
    nodes = {
        "flat": flatten(*SHAPE),
        "linear": affine(5, 72),
        "lif": lif(5, leak=-0.5, reset=-0.5, threshold=0.6),
        "out": affine(3, 5),
    }
    ours, notes = normalise(order(graph(SHAPE, nodes)), None)
    assert ours.nodes["lif"].v_threshold[0] == pytest.approx(1.1)
    assert notes["lif"] == ["membrane shifted by 0.5: starts, rests and resets at 0"]
    v, expected = np.full((3, 5), -0.5), []
    for t in range(x.shape[1]):  # NIR's equation, by hand, from rest
        i = x[:, t].reshape(3, -1) @ nodes["linear"].weight.T.astype(float) + nodes["linear"].bias
        v += 0.5 * ((-0.5 - v) + i)
        expected.append(v > 0.6)
        v[v > 0.6] = -0.5
    np.testing.assert_array_equal(run(ours, x).spikes["lif"], np.stack(expected, 1))


def test_a_current_and_leaking_integrators_follow_their_equations() -> None:
    x = frames(SHAPE)
    w = affine(5, 72)
    settings = {
        "tau_syn": full(2 * DT, 5),
        "tau_mem": full(4 * DT, 5),
        "r": full(3, 5),
        "v_leak": full(0, 5),
        "w_in": full(1.5, 5),
    }
    for node, kind in (
        (nir.CubaLI(**settings), "integrator"),
        (nir.LI(full(4 * DT, 5), full(3, 5), full(0, 5)), "no current"),
    ):
        current = v = np.zeros((3, 5))
        for t in range(x.shape[1]):
            i = x[:, t].reshape(3, -1) @ w.weight.T.astype(float) + w.bias
            current = current + 0.5 * (1.5 * i - current) if kind == "integrator" else i
            v = v + 0.25 * (3 * current - v)
        ours, found = same_in_our_form_readout(
            graph(SHAPE, {"flat": flatten(*SHAPE), "linear": w, "end": node}), x
        )
        np.testing.assert_allclose(found, v, rtol=1e-4)
        program, integers = as_program(ours, x)
        last = program.layers[-1]
        assert (last.fires, last.voltage_decay, last.current_decay) == (
            False,
            1024,
            2048 if kind == "integrator" else 4096,
        )
        assert last.scale is not None
        bias_error = (
            0.5 if kind == "integrator" else 0.15
        )  # a bias enters the membrane at once, not through the current
        np.testing.assert_allclose(integers.readout / (64 * last.scale), v, atol=bias_error)


def same_in_our_form_readout(
    network: nir.NIRGraph, given: NDArray[np.uint8]
) -> tuple[nir.NIRGraph, NDArray[np.float32]]:
    ours, _ = normalise(order(network), None)
    return ours, run(ours, given).readout


def test_branches_add_and_loops_bring_the_spikes_of_the_step_before() -> None:
    x = frames(SHAPE)
    first, other, back = affine(5, 72), affine(5, 72, seed=7), affine(5, 5, seed=3, scale=1)
    nodes = {
        "flat": flatten(*SHAPE),
        "a": first,
        "b": other,
        "lif": lif(5),
        "back": back,
        "out": affine(3, 5),
    }
    edges = [
        ("input", "flat"),
        ("flat", "a"),
        ("flat", "b"),
        ("a", "lif"),
        ("b", "lif"),
        ("lif", "back"),
        ("back", "lif"),
        ("lif", "out"),
    ]
    network = graph(SHAPE, nodes, [*edges, ("out", "output")])
    v, s, expected = np.zeros((3, 5)), np.zeros((3, 5)), []
    for t in range(x.shape[1]):
        flat = x[:, t].reshape(3, -1).astype(float)
        i = (
            flat @ first.weight.T
            + first.bias
            + flat @ other.weight.T
            + other.bias
            + s @ back.weight.T
            + back.bias
        )
        v = v + 0.5 * (i - v)
        s = (v > 1).astype(float)
        expected.append(s)
        v[v > 1] = 0
    ours, found = same_in_our_form(network, x)
    np.testing.assert_array_equal(found.spikes["lif"], np.stack(expected, 1))
    program, integers = as_program(ours, x)
    assert sorted(synapse.source for synapse in program.layers[0].synapses) == [
        "input",
        "input",
        "lif",
    ]
    assert (integers.spikes["lif"] != found.spikes["lif"]).mean() < 0.05


def test_a_graph_within_the_graph_is_opened() -> None:
    back = affine(5, 5, seed=3)
    inner = nir.NIRGraph(
        {
            "input": nir.Input({"input": np.array([5])}),
            "lif": lif(5),
            "back": back,
            "output": nir.Output({"output": np.array([5])}),
        },
        [("input", "lif"), ("lif", "back"), ("back", "lif"), ("lif", "output")],
        type_check=False,
    )
    x = frames(SHAPE)
    nested = graph(
        SHAPE, {"flat": flatten(*SHAPE), "a": affine(5, 72), "rnn": inner, "out": affine(3, 5)}
    )
    nodes = {
        "flat": flatten(*SHAPE),
        "a": affine(5, 72),
        "lif": lif(5),
        "back": back,
        "out": affine(3, 5),
    }
    edges = [
        ("input", "flat"),
        ("flat", "a"),
        ("a", "lif"),
        ("lif", "back"),
        ("back", "lif"),
        ("lif", "out"),
        ("out", "output"),
    ]
    np.testing.assert_array_equal(
        run(nested, x).spikes["rnn.lif"], run(graph(SHAPE, nodes, edges), x).spikes["lif"]
    )


@pytest.mark.parametrize("place", ["before", "after"])
def test_delays_are_kept_to_the_step(place: str) -> None:
    steps = np.arange(72 if place == "before" else 5) % 4
    delay = {"delay": nir.Delay(steps * DT)}
    linear = {"linear": nir.Linear(weights(5, 72, scale=0.5))}
    both = {**delay, **linear} if place == "before" else {**linear, **delay}
    x = frames(SHAPE)
    late = np.zeros((*x.shape[:2], 72)) if place == "before" else np.zeros((*x.shape[:2], 5))
    values = (
        x.reshape(*x.shape[:2], -1)
        if place == "before"
        else x.reshape(*x.shape[:2], -1) @ linear["linear"].weight.T.astype(float)
    )
    for element, wait in enumerate(steps):
        late[:, wait:, element] = values[:, : x.shape[1] - wait, element]
    expected = late @ linear["linear"].weight.T.astype(float) if place == "before" else late
    network = graph(SHAPE, {"flat": flatten(*SHAPE), **both})
    np.testing.assert_allclose(run(network, x).readout, expected.sum(1), atol=1e-4)
    ours, found = same_in_our_form(
        graph(SHAPE, {"flat": flatten(*SHAPE), **both, "lif": lif(5), "out": affine(3, 5)}), x
    )
    program, integers = as_program(ours, x)
    assert program.layers[0].synapses[0].delays is not None
    assert set(np.unique(program.layers[0].synapses[0].delays)) == {0, 1, 2, 3}
    assert (integers.spikes["lif"] != found.spikes["lif"]).mean() < 0.03
