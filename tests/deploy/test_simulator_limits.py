"""The simulator's quicker loops at the limits of the numbers that they are for."""

import numpy as np
import pytest
from numpy.typing import NDArray
from plain_program import run_plain

from tmkt.program.arithmetic import MAX_THRESHOLD
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.simulator import STEPS_AT_ONCE, Simulator


def integrator(weight: NDArray[np.int16]) -> Layer:
    """One neuron that sums its inputs and does not fire."""
    synapse, bias = Synapse(INPUT, "dense", weight), np.zeros(1, np.int32)
    return Layer("n", (1,), (synapse,), bias, MAX_THRESHOLD, 0, fires=False)


@pytest.mark.parametrize("fires", [True, False])
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(("bias", "clips"), [(765, False), (767, True)])
def test_membranes_that_just_reach_their_limit_are_clipped(
    fires: bool, sign: int, bias: int, clips: bool
) -> None:
    """Half of the membrane decays in a step, and inputs add just less or just more than half of the
    limit, in sums that fit 16 bits.
    """
    neurons, steps = 300, 40
    synapse = Synapse(INPUT, "dense", np.full((neurons, 1), sign * 254, np.int16))
    layer = Layer(
        "n",
        (neurons,),
        (synapse,),
        np.full(neurons, sign * bias, np.int32),
        threshold=MAX_THRESHOLD,
        voltage_decay=2048,
        fires=fires,
    )
    program = Program((1, 1, 1), 255, (layer,), "spikes" if fires else "membrane")
    frames = np.full((1, steps, 1, 1, 1), 255, np.uint8)
    readout, spikes, states = run_plain(program, frames)
    found = Simulator(program, threads=1).run(frames)
    np.testing.assert_array_equal(found.readout, readout)
    np.testing.assert_array_equal(found.state.v[0], states["n"]["v"])
    if fires:
        np.testing.assert_array_equal(found.spikes["n"], spikes["n"])
    reset_before = fires and sign > 0
    assert (found.faults["membrane_clips"] > 0) == (clips and not reset_before)


@pytest.mark.parametrize(
    ("sign", "last", "expected", "wraps"),
    [
        (1, 16, 2**23 - 1, 0),  # a = 2^17, u = 2^23 stays; the membrane clips
        (1, 17, -(2**23) + 128, 1),
        (-1, 16, 2**23 - 1, 1),  # u = -2^23 already wraps, to 2^23
        (-1, 15, -(2**23) + 128, 0),
    ],
)
def test_the_current_wraps_once_like_lavas(sign: int, last: int, expected: int, wraps: int) -> None:
    weight = sign * np.array([[254, 254, 100, 2]], np.int16)
    layer = integrator(weight)
    frames = np.array([255, 255, 15, last], np.uint8).reshape(1, 1, 1, 1, 4)
    found = Simulator(Program((1, 1, 4), 255, (layer,), "membrane")).run(frames)
    assert (found.readout.tolist(), found.faults["current_wraps"]) == ([[expected]], wraps)


def test_steps_that_wrap_lie_between_steps_that_do_not() -> None:
    """Most sums stay below the least that wraps, and are updated by the quicker loop."""
    rng = np.random.default_rng(0)
    weight = (2 * rng.integers(-127, 128, (30, 6))).astype(np.int16)
    synapse, bias = Synapse(INPUT, "dense", weight), rng.integers(-50, 50, 30).astype(np.int32)
    program = Program(
        (6, 1, 1), 255, (Layer("n", (30,), (synapse,), bias, 40_000, 1000),), "spikes"
    )
    frames = rng.integers(0, 120, (9, 2 * STEPS_AT_ONCE, 6, 1, 1)).astype(np.uint8)
    frames[rng.random(frames.shape[:2]) < 0.03] += 135
    _, spikes, states = run_plain(program, frames)
    for threads in (1, 2):
        found = Simulator(program, threads).run(frames)
        np.testing.assert_array_equal(found.spikes["n"], spikes["n"])
        np.testing.assert_array_equal(found.state.v[0], states["n"]["v"])
        assert 0 < found.faults["current_wraps"] < 100


@pytest.mark.parametrize("inputs", [257, 258, 259, 300, 515])
@pytest.mark.parametrize("sign", [1, -1])
def test_sums_around_16_bits_are_exact(inputs: int, sign: int) -> None:
    """258 weights of mantissa 127 are the most that fit; a third of the sites spike, so that the
    event-driven loop runs.
    """
    spiking = np.zeros(3 * inputs, np.uint8)
    spiking[:inputs] = 1
    weight = np.where(spiking, 254 * sign, 0).astype(np.int16)[None]
    layer = integrator(weight)
    found = Simulator(Program((3 * inputs, 1, 1), 1, (layer,), "membrane")).run(
        spiking.reshape(1, 1, -1, 1, 1)
    )
    assert found.readout.tolist() == [[254 * sign * inputs << 6]]
