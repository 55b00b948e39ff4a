"""Tests of untrained networks: every family's fit has the layers and the integers of its
export.
"""

from unittest import mock

import numpy as np
import pytest
from example_networks import make_frames

from tmkt.datasets.decoded import known_shape
from tmkt.datasets.registry import dataset
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.network import Network, from_program, from_recipe
from tmkt.deploy.fit.report import fit
from tmkt.export.quantise.quantise import quantise
from tmkt.networks import SpikingNetwork, resnet, vgg
from tmkt.nir.from_network import network_to_nir
from tmkt.nir.lower import lower
from tmkt.nir.order import order
from tmkt.program.model import Program
from tmkt.program.weight_grid import WeightGrid
from tmkt.recipe import NetworkRecipe, load_recipe
from tmkt.train import RECIPES

# One recipe for each network, and none whose network or classes only a run or a folder tells
SHIPPED = sorted(
    {
        f"{recipe.network.model_copy(update={'norm': 'whole'})} {recipe.data.name}": path.stem
        for path in sorted(RECIPES.glob("*.toml"))
        if dataset((recipe := load_recipe(path.stem, RECIPES)).data.name).classes
    }.values()
)
SMALL = {
    "small": (NetworkRecipe(channels=[4, 6, 8], strides=[1, 2, 1], pools=[2, 1, 2]), (2, 35, 33)),
    "vggsnn": (NetworkRecipe(name="vggsnn"), (2, 35, 33)),
    "resnet18": (NetworkRecipe(name="resnet18"), (2, 13, 14)),
    "sew-resnet18": (NetworkRecipe(name="sew-resnet18", channels=[4, 5, 6, 8]), (2, 17, 19)),
    "scnn": (NetworkRecipe(name="scnn"), (2, 26, 24)),
}


def exported(recipe: NetworkRecipe, shape: tuple[int, int, int], classes: int) -> Program:
    """Quantise an untrained network; weights go to their nearest levels, for speed."""
    graph = network_to_nir(SpikingNetwork(recipe, shape, classes).eval())
    grids = {}
    for layer in lower(order(graph)):
        largest = max(float(np.abs(weight).max()) for weight in layer.weights)
        grids[layer.name] = WeightGrid(8, 2, int(254 / largest))
    program, _ = quantise(graph, shape, 1, make_frames(1, 2, shape), 8, grids)
    return program


def assert_same_fit(recipe: Network, program: Network) -> None:
    assert recipe == program
    for name in ("loihi1", "loihi2"):
        device = load_device(name)
        assert fit(recipe, device) == fit(program, device)


@pytest.mark.parametrize("family", SMALL)
def test_a_recipe_of_every_family_is_placed_as_the_bundle_of_its_untrained_network(
    family: str,
) -> None:
    recipe, shape = SMALL[family]
    narrow = (4, 5, 6, 8)
    with (
        mock.patch.object(vgg, "VGGSNN_CHANNELS", (*narrow, *narrow)),
        mock.patch.object(resnet, "STAGES", narrow),
    ):
        program, network = exported(recipe, shape, 4), from_recipe(recipe, shape, 4)
    assert len(network.layers) > 3
    assert_same_fit(network, from_program(program))
    assert (network.relay_neurons != 0) == ("resnet" in family)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_has_the_layers_of_its_export(name: str) -> None:
    recipe = load_recipe(name, RECIPES)
    sensor, classes = known_shape(recipe.data)
    network = from_recipe(recipe.network, (2, *sensor), classes)
    program = exported(recipe.network, (2, *sensor), classes)
    assert [layer.name for layer in network.layers] == [layer.name for layer in program.layers]
    assert network == from_program(program)
