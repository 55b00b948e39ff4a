"""Tests of advice: the changes that a misfit is told to make, and that they help."""

from dataclasses import replace

import pytest

from tmkt.deploy.fit.advice import advise, weight_bits
from tmkt.deploy.fit.device import Device, load_device
from tmkt.deploy.fit.network import Connection, Network, Population, from_recipe
from tmkt.deploy.fit.place import place
from tmkt.recipe import NetworkRecipe

LOIHI1, LOIHI2 = load_device("loihi1"), load_device("loihi2")
WIDE = [64, 128, 256, 256, 512, 512, 512, 512]


def vgg(pools: list[int]) -> Network:
    return from_recipe(NetworkRecipe(channels=WIDE, strides=[1] * 8, pools=pools), (2, 48, 48), 10)


def test_a_wide_layer_behind_a_pool_does_not_fit_and_a_stride_makes_it_fit() -> None:
    network = vgg([1, 2, 1, 2, 1, 2, 1, 1])
    network = replace(
        network, layers=network.layers[:-1]
    )  # its read-out of 18,432 inputs is a misfit of its own
    placement = place(network, LOIHI2)
    assert [(p.layer.name, p.over) for p in placement.misfits] == [("conv7", ("synapse memory",))]
    assert placement.misfits[0].used["synapse memory"] == 6 * 6 * 512
    changes, changed = advise(placement)
    assert [(c.layer, c.text, c.weights_lost) for c in changes] == [
        ("conv7", "conv7: stride 2 instead of pooling conv6 by 2", 0.0)
    ]
    assert changed is not None
    assert changed.fits()
    assert [p.layer.shape for p in changed.layers] == [p.layer.shape for p in placement.layers]


def test_a_dense_layer_of_a_pooled_map_gets_a_stride_before_it() -> None:
    network = Network(
        (2, 48, 48),
        (
            Population(
                "conv1", (256, 12, 12), (Connection("input", "conv", (3, 3), (4, 4), (1, 1)),)
            ),
            Population("readout", (10,), (Connection("conv1", "dense", pool=2),)),
        ),
    )
    placement = place(network, LOIHI2)
    changes, changed = advise(placement)
    assert [c.text for c in changes] == ["conv1: stride 8 instead of pooling it by 2"]
    assert changed is not None
    assert changed.by_name["conv1"].layer.shape == (256, 6, 6)


def test_fewer_channels_are_the_most_that_fit() -> None:
    layers = (
        Population("conv1", (2000, 4, 4), (Connection("input", "conv", (3, 3), padding=(1, 1)),)),
        Population("conv2", (8, 4, 4), (Connection("conv1", "conv", (3, 3), padding=(1, 1)),)),
    )
    changes, changed = advise(place(Network((2, 4, 4), layers), LOIHI2))
    assert [c.text for c in changes] == ["conv1: 1333 channels instead of 2000"]
    assert 0.3 < changes[0].weights_lost < 0.34
    assert changed is not None


def test_longer_delays_than_the_chips_are_shortened() -> None:
    network = Network(
        (10,), (Population("l", (10,), (Connection("input", "dense", delay_steps=100),)),)
    )
    changes, changed = advise(place(network, LOIHI2))
    assert [c.text for c in changes] == ["l: synaptic delays of at most 62 steps"]
    assert changed is not None


def test_too_many_chips_shrink_the_network() -> None:
    network = vgg([1, 2, 1, 2, 1, 1, 1, 1])
    network = replace(network, layers=network.layers[:-1])
    placement = place(network, LOIHI2)
    assert placement.fits()
    assert not placement.fits(chips=3)
    changes, changed = advise(placement, chips=3)
    assert [c.layer for c in changes] == [None]
    assert 0 < changes[0].weights_lost < 1
    assert changed is not None
    assert changed.chips <= 3


def test_what_no_change_mends_is_not_given_advice() -> None:
    layer = Population("l", (10,), (Connection("input", "dense"),))
    placement = place(
        Network((20_000,), (layer,)), LOIHI2
    )  # more inputs than a core has axons; nothing before it can change
    assert placement.misfits
    assert advise(placement) == ([], None)


def test_weights_are_counted_once_whatever_the_pooling() -> None:
    network = from_recipe(
        NetworkRecipe(channels=[4, 8], strides=[1, 1], pools=[2, 2]), (2, 16, 16), 10
    )
    assert weight_bits(network) == 8 * (4 * 2 * 9 + 8 * 4 * 9 + 10 * 8 * 4 * 4)


@pytest.mark.parametrize("device", [LOIHI1, LOIHI2], ids=lambda device: device.name)
def test_a_network_that_fits_gets_none(device: Device) -> None:
    network = from_recipe(
        NetworkRecipe(channels=[4, 8], strides=[1, 1], pools=[2, 2]), (2, 16, 16), 10
    )
    assert advise(place(network, device)) == ([], None)
