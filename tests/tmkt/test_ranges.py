"""Proved ranges are never left by a run, and are near what the worst input reaches."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt.program.arithmetic import CURRENT_LIMIT, DECAY_ONE, MEMBRANE_LIMIT
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.ranges import LONGEST, prove
from tmkt.program.simulator.simulator import Simulator


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_run_contradicts_a_proof(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    steps = frames.shape[1]
    found = {entry.layer: entry for entry in prove(program, steps)}
    proved = all(entry.proved for entry in found.values())
    if proved:
        faults = Simulator(program, 1).run(frames).faults
        assert (faults["current_wraps"], faults["membrane_clips"]) == (0, 0)
    for until in range(1, steps + 1):
        states = run_plain(program, frames[:, :until])[2]
        for name, entry in found.items():
            if entry.holds is None or until <= entry.holds:
                u, v = states[name]["u"], states[name]["v"]
                assert entry.current[0] <= u.min() <= u.max() <= entry.current[1]
                assert entry.membrane[0] <= v.min() <= v.max() <= entry.membrane[1]


def one_layer(weights: Any, **fields: Any) -> Program:
    weight = np.array(weights, np.int16)
    given: dict[str, Any] = {
        "bias": np.zeros(len(weight), np.int32),
        "threshold": 1000,
        "voltage_decay": 0,
        "fires": False,
        **fields,
    }
    layer = Layer("a", (len(weight),), (Synapse(INPUT, "dense", weight),), **given)
    readout = "spikes" if layer.fires else "membrane"
    return Program(weight.shape[1:], 3, (layer,), readout)  # type: ignore[arg-type]


@pytest.mark.parametrize("voltage_decay", [0, 1000, 4096])
@pytest.mark.parametrize("current_decay", [300, 4096])
def test_the_worst_input_reaches_the_bound(voltage_decay: int, current_decay: int) -> None:
    weights = [[100, -50, 20], [-80, -10, 4]]
    program = one_layer(weights, voltage_decay=voltage_decay, current_decay=current_decay)
    steps = 9
    [found] = prove(program, steps)
    assert found.proved
    for row, sign, side in ((0, 1, 1), (1, -1, 0)):
        worst = 3 * (sign * np.array(weights[row]) > 0)
        frames = np.tile(worst.astype(np.uint8), (1, steps, 1))
        _, _, states = run_plain(program, frames)
        assert states["a"]["v"][0, row] == found.membrane[side]
        assert states["a"]["u"][0, row] == found.current[side]


def test_a_neuron_that_fires_stays_at_its_threshold_and_below() -> None:
    program = one_layer([[100]], fires=True, threshold=350)
    [found] = prove(program, 50)
    assert found.membrane == (0, (350 + 300) * 64)  # at the threshold, then the largest input
    assert found.holds is None
    frames = np.array([1, 3, 2, 0], np.uint8).reshape(1, -1, 1)  # 100, then 400: fires
    assert run_plain(program, frames)[2]["a"]["v"].max() <= found.membrane[1]


@pytest.mark.parametrize("sign", [1, -1])
def test_an_integrator_holds_until_its_limit_and_not_a_step_longer(sign: int) -> None:
    program = one_layer([[sign * 127] * 40])
    drive = 3 * 127 * 40 * 64
    limit = MEMBRANE_LIMIT if sign < 0 else 64 * (2**17 - 1)
    [found] = prove(program, 20)
    assert found.holds == limit // drive < 20
    assert not found.proved
    assert prove(program, found.holds)[0].proved
    full = np.full((1, 20, 40), 3, np.uint8)
    clips = [
        Simulator(program, 1).run(full[:, :n]).faults["membrane_clips"]
        for n in (found.holds, found.holds + 1)
    ]
    assert clips[0] == 0
    assert clips[1] > 0 or sign > 0  # the threshold of a read-out comes just before the clip


def test_a_current_that_wraps_is_named() -> None:
    program = one_layer([[254] * 200], current_decay=0, voltage_decay=DECAY_ONE)
    [found] = prove(program, 5)
    assert found.holds == CURRENT_LIMIT // (3 * 254 * 200 * 64)
    full = np.full((1, 5, 200), 3, np.uint8)
    assert Simulator(program, 1).run(full).faults["current_wraps"] > 0
    assert Simulator(program, 1).run(full[:, : found.holds or 0]).faults["current_wraps"] == 0


def test_a_layer_that_settles_is_proved_for_all_steps() -> None:
    [found] = prove(one_layer([[100, 20]], voltage_decay=2048), 10)
    assert found.holds is None
    assert prove(one_layer([[1]]), LONGEST)[0].proved
