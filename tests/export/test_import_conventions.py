"""Tests of NIR's open conventions: they are asked for or stated; what cannot be lowered is refused
by name.
"""

from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
from example_nir import DT, affine, flatten, frames, full, graph, lif, weights
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.export.normalise import normalise
from tmkt.nir.conventions import Conventions
from tmkt.nir.float_network import FloatNetwork, FloatOutput
from tmkt.nir.order import order

SHAPE = (2, 6, 6)


def run(network: Any, given: NDArray[np.uint8], **conventions: Any) -> FloatOutput:
    return FloatNetwork(network, Conventions(**conventions)).run(given)


def test_a_flat_input_takes_events_when_their_sensor_is_given() -> None:
    network = graph((1, 72), {"linear": affine(5, 72), "lif": lif(5), "out": affine(3, 5)})
    with pytest.raises(InputError, match=r"flat input of 72.*--sensor"):
        normalise(order(network), None)
    with pytest.raises(InputError, match="flat input of 72, expected 2 x 5 x 6"):
        normalise(order(network), (5, 6))
    x = frames(SHAPE)
    ours, _ = normalise(order(network), (6, 6))
    expected = run(network, x.reshape(*x.shape[:2], -1))
    np.testing.assert_array_equal(run(ours, x).spikes["lif"], expected.spikes["lif"])


CHAIN = {"flat": flatten(*SHAPE), "linear": affine(5, 72), "lif": lif(5), "out": affine(3, 5)}


def test_the_time_step_is_asked_for_unless_options_metadata_or_gains_say_it() -> None:
    with pytest.raises(
        InputError, match="node 'lif': a LIF whose time step nothing tells, expected --dt"
    ):
        order(graph(SHAPE, CHAIN, metadata={}), strict=True)
    for network, asked, dt, origin in (
        (graph(SHAPE, CHAIN, metadata={}), 5e-5, 5e-5, "as asked"),
        (graph(SHAPE, CHAIN, metadata={"dt": 2e-4}), None, 2e-4, "said by the file"),
        (
            graph(SHAPE, {**CHAIN, "lif": lif(5, tau=2e-3, r=2.0)}, metadata={}),
            None,
            1e-3,
            "told by r = tau / dt",
        ),
        (
            graph(
                SHAPE, {**CHAIN, "lif": nir.IF(full(1e3, 5), full(1, 5), full(0, 5))}, metadata={}
            ),
            None,
            1e-3,
            "told by r = tau / dt",
        ),
    ):
        found = order(network, Conventions(dt=asked), strict=True)
        assert found.dt == pytest.approx(dt)
        assert found.notes[0] == f"time step {dt:g} s ({origin})"


def test_ties_fire_by_the_rule_that_is_asked_for_or_in_the_file() -> None:
    nodes = {
        "flat": flatten(1, 1, 2),
        "linear": nir.Linear(np.eye(2, dtype=np.float32)),
        "lif": lif(2),
    }
    tie = np.array([2, 1], np.uint8).reshape(1, 1, 1, 1, 2)
    for metadata, asked, fires in (
        ({}, None, 0),
        ({"threshold_rule": ">="}, None, 1),
        ({"threshold_rule": ">="}, ">", 0),
        ({}, ">=", 1),
    ):
        assert (
            run(graph((1, 1, 2), nodes, metadata={"dt": DT, **metadata}), tie, fires_at=asked)
            .spikes["lif"]
            .sum()
            == fires
        )


def test_decays_and_inputs_are_read_by_the_convention_that_is_asked_for() -> None:
    exponential = order(graph(SHAPE, CHAIN), Conventions(decay="exponential")).nodes[2].operation
    assert exponential.decay[0] == pytest.approx(1 - np.exp(-0.5))
    network = graph(SHAPE, {**CHAIN, "lif": nir.IF(full(1, 5), full(1, 5), full(0, 5))})
    with pytest.raises(
        InputError,
        match=(
            r"node 'lif': IF with r = 1, so that an input counts 0.0001 of itself, expected"
            r" --inputs"
        ),
    ):
        order(network, strict=True)
    assert order(network, Conventions(inputs="per-step"), strict=True).nodes[2].operation.r[0] == 1
    assert order(network, Conventions(inputs="per-second"), strict=True).nodes[2].operation.r[
        0
    ] == pytest.approx(1e-4)


def loop(*names: str) -> list[tuple[str, str]]:
    return list(pairwise(names))


@pytest.mark.parametrize(
    ("nodes", "edges", "conventions", "message"),
    [
        (
            CHAIN,
            None,
            {"reset": "soft"},
            "soft reset .* expected hard reset, all that the chip has; train it with hard reset",
        ),
        (CHAIN, None, {"fires_at": "="}, "threshold_rule '=', expected one of >, >="),
        (CHAIN, None, {"dt": -1.0}, "time step -1.0, expected a positive number"),
        (
            CHAIN,
            None,
            {"dt": 1e-3},
            (
                "node 'lif': dt / tau = 5, expected 0..1; give the --dt that the network was"
                " trained with"
            ),
        ),
        (
            {**CHAIN, "lif": lif(5, threshold=-1)},
            None,
            {},
            "node 'lif': found threshold -1, expected a threshold above 0",
        ),
        (
            {**CHAIN, "lif": lif(5, reset=0.5)},
            None,
            {},
            "node 'lif': v_reset 0.5 beside v_leak 0, expected the same potential",
        ),
        (
            {**CHAIN, "linear": nir.Linear(full(np.nan, 5, 72))},
            None,
            {},
            "node 'linear': infinite or undefined weights",
        ),
        (
            {**CHAIN, "linear": affine(5, 71)},
            None,
            {},
            r"node 'linear': found \(\(72,\), \(5, 71\)\), expected weights",
        ),
        (
            {**CHAIN, "flat": flatten(*SHAPE, start=2)},
            None,
            {},
            "node 'flat': found axes 2 to -1 .*; flatten all axes",
        ),
        (
            {**CHAIN, "delay": nir.Delay(full(1.5 * DT, 3))},
            None,
            {},
            "node 'delay': found delays of 1.5 time steps, expected whole numbers",
        ),
        (
            {**CHAIN, "end": nir.LI(full(DT, 3), full(1, 3), full(2, 3))},
            None,
            {},
            "node 'end': an integrator that leaks to another potential than 0",
        ),
        (
            {**CHAIN, "scale": nir.Scale(full(2, 3))},
            None,
            {},
            "node 'scale': a Scale is the last node",
        ),
        (
            {**CHAIN, "back": affine(5, 3)},
            [*loop("input", "flat", "linear", "lif", "out", "output"), *loop("out", "back", "lif")],
            {},
            "node '(lif|out)': is part of a loop without delay, or behind one",
        ),
        (
            {**CHAIN, "other": affine(5, 72)},
            [*loop("input", "flat", "linear", "lif", "out", "output"), ("flat", "other")],
            {},
            "'other': feeds no",
        ),
        (
            CHAIN,
            [*loop("input", "flat", "linear", "lif", "out", "output"), ("flat", "linear")],
            {},
            "the edge .*'linear'.* is there twice",
        ),
        (
            CHAIN,
            loop("input", "flat", "linear", "lif", "oout", "output"),
            {},
            "an edge names 'oout', expected one of the nodes",
        ),
        (
            {"conv": nir.Conv2d(None, weights(4, 2, 2, 3), (1, 1), "same", (3, 1), 1, full(0, 4))},
            None,
            {},
            "'conv': found padding 'same' with",
        ),
        (
            {"conv": nir.Conv2d(None, weights(4, 2, 3, 3), (2, 2), "same", (1, 1), 1, full(0, 4))},
            None,
            {},
            "node 'conv': found padding 'same' with",
        ),
        (
            {"pool": nir.SumPool2d(np.array([3, 3]), np.array([2, 2]), np.array([0, 0]))},
            None,
            {},
            "node 'pool': kernel .* use a convolution",
        ),
    ],
)
def test_what_cannot_be_lowered_is_refused_by_name_with_a_way_out(
    nodes: dict[str, Any],
    edges: list[tuple[str, str]] | None,
    conventions: dict[str, Any],
    message: str,
) -> None:
    with pytest.raises(InputError, match=message) as error:
        normalise(order(graph(SHAPE, nodes, edges), Conventions(**conventions), strict=True), None)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("node", "named", "hint"),
    [
        (lif(5, tau=2e-3), "a LIF", "SpikingJelly and snnTorch write 1e-4"),
        (lif(5, tau=20.0), "a LIF", "Sinabs and Spyx count time constants in steps: try --dt 1$"),
        (nir.IF(full(1, 5), full(1, 5), full(0, 5)), "an IF", "try --dt 1$"),
        (nir.IF(full(1.2e3, 5), full(1, 5), full(0, 5)), "an IF", "try --dt 1e-4$"),
        (nir.LI(full(8.0, 5), full(1, 5), full(0, 5)), "a LI", "try --dt 1$"),
    ],
)
def test_the_time_step_to_try_is_that_of_the_framework(node: Any, named: str, hint: str) -> None:
    nodes = {**CHAIN, "lif": node}
    with pytest.raises(InputError, match=f"'lif': {named} whose time step nothing tells.*{hint}"):
        order(graph(SHAPE, nodes, metadata={}), strict=True)


def test_a_reset_that_no_file_can_tell_is_named_with_those_who_train_with_another() -> None:
    def resets(**conventions: Any) -> str:
        network = order(graph(SHAPE, CHAIN), Conventions(**conventions))
        (note,) = [note for note in network.notes if note.startswith("hard reset")]
        return note

    assert "Sinabs, Rockpool and Spyx train with soft reset" in resets()
    assert resets(reset="hard") == "hard reset (as asked)"
