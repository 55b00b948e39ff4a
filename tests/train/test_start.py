"""Tests of trainings that start from a trained network; test_frozen.py has those of its head."""

from pathlib import Path
from typing import Any

import pytest
import torch
from example_backbone import tiny_recipe
from example_sessions import write_session
from safetensors.torch import load_file, save_file

from tmkt.datasets.splits import from_ranges
from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.runs import MODEL, load_run
from tmkt.train.qat.training import qat_recipe
from tmkt.train.start import load_blocks, load_init, with_init
from tmkt.train.trainer import train
from tmkt.zoo.backbone import backbone_of
from tmkt.zoo.card import names


def _blocks(path: Path) -> dict[str, torch.Tensor]:
    return {k: v for k, v in load_file(path / MODEL).items() if k.startswith("blocks.")}


def test_a_training_starts_with_the_blocks_of_a_run_and_a_head_of_its_own(
    digits: Path, backbone: Path, tmp_path: Path
) -> None:
    still = {"learning_rate": 1e-30, "steps": 1}
    seeded = {seed: {**still, "seed": seed} for seed in (1, 2)}
    for seed, values in seeded.items():
        # The input's size, its time and the method may differ.
        data = {"bins": 3, "width": 30, "height": 32}
        run = train(
            tiny_recipe(backbone, train=values, data=data), digits, None, tmp_path / str(seed)
        )
        assert run.recipe.network == load_run(backbone).recipe.network
        assert run.info["init"] == {
            "name": str(backbone),
            "sha256": backbone_of(load_run(backbone)).sha256,
        }
        for name, tensor in _blocks(backbone).items():
            if "running" not in name and "tracked" not in name:
                assert torch.equal(load_file(run.path / MODEL)[name], tensor), name
    heads = [load_file(tmp_path / str(seed) / MODEL)["head.weight"] for seed in seeded]
    assert heads[0].shape == heads[1].shape == (10, 8 * 4 * 3)
    assert not torch.equal(heads[0], heads[1])
    torch.manual_seed(1)
    fresh = SpikingNetwork(load_run(backbone).recipe.network, (2, 32, 30), 10).head.weight
    torch.testing.assert_close(heads[0], fresh)


@pytest.mark.parametrize(
    ("network", "complaint"),
    [
        ({"channels": [4, 6]}, r"network.channels = \[4, 8\], the recipe has \[4, 6\]"),
        ({"pools": [2, 1]}, r"network.pools = \[2, 2\]"),
        ({"tau": 3.0}, r"network.tau = 2.0, the recipe has 3.0"),
        ({"surrogate": "atan"}, r"network.surrogate = 'triangle'"),
        ({"channels": [], "strides": [], "pools": [], "name": "scnn"}, r"network.name = 'small'"),
    ],
)
def test_another_network_than_that_of_the_start_is_refused(
    digits: Path, backbone: Path, tmp_path: Path, network: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        train(tiny_recipe(backbone, network=network), digits, None, tmp_path / "run")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "run").exists()


def test_a_block_that_depends_on_the_inputs_size_is_refused_for_another_size(
    digits: Path, tmp_path: Path
) -> None:
    scnn = {"name": "scnn", "channels": [], "strides": [], "pools": []}
    train(tiny_recipe("", network=scnn, train={"steps": 1}), digits, None, tmp_path / "scnn")
    recipe = tiny_recipe(tmp_path / "scnn", data={"width": 28, "height": 28}, train={"steps": 1})
    with pytest.raises(
        InputError, match=r"blocks.2.linear.weight is 300x1000, for inputs of 34x34, .* 300x640"
    ):
        train(recipe, digits, None, tmp_path / "other")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"train": {"freeze": True}}, "freeze = True is for a network that starts from"),
        ({"train": {"head_share": 0.5}}, "head_share = 0.5 is for a network that starts from"),
        ({"train": {"init_statistics": "blend"}}, "init_statistics = 'blend' is for"),
        ({"train": {"init": "x"}, "network": {"name": "init"}}, "leave the others out"),
        ({}, "no train.init to take the network from"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(
    changes: dict[str, dict[str, Any]], complaint: str
) -> None:
    if "train" in changes and "network" not in changes:
        changes = {**changes, "network": {}}
    with pytest.raises(InputError, match=complaint):
        tiny_recipe("", **changes)


def test_a_training_is_not_resumed_from_other_weights(
    digits: Path, backbone: Path, tmp_path: Path
) -> None:
    start = tmp_path / "start"
    start.mkdir()
    for file in backbone.glob("*.*"):
        if file.is_file():
            (start / file.name).write_bytes(file.read_bytes())

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    recipe = tiny_recipe(start, train={"steps": 51})
    with pytest.raises(KeyboardInterrupt):
        train(recipe, digits, None, tmp_path / "run", progress=lambda n, *_: n == 50 and stop())
    tensors = load_file(start / MODEL)
    tensors["blocks.0.bn.bias"] += 1.0
    save_file(tensors, start / MODEL)
    with pytest.raises(InputError, match=r"was trained with train.init_sha256 = "):
        train(recipe, digits, None, tmp_path / "run", resume=True)
    known = tiny_recipe(start, train={"init_sha256": backbone_of(load_run(backbone)).sha256})
    with pytest.raises(InputError, match=r"its weights have SHA-256 .*, expected .* says"):
        load_init(known)


def test_what_is_no_run_is_no_start(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"train.init = '.*nothing': neither the folder of a .* run"
    ):
        load_init(tiny_recipe(tmp_path / "nothing"))


def test_what_the_start_was_trained_on_is_not_tested(
    digits: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = set(load_run(backbone).info["trained_on"])
    run = train(tiny_recipe(backbone, train={"seed": 3}), digits, None, tmp_path / "run")
    own = set(run.info["trained_on"])
    assert seen - own, "the seed draws the same recordings"
    assert run.info["recordings"]["test"] == 40 - len(seen | own)
    assert from_ranges(run.info["images_trained_on"]) == seen
    assert f"{len(seen - own)} of 30 test recordings are left out" in capsys.readouterr().err


def test_own_recordings_of_another_folder_are_tested_though_their_names_are_the_same(
    tmp_path: Path,
) -> None:
    own = {"name": "folders", "bin_us": 12500, "shots": 1}
    session, other = (write_session(tmp_path / str(n), ["a", "b"], 3, n) for n in (1, 2))
    start = tmp_path / "start"
    train(tiny_recipe(data=own, network={}, train={"batch": 2}), session, None, start)
    changes = {"data": own, "train": {"batch": 2, "seed": 3}}
    runs = {
        data: train(tiny_recipe(start, **changes), data, None, tmp_path / f"{data.name}-run")
        for data in (session, other)
    }
    seen = set(load_run(start).info["trained_on"])
    assert seen - set(runs[session].info["trained_on"]), "the seed draws the same recordings"
    assert runs[session].info["recordings"]["test"] < 4
    assert seen <= from_ranges(runs[session].info["images_trained_on"])
    assert runs[other].info["recordings"]["test"] == 4


@pytest.mark.parametrize("name", names())
def test_every_backbone_of_the_zoo_starts_a_training(name: str) -> None:
    recipe = tiny_recipe(name)
    found = load_init(recipe)
    assert found is not None
    resolved = with_init(recipe, found)
    net = SpikingNetwork(resolved.network, (2, 30, 34), 3)
    load_blocks(net, found, recipe.train)
    assert all(torch.equal(net.state_dict()[key], one) for key, one in found.tensors.items())
    assert resolved.train.init_sha256 == found.sha256


def test_training_on_integers_goes_on_from_the_run_alone(
    digits: Path, backbone: Path, tmp_path: Path
) -> None:
    run = train(tiny_recipe(backbone), digits, None, tmp_path / "run")
    recipe = qat_recipe(run, "4", ["train.steps=1"])
    assert (recipe.train.init, recipe.network) == ("", run.recipe.network)
    integers = train(recipe, None, None, tmp_path / "integers", start=run)
    assert integers.info["init"] == run.info["init"]
    with pytest.raises(InputError, match="decides the split or the network"):
        qat_recipe(run, "4", ["train.init=other"])


def test_blocks_are_loaded_and_nothing_else(backbone: Path) -> None:
    recipe = tiny_recipe(backbone)
    found = load_init(recipe)
    assert found is not None
    net = SpikingNetwork(with_init(recipe, found).network, (2, 20, 20), 3)
    before = net.head.weight.clone()
    load_blocks(net, found, recipe.train)
    for name, tensor in _blocks(backbone).items():
        assert torch.equal(net.state_dict()[name], tensor), name
    assert torch.equal(net.head.weight, before)
