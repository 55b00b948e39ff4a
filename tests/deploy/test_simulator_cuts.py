"""Layers that the simulator cuts, so that what it works on stays in the processor's cache: into
bands of positions, and their weights into slabs of channels.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_program import assert_equals_plain
from random_programs import frames_for, programs

from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator import layers, synapses
from tmkt.program.simulator.simulator import Result, Simulator


def assert_same(one: Result, other: Result) -> None:
    np.testing.assert_array_equal(one.readout, other.readout)
    for name, expected in one.spikes.items():
        np.testing.assert_array_equal(other.spikes[name], expected, err_msg=name)
    for v, expected in zip(other.state.v, one.state.v, strict=True):
        np.testing.assert_array_equal(v, expected)
    assert (one.faults, one.active_updates) == (other.faults, other.active_updates)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_bands_of_eight_positions_give_what_whole_layers_give(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    for dense_from in (0, 2**40):
        found = []
        for bytes_of_sums in (2**40, 1):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(synapses, "dense_from", lambda _shape, least=dense_from: least)
                patch.setattr(layers, "BAND_BYTES", bytes_of_sums)
                found.append(Simulator(program, threads=1).run(frames))
        assert_same(*found)


def convolution(channels: int, groups: int, zeros: int) -> Program:
    """A layer of 5 x 9 positions behind pools, `zeros` of whose neurons' biases are zero."""
    rng = np.random.default_rng(channels)
    weight = (2 * rng.integers(-127, 128, (channels, 8 // groups, 3, 3))).astype(np.int16)
    bias = rng.integers(1, 500, channels).astype(np.int32)
    bias[:zeros] = 0
    synapse = Synapse(INPUT, "conv", weight, padding=(1, 1), pool=2, groups=groups)
    layer = Layer("n", (channels, 5, 9), (synapse,), bias, 1000, 2048)
    return Program((8, 10, 18), 1, (layer,), "spikes")


@pytest.mark.parametrize("dense_from", [0, 2**40])
@pytest.mark.parametrize("bytes_of_sums", [1, 2**40])
@pytest.mark.parametrize("zeros", [0, 3])
@pytest.mark.parametrize(("channels", "groups"), [(320, 1), (300, 1), (512, 2)])
def test_slabs_of_channels_give_what_the_plain_program_gives(
    channels: int,
    groups: int,
    zeros: int,
    bytes_of_sums: int,
    dense_from: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three slabs, the last of 64 channels; channels that do not fill vectors, which stay together;
    two slabs in each of two groups.
    """
    program = convolution(channels, groups, zeros)
    frames = (np.random.default_rng(0).random((2, 3, *program.input_shape)) < 0.1).astype(np.uint8)
    frames[0, 1] = 0
    monkeypatch.setattr(synapses, "SLAB_BYTES", 128 * 9 * 8 // groups)
    monkeypatch.setattr(synapses, "dense_from", lambda _: dense_from)
    monkeypatch.setattr(layers, "BAND_BYTES", bytes_of_sums)
    simulator = Simulator(program, threads=1)
    slabs = {group.shape.slab for group in simulator._layers[0].paths[0].groups}
    assert slabs == {304 if channels == 300 else 128}
    assert_equals_plain(simulator.run(frames), program, frames)


@pytest.mark.parametrize("share", [0.02, 0.3])
def test_a_layer_of_many_positions_is_cut_and_gives_the_same(
    share: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    weight = (2 * rng.integers(-127, 128, (64, 16, 3, 3))).astype(np.int16)
    synapse = Synapse(INPUT, "conv", weight, padding=(1, 1))
    layer = Layer("n", (64, 40, 40), (synapse,), np.zeros(64, np.int32), 3000, 2048)
    program = Program((16, 40, 40), 1, (layer,), "spikes")
    frames = (rng.random((1, 20, 16, 40, 40)) < share).astype(np.uint8)
    calls: list[int] = []
    update = layers.update_neurons

    def counted(*given: object) -> None:
        calls.append(1)
        update(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(layers, "update_neurons", counted)
    cut = Simulator(program, threads=1).run(frames)
    assert len(calls) > 2  # two blocks of steps
    monkeypatch.setattr(layers, "BAND_BYTES", 2**40)
    assert_same(Simulator(program, threads=1).run(frames), cut)
