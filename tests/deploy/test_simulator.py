"""The simulator against the plain program, integer by integer."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from plain_program import assert_equals_plain, run_plain, synaptic_sum
from random_programs import frames_for, programs

from tmkt.program.arithmetic import MAX_THRESHOLD
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator import synapses
from tmkt.program.simulator.simulator import STEPS_AT_ONCE, Simulator


def one_neuron(weight: int, **settings: int) -> Program:
    """One integrating neuron on one input site: its arithmetic can be followed by hand."""
    synapse = Synapse(INPUT, "dense", np.array([[weight]], np.int16))
    defaults = {"threshold": MAX_THRESHOLD, "voltage_decay": 0, "current_decay": 4096}
    bias = np.array([settings.pop("bias", 0)], np.int32)
    return Program(
        (1, 1, 1),
        255,
        (Layer("n", (1,), (synapse,), bias, **{**defaults, **settings}, fires=False),),
        "membrane",
    )


def counts(*values: int) -> NDArray[np.uint8]:
    return np.array(values, np.uint8).reshape(1, -1, 1, 1, 1)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_every_spike_membrane_and_state_equals_the_plain_program(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    assert_equals_plain(Simulator(program, threads=1).run(frames), program, frames)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_adding_rows_of_weights_and_multiplying_them_all_give_the_same(data: st.DataObject) -> None:
    """Whatever the crossover says: counts are multiplied all the same."""
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    found = []
    for dense_from in (0, 2**40):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(synapses, "dense_from", lambda _shape, least=dense_from: least)
            found.append(Simulator(program, threads=1).run(frames))
    one, other = found
    np.testing.assert_array_equal(one.readout, other.readout)
    for name, expected in one.spikes.items():
        np.testing.assert_array_equal(other.spikes[name], expected, err_msg=name)
    assert (one.faults, one.active_updates) == (other.faults, other.active_updates)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_chunks_of_steps_with_the_state_carried_equal_one_run(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = np.concatenate([data.draw(frames_for(program))[:1]] * 3, axis=1)
    simulator = Simulator(program, threads=1)
    whole = simulator.run(frames)
    cuts = sorted(data.draw(st.sets(st.integers(1, frames.shape[1] - 1), max_size=3)))
    state, parts = None, []
    for begin, end in zip([0, *cuts], [*cuts, frames.shape[1]], strict=True):
        part = simulator.run(frames[:, begin:end], state)
        state = part.state
        parts.append(part)
    for name, expected in whole.spikes.items():
        np.testing.assert_array_equal(
            np.concatenate([part.spikes[name] for part in parts], axis=1), expected
        )
    together = (
        parts[-1].readout if program.readout == "membrane" else sum(part.readout for part in parts)
    )
    np.testing.assert_array_equal(together, whole.readout)
    for counter in ("faults", "active_updates"):
        assert {
            key: sum(getattr(part, counter)[key] for part in parts)
            for key in getattr(whole, counter)
        } == getattr(whole, counter)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_the_number_of_threads_changes_nothing(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = np.concatenate([data.draw(frames_for(program))] * 3)
    one, three = (Simulator(program, threads=n).run(frames) for n in (1, 3))
    np.testing.assert_array_equal(one.readout, three.readout)
    assert all((one.spikes[name] == three.spikes[name]).all() for name in one.spikes)
    assert (one.faults, one.active_updates) == (three.faults, three.active_updates)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_active_updates_are_the_neuron_steps_that_had_something_to_do(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))[:1, :4]
    expected = dict.fromkeys((layer.name for layer in program.layers), 0)
    _, spikes, _ = run_plain(program, frames)
    past = []
    for t in range(frames.shape[1]):
        _, _, before = run_plain(program, frames[:, :t])
        values = {layer.name: np.zeros(layer.shape, np.int64) for layer in program.layers}
        values |= {
            INPUT: (frames[0, t] > 0).astype(np.int64),
            **{name: s[0, t].astype(np.int64) for name, s in spikes.items()},
        }
        past.append(values)
        for layer in program.layers:
            ones = replace(
                layer,
                synapses=tuple(replace(s, weight=np.ones_like(s.weight)) for s in layer.synapses),
            )
            bias = layer.bias.reshape(-1, *[1] * (len(layer.shape) - 1)) != 0
            remembered = (before[layer.name]["v"][0] != 0) | (
                (before[layer.name]["u"][0] != 0) & (layer.current_decay != 4096)
            )
            expected[layer.name] += int(((synaptic_sum(ones, past) > 0) | bias | remembered).sum())
    assert Simulator(program, threads=1).run(frames).active_updates == expected


def test_a_layer_that_does_not_fire_sends_nothing() -> None:
    first = replace(one_neuron(100).layers[0], name="first")
    dense = Synapse("first", "dense", np.array([[100]], np.int16))
    program = Program(
        (1, 1, 1),
        1,
        (first, Layer("last", (1,), (dense,), np.zeros(1, np.int32), 0, 0, fires=False)),
        "membrane",
    )
    assert Simulator(program).run(counts(1, 1, 1)).readout.tolist() == [[0]]


def test_decay_rounds_toward_zero_on_both_sides() -> None:
    for sign in (1, -1):
        # -64, then tz(-64 * 4095 / 4096) = tz(-63.98) = -63: floor division would stay at -64
        assert Simulator(one_neuron(sign, voltage_decay=1)).run(counts(1, 0)).readout.tolist() == [
            [63 * sign]
        ]


def test_the_membrane_saturates_on_both_rails_and_the_clips_are_counted() -> None:
    for sign in (1, -1):
        found = Simulator(one_neuron(sign * 254)).run(
            counts(255, 255, 255, 0)
        )  # 255 * 254 * 64 = 4 145 280 a step
        assert found.readout.tolist() == [[sign * (2**23 - 1)]]
        assert found.faults["membrane_clips"] == 1
        assert found.faults["current_wraps"] == 0


def test_threshold_is_strict_and_reset_is_to_zero() -> None:
    layer = replace(one_neuron(10).layers[0], threshold=10, fires=True)
    program = Program((1, 1, 1), 255, (layer,), "spikes")
    assert Simulator(program).run(counts(1, 0, 1, 1)).spikes["n"][0, :, 0].tolist() == [0, 0, 1, 0]


def test_a_readout_over_its_threshold_is_counted() -> None:
    found = Simulator(one_neuron(10, threshold=25)).run(counts(1, 1, 1, 1))
    assert found.readout.tolist() == [[4 * 640]]
    assert found.faults["readout_over_threshold"] == 2


def test_current_decays_slowly_where_it_has_memory() -> None:
    # u: 640, 320, 160; v sums it
    assert Simulator(one_neuron(10, current_decay=2048)).run(counts(1, 0, 0)).readout.tolist() == [
        [640 + 320 + 160]
    ]


def test_bias_acts_in_every_step() -> None:
    assert Simulator(one_neuron(0, bias=-3)).run(
        counts(*[0] * (STEPS_AT_ONCE + 1))
    ).readout.tolist() == [[-3 * 64 * (STEPS_AT_ONCE + 1)]]


def busy_program(weights: int, inputs: int) -> Program:
    """Every input site of a pooled convolution and of two dense layers, with weights near the
    largest.
    """
    rng = np.random.default_rng(inputs)
    draw = [
        rng.choice(np.array([-weights, weights - 2, weights], np.int16), shape)
        for shape in ((20, inputs, 3, 3), (40, 20 * 9), (3, 40))
    ]
    zero = [np.zeros(n, np.int32) for n in (20, 40, 3)]
    conv = Layer(
        "conv",
        (20, 3, 3),
        (Synapse(INPUT, "conv", draw[0], padding=(1, 1), pool=2),),
        zero[0],
        2000,
        1000,
    )
    dense = Layer("dense", (40,), (Synapse("conv", "dense", draw[1]),), zero[1], 3, 2048)
    last = Layer(
        "last", (3,), (Synapse("dense", "dense", draw[2]),), zero[2], MAX_THRESHOLD, 0, fires=False
    )
    return Program((inputs, 6, 6), 1, (conv, dense, last), "membrane")


@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.45, 0.6, 1.0])
@pytest.mark.parametrize(("weights", "inputs"), [(254, 16), (254, 40), (4, 16)])
def test_any_density_gives_the_same_integers(share: float, weights: int, inputs: int) -> None:
    """Few spikes and many (the dense loop), sums that fit 16 bits and sums that do not, more rows
    than 16 bits can add at once.
    """
    program = busy_program(weights, inputs)
    frames = (np.random.default_rng(0).random((1, 3, *program.input_shape)) < share).astype(
        np.uint8
    )
    readout, spikes, _ = run_plain(program, frames)
    found = Simulator(program, threads=1).run(frames)
    np.testing.assert_array_equal(found.readout, readout)
    for name, expected in spikes.items():
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)
    assert found.faults["readout_over_threshold"] == 0


def test_spikes_of_layers_that_fire_are_no_fault() -> None:
    for decay in (0, 4096):  # with and without memory of the current
        layer = replace(one_neuron(10, current_decay=decay).layers[0], threshold=1, fires=True)
        found = Simulator(Program((1, 1, 1), 1, (layer,), "spikes")).run(counts(1, 1, 1))
        assert found.spikes["n"].sum() == 3
        assert found.faults == {
            "current_wraps": 0,
            "membrane_clips": 0,
            "readout_over_threshold": 0,
        }


def test_counts_above_the_programs_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at most 1"):
        Simulator(busy_program(4, 16)).run(np.full((1, 1, 16, 6, 6), 2, np.uint8))


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="expected uint8"):
        Simulator(one_neuron(1)).run(np.zeros((1, 1, 2, 1, 1), np.uint8))
