"""Set-up of a training: its data, its network and the parts of its method."""

from pathlib import Path

import torch

from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe
from tmkt.runs import Run
from tmkt.train.data import TrainingData
from tmkt.train.methods.base import Method
from tmkt.train.methods.registry import METHODS
from tmkt.train.qat.training import calibration_source, check_same_data, start_on_integers
from tmkt.train.source import load_source


def read_source(
    recipe: Recipe,
    data: Path | TrainingData | None,
    static: Path | None,
    start: Run | None,
    test: Path | None,
) -> TrainingData:
    """Read the data of a training, whatever it starts from and is given (`train`)."""
    if start is None and recipe.qat.bits:
        found = f"qat.bits = {recipe.qat.bits!r}"
        raise InputError(
            f"{found}: training on integers goes on from a finished run; leave it out, then: tmkt"
            " train RUN --qat BITS"
        )
    if isinstance(data, TrainingData):
        return data
    images_alone = not METHODS[recipe.method.name].needs_recordings and static is not None
    if start is not None and data is None and not images_alone:
        return calibration_source(start)
    source = load_source(recipe, data, static, test)
    if start is not None:
        check_same_data(source, start, data or static)
    return source


def make_network(
    recipe: Recipe, source: TrainingData, start: Run | None, with_data: bool
) -> tuple[SpikingNetwork, Method]:
    """Make the network and the parts of its method; `train.seed` draws the weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.train.seed)
        if start is not None:
            return start_on_integers(recipe, start, with_data or source.simulated is not None)
        net = SpikingNetwork(recipe.network, (2, *source.sensor), len(source.classes))
        return net, METHODS[recipe.method.name](recipe.method, net, recipe.data.bins)
