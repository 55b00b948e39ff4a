"""Traffic: counted from spikes as one would by following each spike, and never more or less
synaptic operations than the trace has.
"""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_program import synaptic_sum
from random_programs import frames_for, programs

from tmkt.deploy import trace
from tmkt.deploy.fit.device import Device, load_device
from tmkt.deploy.fit.latency import step_time, work_of
from tmkt.deploy.fit.network import from_program, volume
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.placement import LayerPlacement
from tmkt.deploy.fit.traffic import traffic
from tmkt.errors import InputError
from tmkt.program.model import INPUT, Program

LOIHI1, LOIHI2 = load_device("loihi1"), load_device("loihi2")


def small(device: Device, neurons: int) -> Device:
    """Make a device of cores and chips so small that little networks need many."""
    return replace(
        device,
        limits=replace(device.limits, neurons=neurons, cores=8, cores_per_tile=2, mesh_rows=2),
    )


def spikes_for(program: Program, samples: int, steps: int, seed: int) -> dict[str, np.ndarray]:
    """Draw random spikes of every layer that fires: traffic does not care where they come from."""
    rng = np.random.default_rng(seed)
    return {
        layer.name: (rng.random((samples, steps, *layer.shape)) < 0.3).astype(np.uint8)
        for layer in program.layers
        if layer.fires
    }


def owners(placed: LayerPlacement) -> np.ndarray:
    """Find the core of every neuron, by counting tiles."""
    shape, (_, ny, nx) = volume(placed.layer.shape), placed.core_grid
    c, y, x = np.indices(shape)
    tc, ty, tx = placed.tile
    return placed.first_core + ((c // tc) * ny + y // ty) * nx + x // tx


@pytest.mark.parametrize("device", [LOIHI1, LOIHI2], ids=lambda device: device.name)
@settings(max_examples=12, deadline=None)
@given(st.data(), programs(temporal=True), st.integers(16, 60))
def test_messages_and_hops_are_those_of_following_every_spike(
    device: Device, data: st.DataObject, program: Program, neurons: int
) -> None:
    placement = place(from_program(program), small(device, neurons))
    frames = data.draw(frames_for(program))
    samples, steps = frames.shape[:2]
    spikes = spikes_for(program, samples, steps, 0)
    counted = traffic(placement, frames, spikes)

    values = {INPUT: frames, **spikes}
    into, out = np.zeros((2, samples, steps, placement.cores))
    links = {}
    for layer in program.layers:
        owner = owners(placement.by_name[layer.name]).reshape(layer.shape)
        for i, synapse in enumerate(layer.synapses):
            if synapse.source not in values:
                continue
            ones = replace(
                layer,
                synapses=(replace(synapse, weight=np.ones_like(synapse.weight), delays=None),),
            )
            shape = program.shape_of(synapse.source)
            home = (
                owners(placement.by_name[synapse.source]).reshape(shape)
                if synapse.source in placement.by_name
                else None
            )
            total = np.zeros((4, samples))
            for site in np.ndindex(*shape):
                one = np.zeros(shape, np.int64)
                one[site] = 1
                targets = np.unique(owner[synaptic_sum(ones, [{synapse.source: one}] * 2) != 0])
                sent = (values[synapse.source][(slice(None), slice(None), *site)] != 0).astype(
                    float
                )
                for target in targets:
                    into[:, :, target] += sent
                    total[0] += sent.sum(1)
                    if home is None:
                        continue
                    out[:, :, home[site]] += sent
                    (chip_a, node_a), (chip_b, node_b) = (
                        ((core // 8), core % 8 // 2) for core in (int(home[site]), int(target))
                    )
                    total[1] += sent.sum(1) * (chip_a == chip_b) * abs(node_a // 2 - node_b // 2)
                    total[2] += sent.sum(1) * (chip_a == chip_b) * abs(node_a % 2 - node_b % 2)
                    total[3] += sent.sum(1) * (chip_a != chip_b)
            links[layer.name, i] = total
    np.testing.assert_allclose(counted.messages_in, into)
    np.testing.assert_allclose(counted.messages_out, out)
    found = np.array(
        [[link.messages, link.hops_x, link.hops_y, link.between_chips] for link in counted.links]
    )
    np.testing.assert_allclose(found, np.array(list(links.values())))


@pytest.mark.parametrize("device", [LOIHI1, LOIHI2], ids=lambda device: device.name)
@settings(max_examples=15, deadline=None)
@given(st.data(), programs(temporal=True), st.integers(16, 60))
def test_synaptic_operations_and_spikes_add_up_to_the_trace(
    device: Device, data: st.DataObject, program: Program, neurons: int
) -> None:
    placement = place(from_program(program), small(device, neurons))
    frames = data.draw(frames_for(program))
    spikes = spikes_for(program, *frames.shape[:2], 1)
    counted = traffic(placement, frames, spikes)
    total = sum(counted.synops.values())
    for layer in trace.count(program, frames, spikes).layers:
        placed = placement.by_name[layer.name]
        here = slice(placed.first_core, placed.first_core + placed.cores)
        np.testing.assert_array_equal(total[:, :, here].sum(2), layer.synops)
        np.testing.assert_array_equal(counted.fired[:, :, here].sum(2), layer.spikes)


def example() -> tuple[Program, np.ndarray, dict[str, np.ndarray]]:
    from example_bundles import SHAPE, STEPS, example_frames, example_parts

    _, program, _ = example_parts()
    assert program.input_shape == SHAPE
    return program, example_frames(3), spikes_for(program, 3, STEPS, 2)


def test_a_run_of_another_network_is_refused() -> None:
    program, frames, spikes = example()
    placement = place(from_program(program), LOIHI2)
    with pytest.raises(InputError, match="no spikes of layer 'conv1'"):
        traffic(placement, frames, {})
    with pytest.raises(InputError, match="'conv2' has shape"):
        traffic(placement, frames, {**spikes, "conv2": spikes["conv2"][..., 1:]})


@pytest.mark.parametrize("device", [LOIHI1, LOIHI2], ids=lambda device: device.name)
def test_time_is_an_interval_that_grows_with_activity(device: Device) -> None:
    program, frames, spikes = example()
    placement = place(from_program(program), device)
    busy = {name: np.ones_like(s) for name, s in spikes.items()}
    times = [
        step_time(device, work_of(placement, traffic(placement, f, s)), placement.tiles_used)
        for f, s in ((frames, spikes), (np.ones_like(frames), busy))
    ]
    for low, high in times:
        assert low.shape == high.shape == frames.shape[:2]
        assert (low > 0).all()
        assert (low <= high).all()
    assert (times[1][0] >= times[0][0]).all()
    assert (times[1][1] > times[0][1]).all()


def test_the_step_of_one_core_by_hand() -> None:
    """Loihi 1, one core: 16 ns a message, 3.8 ns a dense operation; 6.0 to 9.7 ns a neuron, 30 a
    spike; barrier 0.6 us; model error.
    """
    from tmkt.deploy.fit.latency import Work

    work = Work(
        np.array([100.0]),
        np.array([5.0]),
        np.array([0.0]),
        np.array([20.0]),
        {"dense": np.array([2000.0])},
    )
    low, high = step_time(LOIHI1, work, tiles_used=1)
    processing = 20 * 16 + 2000 * 3.8
    assert low == pytest.approx(0.757e-9 * (processing + 600))
    assert high == pytest.approx(1.243e-9 * (processing + 100 * 9.7 + 5 * 30 + 600))
