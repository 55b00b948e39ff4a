"""Recipes of papers' sets take these as they are published, up to their size."""

import json
from pathlib import Path

import pytest
from example_datasets import write_cepdvs, write_cifar10dvs, write_gesture_official

from tmkt.datasets.cepdvs import CLASSES
from tmkt.recipe import load_recipe
from tmkt.runs import INFO
from tmkt.train import RECIPES
from tmkt.train.trainer import train

# A network and a training that take a second; the data are read as the recipe says.
TINY = [
    "network.name=small",
    "network.norm=whole",
    "network.channels=[2]",
    "network.strides=[4]",
    "network.pools=[2]",
    "train.steps=2",
    "train.batch=4",
    "train.threads=1",
]
CEPDVS = [*TINY, "data.protocol=instance-disjoint"]  # the published split takes 250 of a class
SETS = {
    "cifar10dvs-tet": (TINY, 90, 10),
    "dvsgesture-tet": (TINY, 22, 11),
    "cepdvs-tet": (CEPDVS, 20, 20),
    "cepdvs-tmkt": (CEPDVS, 20, 20),
    "cepdvs-ckd": ([*CEPDVS, "method.teacher_steps=2", "method.teacher_width=2"], 20, 20),
}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_cifar10dvs(root / "cifar10dvs", 10)
    write_gesture_official(root / "dvsgesture", [1, 23, 24])
    write_cepdvs(root / "cepdvs", list(CLASSES), 2)
    return root


@pytest.mark.parametrize("name", SETS)
def test_a_recipe_trains_on_its_set(published: Path, tmp_path: Path, name: str) -> None:
    settings, trained, tested = SETS[name]
    recipe = load_recipe(name, RECIPES, settings)
    data = published / recipe.data.name
    static = data if recipe.method.name != "target-only" else None
    train(recipe, data, static, tmp_path / "run")
    info = json.loads((tmp_path / "run" / INFO).read_text())
    assert info["recordings"] == {"train": trained, "test": tested}
    assert bool(info["images"]) == (static is not None)
