"""Products on tiles, as Intel's matrix unit (AMX) computes them. Where there is none, plain loops
stand for its instructions.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from plain_program import assert_equals_plain

from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator import layers, synapses, tiles
from tmkt.program.simulator.listing import Shape
from tmkt.program.simulator.simulator import Simulator


def convolution(
    inputs: int, outputs: int, side: int, kernel: int, padding: int, pool: int, **more: Any
) -> Program:
    groups, max_count = more.get("groups", 1), more.get("max_count", 1)
    rng = np.random.default_rng(inputs + side)
    most = more.get("weight", 127)
    weight = rng.integers(-most, most + 1, (outputs, inputs // groups, kernel, kernel))
    synapse = Synapse(
        INPUT,
        "conv",
        (2 * weight).astype(np.int16),
        padding=(padding, padding),
        pool=pool,
        groups=groups,
    )
    out = side + 2 * padding - kernel + 1
    bias = rng.integers(-500, 500, outputs).astype(np.int32)
    layer = Layer("n", (outputs, out, out), (synapse,), bias, 3000, 2048)
    return Program((inputs, side * pool, side * pool), max_count, (layer,), "spikes")


PROGRAMS = {
    "several tiles": convolution(64, 96, 9, 3, 1, 1),
    "one position": convolution(64, 32, 3, 3, 0, 1),
    "padding wider than the source": convolution(64, 32, 2, 5, 2, 1),
    "no padding": convolution(64, 32, 7, 3, 0, 1),
    "kernel of one": convolution(128, 32, 6, 1, 0, 1),
    "rows of inputs that fill parts together": convolution(32, 32, 5, 2, 0, 1),
    "rows that fill no part": convolution(16, 64, 6, 3, 1, 1),
    "rows that end within a part": convolution(30, 32, 4, 3, 1, 2),
    "two inputs": convolution(2, 32, 6, 3, 1, 1),
    "behind pools": convolution(64, 64, 4, 3, 1, 2),
    "two groups": convolution(128, 128, 5, 3, 1, 1, groups=2),
    "counts": convolution(64, 32, 5, 3, 1, 1, max_count=100, weight=50),
    "sums of counts, in two digits": convolution(64, 32, 4, 3, 1, 2, max_count=200, weight=9),
}


@pytest.mark.parametrize("bytes_of_sums", [1, 2**40], ids=["in bands", "whole"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_tiles_give_what_the_plain_program_gives(
    name: str, bytes_of_sums: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = PROGRAMS[name]
    monkeypatch.setattr(synapses, "dense_from", lambda _: 0)
    monkeypatch.setattr(synapses, "in_tiles", tiles.fits)
    monkeypatch.setattr(layers, "BAND_BYTES", bytes_of_sums)
    simulator = Simulator(program, threads=1)
    assert all(group.in_tiles for group in simulator._layers[0].paths[0].groups)
    rng = np.random.default_rng(0)
    shape = (2, 3, *program.input_shape)
    spikes = rng.random(shape) < 0.2
    frames = (spikes * rng.integers(1, program.max_count + 1, shape)).astype(np.uint8)
    frames[0, 1] = 0  # a step of nothing
    assert_equals_plain(simulator.run(frames), program, frames)


def test_extreme_sums_are_exact() -> None:
    """The greatest values times the weights of either end, over a window of 6400 inputs."""
    for weight in (-128, 127):
        program = convolution(256, 32, 5, 5, 0, 1, max_count=100, weight=1)
        [group] = synapses.groups_of(program, program.layers[0], program.layers[0].synapses[0], 1)
        group = replace(group, in_tiles=True)
        group.packed[:] = weight
        sums = np.zeros((1, 32), np.int32)
        values = np.full((1, 25 * 256), 100, np.uint8)
        group.take_all(values, False)(0, False, sums, np.zeros((1, 1, 0), np.uint8))
        np.testing.assert_array_equal(sums, 2 * 100 * weight * 25 * 256)


def test_neighbours_keep_their_sums() -> None:
    """Nothing is written beyond the sums of a group, neither of other channels nor behind the last
    position.
    """
    program = convolution(64, 64, 5, 3, 1, 1)
    [group] = synapses.groups_of(program, program.layers[0], program.layers[0].synapses[0], 1)
    shape = group.shape._replace(first_output=32, outputs=32, channels=96)
    memory = np.full(26 * 96 + 64, 7, np.int32)
    ones = np.ones((1, 25 * 64), np.uint8)
    take = replace(group, shape=shape, in_tiles=True).take_all(ones, False)
    take(0, True, memory[np.newaxis, : 25 * 96], np.zeros((1, 25, 0), np.uint8))
    at = memory[: 25 * 96].reshape(25, 96)
    assert np.all(at[:, :32] == 7)
    assert np.all(at[:, 64:] == 7)
    assert np.all(memory[25 * 96 :] == 7)
    assert np.all(at[:, 32:64] != 7)


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, True),
        ({"stride_x": 2}, False),
        ({"dilation_y": 2}, False),
        ({"inputs": 30}, True),
        ({"outputs": 48}, False),
    ],
)
def test_what_does_not_lie_in_tiles_is_left_to_vectors(
    changed: dict[str, int], expected: bool
) -> None:
    program = PROGRAMS["several tiles"]
    [group] = synapses.groups_of(program, program.layers[0], program.layers[0].synapses[0], 1)
    assert tiles.fits(Shape(**{**group.shape._asdict(), **changed})) is expected


@pytest.mark.skipif(not tiles.may_use(), reason="no matrix unit here, or no permission")
def test_large_layers_are_multiplied_on_the_unit() -> None:
    program = convolution(256, 256, 12, 3, 1, 1)
    [group] = synapses.groups_of(program, program.layers[0], program.layers[0].synapses[0], 1)
    assert group.in_tiles
