"""Tests of placement: limits hold, memory is as counted by hand, spreading is faster, descriptions
agree.
"""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from example_networks import make_frames, make_network
from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import programs

from tmkt.cli.fit import _open as open_target
from tmkt.deploy.fit.device import Device, load_device
from tmkt.deploy.fit.memory import index_bits, list_words, neurons, synapse_words
from tmkt.deploy.fit.network import (
    Connection,
    Network,
    Population,
    from_nir,
    from_program,
    from_recipe,
    volume,
)
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.placement import capacity
from tmkt.deploy.fit.traffic import expected
from tmkt.errors import InputError
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.nir import write_nir
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import Layer, Program, Synapse
from tmkt.recipe import NetworkRecipe, Recipe, load_recipe
from tmkt.recipe.file import dump_recipe
from tmkt.runs import RECIPE
from tmkt.train import RECIPES

LOIHI1, LOIHI2 = load_device("loihi1"), load_device("loihi2")
NMNIST = from_recipe(
    NetworkRecipe(channels=[16, 32, 32], strides=[1, 1, 1], pools=[2, 2, 2]), (2, 34, 34), 10
)


@pytest.mark.parametrize("device", [LOIHI1, LOIHI2], ids=lambda device: device.name)
@settings(max_examples=15, deadline=None)
@given(programs(temporal=True), st.integers(16, 200))
def test_every_neuron_is_on_one_core_and_no_limit_is_broken(
    device: Device, program: Program, most: int
) -> None:
    placement = place(
        from_program(program), replace(device, limits=replace(device.limits, neurons=most))
    )
    held = capacity(placement.device)
    for placed in placement.layers:
        shape = volume(placed.layer.shape)
        assert all(
            (cores - 1) * size < n <= cores * size
            for cores, size, n in zip(placed.core_grid, placed.tile, shape, strict=True)
        )
        assert neurons(placed.tile) <= most
        assert not placed.over
        assert all(placed.used[name] <= limit for name, limit in held.items())
    assert [placed.first_core for placed in placement.layers] == list(
        np.cumsum([0, *(placed.cores for placed in placement.layers)])[:-1]
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_loihi_1_memory_is_that_of_counting_every_list(data: st.DataObject) -> None:
    """Without sharing: one list a source neuron, of its synapses in the tile; in blocks
    of 64 weights.
    """
    channels, out, pool = (
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(1, 5)),
        data.draw(st.sampled_from([1, 2])),
    )
    kernel, stride, padding = (
        data.draw(st.integers(1, 3)),
        data.draw(st.integers(1, 2)),
        data.draw(st.integers(0, 1)),
    )
    size = data.draw(st.integers(kernel * pool, 9))
    rows = (size // pool + 2 * padding - kernel) // stride + 1
    layer = Population(
        "l",
        (out, rows, rows),
        (Connection("input", "conv", (kernel,) * 2, (stride,) * 2, (padding,) * 2, pool=pool),),
    )
    tile = (
        data.draw(st.sampled_from([n for n in range(1, out + 1) if out % n == 0])),
        data.draw(st.integers(1, rows)),
        data.draw(st.integers(1, rows)),
    )
    found = synapse_words(
        Network((channels, size, size), (layer,)), layer, tile, "none", LOIHI1.limits
    )
    words = {}
    for y, x, c, o, oy, ox in product(
        range(size), range(size), range(channels), range(out), range(rows), range(rows)
    ):
        inside = y // pool < size // pool and x // pool < size // pool
        tap = (y // pool + padding - oy * stride, x // pool + padding - ox * stride)
        if inside and all(0 <= t < kernel for t in tap):
            core = (o // tile[0], oy // tile[1], ox // tile[2])
            words.setdefault(core, {}).setdefault((c, y, x), []).append(o)
    bits = 8 + index_bits(tile)
    expected_words = max(
        (sum(list_words(len(n), bits, 64) for n in core.values()) for core in words.values()),
        default=0,
    )
    assert found == expected_words


def test_a_kernel_shared_by_border_patterns_is_stored_once_a_pattern() -> None:
    """3 x 3 at stride 1: source positions over a tile that has neighbours on all sides meet 1, 2,
    3, 2 or 1 of the taps along an axis, (2 K - 1)^2 patterns that hold (K^2)^2 taps in all.
    """
    layer = Population("l", (1, 24, 24), (Connection("input", "conv", (3, 3), padding=(1, 1)),))
    taps = [a * b for a, b in product([1, 2, 3, 2, 1], repeat=2)]
    assert (len(taps), sum(taps)) == (25, 81)
    found = synapse_words(
        Network((1, 24, 24), (layer,)), layer, (1, 8, 8), "patterns", LOIHI1.limits
    )
    assert found == sum(list_words(n, 8 + 6, 64) for n in taps)  # 64 neurons: an index of 6 bits


def test_the_fan_in_that_a_loihi_2_core_holds() -> None:
    """A kernel takes K_y * K_x * C_in words at least, pooling unrolled: 3 x 3 up to 1333 channels
    of 12,000 words, 6 x 6 up to 333.
    """
    for pool, most in ((1, 1333), (2, 333)):
        for channels, fits in ((most, True), (most + 1, False)):
            layer = Population(
                "l", (8, 4, 4), (Connection("input", "conv", (3, 3), padding=(1, 1), pool=pool),)
            )
            assert place(Network((channels, 4 * pool, 4 * pool), (layer,)), LOIHI2).fits() == fits


def test_loihi_1_places_the_nmnist_network() -> None:
    network = from_recipe(
        NetworkRecipe(channels=[16, 32, 32], strides=[1, 1, 1], pools=[2, 2, 2]), (2, 34, 34), 10
    )
    best = place(network, LOIHI1)
    assert best.cores <= 128
    assert best.by_name["conv1"].used["axons out"] <= 4096
    assert place(network, LOIHI1, "none").cores > 128  # two chips


def test_delays_and_wide_weights_are_limits_too() -> None:
    def network(**settings: int) -> Network:
        return Network(
            (100,), (Population("l", (100,), (Connection("input", "dense", **settings),)),)
        )

    assert place(network(delay_steps=62), LOIHI2).fits()
    assert place(network(delay_steps=63), LOIHI2).layers[0].over == ("delay",)
    assert place(network(weight_bits=9), LOIHI2).layers[0].over == ("weight bits",)
    plain, delayed = (
        place(network(delay_steps=steps), LOIHI2).layers[0].used["synapse memory"]
        for steps in (0, 62)
    )
    assert (
        delayed
        == 100 * math.ceil((100 * 21 + 10) / 64)
        > plain
        == 100 * math.ceil((100 * 15 + 10) / 64)
    )


@pytest.mark.parametrize("device", [LOIHI1, LOIHI2], ids=lambda device: device.name)
def test_spreading_over_more_cores_keeps_the_limits_and_shortens_the_busiest_core(
    device: Device,
) -> None:
    few = place(NMNIST, device)
    for cores in (few.cores, few.cores + 1, 2 * few.cores, 128):
        spread = place(NMNIST, device, cores=cores)
        assert few.cores <= spread.cores <= cores
        assert spread.fits()
        busiest = [expected(p, 0.05).synops["conv"].max() for p in (few, spread)]
        assert busiest[1] <= busiest[0]
    assert busiest[1] < 0.7 * busiest[0]


def test_known_rates_decide_what_is_spread() -> None:
    quiet = {"input": 0.0, "conv1": 0.0, "conv2": 0.5, "conv3": 0.0}
    spread = place(NMNIST, LOIHI2, cores=40, rates=quiet)
    few = place(NMNIST, LOIHI2)
    assert spread.by_name["conv3"].cores > few.by_name["conv3"].cores
    assert spread.by_name["conv2"].cores == few.by_name["conv2"].cores


def test_a_recipe_a_nir_file_and_the_program_describe_one_network(tmp_path: Path) -> None:
    shape, channels, strides, pools = (2, 35, 33), (4, 6, 8), (1, 2, 1), (2, 1, 2)
    recipe = NetworkRecipe(channels=list(channels), strides=list(strides), pools=list(pools))
    graph = network_to_nir(make_network(shape, channels, strides, pools))
    program, _ = quantise(graph, shape, 1, make_frames(4, 5, shape))
    write_nir(graph, tmp_path / "network.nir")
    exported = from_program(program)
    assert from_recipe(recipe, shape, 10) == exported
    assert from_nir(tmp_path / "network.nir") == exported


def test_the_bits_of_a_training_on_integers_are_those_that_are_placed(tmp_path: Path) -> None:
    recipe = load_recipe("digits", RECIPES, ["qat.bits=4,readout=8"])
    bits = [layer.connections[0].weight_bits for layer in open_untrained(tmp_path, recipe)]
    assert bits == [4, 4, 4, 8]
    recipe = load_recipe("digits", RECIPES)
    assert {layer.connections[0].weight_bits for layer in open_untrained(tmp_path, recipe)} == {8}


def open_untrained(folder: Path, recipe: Recipe) -> tuple[Population, ...]:
    """Open a run that has its recipe and nothing else, as `tmkt fit` does."""
    (folder / RECIPE).write_text(dump_recipe(recipe))
    network, _ = open_target(str(folder))
    return network.layers


def test_weight_bits_are_those_that_the_integers_need() -> None:
    for weights, bits in (
        ([-254, 2], 8),
        ([127, 1], 8),
        ([64, -64], 2),
        ([32, 96], 3),
        ([0, 0], 1),
        ([-12, 4], 3),
    ):
        synapse = Synapse("input", "dense", np.array([weights], np.int16))
        layer = Layer("l", (1,), (synapse,), np.zeros(1, np.int32), 1, 0, fires=False)
        program = Program((2, 1, 1), 1, (layer,), "membrane")
        assert from_program(program).layers[0].connections[0].weight_bits == bits, weights


def test_synapses_of_a_layer_on_different_grids_need_no_bit_more() -> None:
    """254 is 127 on the grid of 2, 121 one on the grid of 1; both fit 8 bits."""
    synapses = tuple(
        Synapse("input", "dense", np.array([[weight, -weight]], np.int16)) for weight in (254, 121)
    )
    layer = Layer("l", (1,), synapses, np.zeros(1, np.int32), 1, 0, fires=False)
    program = Program((2, 1, 1), 1, (layer,), "membrane")
    connections = from_program(program).layers[0].connections
    assert [connection.weight_bits for connection in connections] == [8, 8]


def test_a_recipe_that_leaves_nothing_is_refused_in_one_line() -> None:
    with pytest.raises(InputError, match="leave nothing"):
        from_recipe(NetworkRecipe(channels=[4, 4], strides=[4, 4], pools=[4, 4]), (2, 34, 34), 10)
