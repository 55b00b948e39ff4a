"""A finished run of a backbone becomes an entry of the zoo, and equal runs give equal entries."""

import importlib.util
import shlex
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from example_datasets import write_colour

from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.recipe import load_recipe, parse_recipe
from tmkt.runs import Run
from tmkt.train import RECIPES
from tmkt.train.trainer import train
from tmkt.zoo.backbone import load_backbone
from tmkt.zoo.card import names

BENCH = Path(__file__).parent
ABOUT = BENCH / "zoo-caltech101.toml"
TINY: dict[str, dict[str, Any]] = {
    "data": {"name": "images", "width": 12, "height": 12, "bins": 3, "bin_us": 20000},
    "network": {"channels": [4, 8], "strides": [1, 1], "pools": [2, 2]},
    "static": {"encoding": "simulated"},
    "method": {"name": "static-only"},
    "train": {"steps": 2, "batch": 6, "warmup_steps": 1, "threads": 1, "seed": 3},
}


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("zoo_script", BENCH / "zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("photographs")
    for c, name in enumerate(("ant", "bee", "cat")):
        for i in range(10):
            write_colour(root / name / f"{i}.png", (20 + i, 30 - i), 100 * c + i)
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    return train(parse_recipe(TINY, "test"), None, root, folder)


def test_an_entry_holds_the_blocks_and_the_figures_of_its_run(
    script: Any, run: Run, tmp_path: Path
) -> None:
    card = script.add(run, "tiny", script.load_about(ABOUT), tmp_path)
    backbone = load_backbone("tiny", tmp_path)
    state = run.load_network().state_dict()
    assert {name for name in state if name not in backbone.tensors} == {"head.weight", "head.bias"}
    assert all(torch.equal(state[name], tensor) for name, tensor in backbone.tensors.items())
    blocks = SpikingNetwork(run.recipe.network, (2, 12, 12), 1).blocks
    assert card.weights.parameters == sum(one.numel() for one in blocks.parameters())
    test = run.info["test"]
    assert (card.held_out.samples, card.held_out.accuracy) == (test["samples"], test["accuracy"])
    assert card.data.images == run.info["images"] > 0
    assert card.training.machine.versions == run.info["versions"]
    _, _, recipe, *options = shlex.split(card.training.command)
    assert options[:2] == ["--static", "101_ObjectCategories"]
    settings = [word for before, word in pairwise(options) if before == "--set"]
    assert load_recipe(recipe, RECIPES, settings) == run.recipe
    cost = card.cost
    assert cost.neurons == 4 * 12 * 12 + 8 * 6 * 6 + 3
    assert cost.weights == 2 * 4 * 9 + 4 * 8 * 9 + 8 * 9 * 3
    assert cost.head_flash_bytes == 8 * 9 * 4 + 2 * 3  # a word holds four weights
    # a word holds four weights, of the head three; biases; the table of the lowest bit
    assert cost.flash_bytes == 2 * 4 * 9 + 4 * 8 * 9 + 8 * 9 * 4 + 2 * (4 + 8 + 3) + 32
    assert [(chip.device, chip.fits) for chip in cost.chips] == [("loihi1", True), ("loihi2", True)]
    assert {found.device for found in cost.energy} >= {"loihi1", "loihi2"}
    assert all(found.low_j <= found.energy_j <= found.high_j for found in cost.energy)


def test_the_same_run_gives_the_same_bytes_and_nothing_is_replaced(
    script: Any, run: Run, tmp_path: Path
) -> None:
    about = script.load_about(ABOUT)
    for folder in ("a", "b"):
        script.add(run, "tiny", about, tmp_path / folder)
    for file in ("tiny.json", "tiny.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    with pytest.raises(InputError, match=r"tiny\.json: exists; remove card and weights first"):
        script.add(run, "tiny", about, tmp_path / "a")
    with pytest.raises(InputError, match="expected lower-case letters"):
        script.add(run, "../tiny", about, tmp_path)
    assert names(tmp_path) == []


def test_a_run_that_has_seen_recordings_is_refused(script: Any, run: Run, tmp_path: Path) -> None:
    seen = Run(run.path, run.recipe, {**run.info, "trained_on": ["a recording"]})
    with pytest.raises(InputError, match="learned from 1 recorded instances"):
        script.add(seen, "tiny", script.load_about(ABOUT), tmp_path)
    assert not any(tmp_path.iterdir())
