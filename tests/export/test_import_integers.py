"""Tests of integers that go to NIR and come back as they are."""

from typing import Any

import nir
import numpy as np
import pytest
from example_networks import make_frames, make_network
from example_nir import DT, affine, flatten, graph, lif, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.export.quantise.given_integers import take_integers
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.program_nir import program_to_nir
from tmkt.nir.conventions import Conventions
from tmkt.nir.float_network import FloatNetwork, FloatOutput
from tmkt.nir.from_network import network_to_nir
from tmkt.program.simulator.simulator import Simulator

SHAPE = (2, 6, 6)


def run(network: Any, given: NDArray[np.uint8], **conventions: Any) -> FloatOutput:
    return FloatNetwork(network, Conventions(**conventions)).run(given)


@pytest.mark.parametrize("tau", [2.0, 3.0])
def test_a_program_as_nir_gives_its_integers_back_whatever_the_rule_at_ties(tau: float) -> None:
    shape = (2, 13, 11)
    x = make_frames(4, 8, shape)
    program, _ = quantise(
        network_to_nir(make_network(shape, (6, 8), (1, 1), (2, 2), tau=tau, classes=4)), shape, 1, x
    )
    network = program_to_nir(program)
    strict, loose = run(network, x, fires_at=">"), run(network, x, fires_at=">=")
    exact = Simulator(program, 1).run(x)
    for layer in program.layers[:-1]:
        np.testing.assert_array_equal(strict.spikes[layer.name], loose.spikes[layer.name])
        whole = strict.spikes[layer.name][..., : layer.shape[1], : layer.shape[2]]
        assert (whole != exact.spikes[layer.name]).mean() < (
            1e-9 if tau == 2 else 0.02
        )  # a third is no float, and is truncated
    again, report = take_integers(network, 1)
    assert [entry["layer"] for entry in report] == [layer.name for layer in program.layers]
    for before, after in zip(program.layers, again.layers, strict=True):
        assert (before.threshold, before.voltage_decay, before.shape) == (
            after.threshold,
            after.voltage_decay,
            after.shape,
        )
        np.testing.assert_array_equal(before.bias, after.bias)
        np.testing.assert_array_equal(before.synapses[0].weight, after.synapses[0].weight)


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 2**31),
    st.sampled_from([0, 1, 2048, 3000, 4096]),
    st.sampled_from([700, 4096]),
    st.booleans(),
)
def test_integers_come_back_as_they_went(
    seed: int, decay: int, current: int, recurrent: bool
) -> None:
    from tmkt.program.model import Layer, Program, Synapse

    rng = np.random.default_rng(seed)

    def dense(source: str, outputs: int, inputs: int) -> Synapse:
        return Synapse(source, "dense", rng.integers(-127, 128, (outputs, inputs)).astype(np.int16))

    bias = (
        rng.integers(-4096, 4096, 5).astype(np.int32) if current == 4096 else np.zeros(5, np.int32)
    )
    synapses = (dense("input", 5, 8), *([dense("a", 5, 5)] if recurrent else []))
    first = Layer(
        "a",
        (5,),
        synapses,
        bias,
        int(rng.integers(0, 2**17)),
        decay or (0 if current == 4096 else 1),
        current,
    )
    last = Layer("b", (3,), (dense("a", 3, 5),), np.zeros(3, np.int32), 2**17 - 1, 0, fires=False)
    program = Program((2, 2, 2), 1, (first, last), "membrane")
    again, _ = take_integers(program_to_nir(program), 1)
    for before, after in zip(program.layers, again.layers, strict=True):
        found = [
            (layer.threshold, layer.voltage_decay, layer.current_decay, layer.fires)
            for layer in (before, after)
        ]
        assert found[0] == found[1]
        np.testing.assert_array_equal(before.bias, after.bias)
        weights_of = [
            {s.source: s.weight.tolist() for s in layer.synapses} for layer in (before, after)
        ]
        assert weights_of[0] == weights_of[1]


def test_numbers_that_are_no_integers_are_refused_as_such() -> None:
    nodes = {
        "flat": flatten(*SHAPE),
        "linear": nir.Linear(np.round(weights(5, 72, scale=20))),
        "lif": lif(5, threshold=100.0),
        "out": affine(3, 5),
    }
    with pytest.raises(
        InputError, match=r"node 'lif': a weight of .*\.5, expected whole numbers; quantise it here"
    ):
        take_integers(graph(SHAPE, nodes), 1)
    nodes |= {
        "lif": lif(5, r=2.0, threshold=100.0),
        "out": nir.Linear(np.round(weights(3, 5, scale=20))),
    }
    assert take_integers(graph(SHAPE, nodes), 1)[0].layers[0].threshold == 100
    with pytest.raises(
        InputError,
        match=(
            "node 'lif': threshold 100 with v >= threshold, expected one that a whole number"
            " stands for"
        ),
    ):
        take_integers(graph(SHAPE, nodes, metadata={"dt": DT, "threshold_rule": ">="}), 1)
