"""Calibrated Loihi 1 model: its counts against the simulator's, and its formulas by hand.
test_energy_sanafe.py compares with SANA-FE itself.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelined import pipelined
from random_programs import frames_for, programs

from tmkt.deploy.energy.active_updates import active_neurons
from tmkt.deploy.energy.calibrated import ESTIMATOR, cost, neurons_by_core, owners
from tmkt.deploy.energy.constants import load_constants
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.latency import layer_depths, step_time, work_of
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.placement import Placement
from tmkt.deploy.fit.traffic import Link, Traffic, traffic
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator

LOIHI1 = load_device("loihi1")
CONSTANTS = load_constants("loihi1", ESTIMATOR)


def small(program: Program) -> Placement:
    """Make cores so small that little networks need many."""
    limits = replace(LOIHI1.limits, neurons=40, cores_per_tile=2, mesh_rows=2)
    return place(from_program(program), replace(LOIHI1, limits=limits))


@settings(max_examples=40, deadline=None)
@given(st.data(), programs(temporal=True))
def test_updates_of_the_cores_add_up_to_the_simulators(
    data: st.DataObject, program: Program
) -> None:
    frames = data.draw(frames_for(program))
    placement = small(program)
    busy, spikes = active_neurons(program, placement, frames)
    expected = Simulator(program).run(frames)
    for layer in program.layers:
        placed = placement.by_name[layer.name]
        assert (
            busy[:, :, placed.first_core : placed.first_core + placed.cores].sum()
            == expected.active_updates[layer.name]
        )
        assert layer.name not in spikes or np.array_equal(
            spikes[layer.name], expected.spikes[layer.name]
        )
    assert (busy <= neurons_by_core(placement)).all()


@settings(max_examples=20, deadline=None)
@given(st.data(), programs(chain=True))
def test_a_pipelined_sample_takes_as_many_more_steps_as_there_are_layers(
    data: st.DataObject, program: Program
) -> None:
    frames = data.draw(frames_for(program))
    placement = small(program)
    late, spikes, busy = pipelined(program, placement, frames)
    steps = frames.shape[1]
    assert late.shape[1] == busy.shape[1] == steps + len(program.layers)
    alone = Simulator(program).run(frames).spikes
    for name, depth in layer_depths(program).items():
        if name in alone:
            assert not spikes[name][:, :depth].any()
            np.testing.assert_array_equal(spikes[name][:, depth : depth + steps], alone[name])


@settings(max_examples=20, deadline=None)
@given(st.data(), programs(temporal=True))
def test_time_lies_in_the_interval_of_fit_and_energy_is_the_formula_of_totals(
    data: st.DataObject, program: Program
) -> None:
    frames = data.draw(frames_for(program))
    placement = small(program)
    busy, spikes = active_neurons(program, placement, frames)
    counted = traffic(placement, frames, spikes)
    found = cost(placement, counted, busy, CONSTANTS)
    low, high = step_time(LOIHI1, work_of(placement, counted), placement.tiles_used)
    assert (found.simple_s >= low / LOIHI1.model_error[0] * (1 - 1e-9)).all()
    assert (found.upper_s <= high / LOIHI1.model_error[1] * (1 + 1e-9)).all()
    assert (found.simple_s <= found.upper_s).all()

    fired = sum(int(s.sum(dtype=np.int64)) for s in spikes.values())
    neurons = sum(layer.neurons for layer in program.layers) * busy.shape[0] * busy.shape[1]
    pj = 24.0 * counted.synops["conv"].sum() + 35.5 * counted.synops["dense"].sum()
    pj += 51.2 * neurons + 21.6 * busy.sum() + 69.3 * fired
    pj += sum(
        (111 * link.messages + 3.0 * link.hops_x + 4.2 * link.hops_y).sum()
        for link in counted.links
    )
    assert found.energy_j.sum() == pytest.approx(pj * 1e-12)


def test_a_step_by_hand() -> None:
    """Two neurons on core 1, input on core 0: 5 messages of 5.1 ns leave, 16 ns each to take in,
    3.8 ns for each of 10 operations.
    """
    synapse = Synapse(INPUT, "dense", np.ones((2, 5), np.int16))
    program = Program(
        (5, 1, 1), 1, (Layer("n", (2,), (synapse,), np.zeros(2, np.int32), 0, 0),), "spikes"
    )
    placement = place(from_program(program), LOIHI1)
    frames = np.ones((1, 1, 5, 1, 1), np.uint8)
    busy, spikes = active_neurons(program, placement, frames)
    assert (busy.tolist(), spikes["n"].tolist()) == ([[[0, 2]]], [[[1, 1]]])
    found = cost(placement, traffic(placement, frames, spikes), busy, CONSTANTS)
    assert found.synapse_j.tolist() == [[[0, pytest.approx(355e-12)]]]
    assert found.soma_j.tolist() == [[[0, pytest.approx(2 * (51.2 + 21.6 + 69.3) * 1e-12)]]]
    assert found.network_j.tolist() == [pytest.approx(555e-12)]
    generating, processing = 2 * (6.0 + 3.7 + 30), 5 * 16 + 10 * 3.8
    assert found.simple_s.item() == pytest.approx((processing + 600) * 1e-9)
    assert found.upper_s.item() == pytest.approx((generating + processing + 600) * 1e-9)


def test_hops_are_charged_by_direction() -> None:
    program = Program(
        (1, 1, 1),
        1,
        (
            Layer(
                "n",
                (1,),
                (Synapse(INPUT, "dense", np.ones((1, 1), np.int16)),),
                np.zeros(1, np.int32),
                0,
                0,
            ),
        ),
        "spikes",
    )
    placement = place(from_program(program), LOIHI1)
    zeros = np.zeros((1, 1, 2))
    one, two, three = (np.array([n]) for n in (1.0, 2.0, 3.0))
    counted = Traffic(
        {"conv": zeros, "dense": zeros},
        zeros,
        zeros,
        zeros,
        (Link(INPUT, "n", one, two, three, one * 0),),
    )
    found = cost(placement, counted, zeros, CONSTANTS)
    assert found.hop_j.item() == pytest.approx((2 * 3.0 + 3 * 4.2) * 1e-12)
    assert [owners(placed).tolist() for placed in placement.layers] == [[[[0]]], [[[1]]]]
