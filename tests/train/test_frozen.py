"""Tests of heads that learn alone, of statistics of a new camera, and of rates by layer."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_backbone import tiny_recipe
from plain_program import run_plain
from safetensors.torch import load_file
from torch import Tensor, nn

from tmkt.errors import InputError
from tmkt.export.export import export_run
from tmkt.networks import SpikingNetwork
from tmkt.program.simulator.simulator import Simulator
from tmkt.recipe import NetworkRecipe
from tmkt.runs import CHECKPOINT, INFO, METRICS, MODEL, load_run
from tmkt.train import frozen, statistics
from tmkt.train.data import TrainingData, load_training_data
from tmkt.train.frozen import FeatureBank, Head, fill_bank
from tmkt.train.measure import measure
from tmkt.train.methods.base import Batch
from tmkt.train.methods.registry import METHODS
from tmkt.train.optimiser import learning_rate, make_optimizer, set_rate
from tmkt.train.samples import draw_batch
from tmkt.train.start import load_blocks, load_init, with_init
from tmkt.train.statistics import set_statistics
from tmkt.train.step import Learner, train_step
from tmkt.train.trainer import train

CPU = torch.device("cpu")
UNMOVED = {"shift": 0, "rotation": 0.0, "zoom": 0.0}


@pytest.fixture(scope="module")
def source(digits: Path) -> TrainingData:
    return load_training_data(tiny_recipe(network={}), digits, None, True)


def _network(backbone: Path) -> SpikingNetwork:
    recipe = tiny_recipe(backbone)
    found = load_init(recipe)
    assert found is not None
    torch.manual_seed(1)
    net = SpikingNetwork(with_init(recipe, found).network, (2, 34, 34), 10)
    load_blocks(net, found, recipe.train)
    return net


def _blocks(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in tensors.items() if name.startswith("blocks.")}


@pytest.mark.parametrize("method", ["target-only", "mix", "joint", "adapt"])
def test_a_frozen_training_moves_the_head_and_nothing_else(
    digits: Path, backbone: Path, tmp_path: Path, method: str
) -> None:
    said: list[str] = []
    changes = {"method": {"name": method}, "train": {"freeze": True, "steps": 30, "ema": 0.9}}
    recipe = tiny_recipe(backbone, **changes)
    run = train(recipe, digits, None, tmp_path / "run", report=said.append)
    found, start = load_file(run.path / MODEL), load_file(backbone / MODEL)
    assert _blocks(found).keys() == _blocks(start).keys()
    for name, tensor in _blocks(start).items():
        assert torch.equal(found[name], tensor), name
    rows = [json.loads(line) for line in (run.path / METRICS).read_text().splitlines()]
    epochs = [row for row in rows if "epoch" in row]
    assert epochs[-1]["loss"] < epochs[0]["loss"]
    assert epochs[-1]["spike_rates"].keys() == {"conv1", "conv2"}
    images = " and 300 images" if method in ("mix", "joint") else ""
    if method == "adapt":
        assert "No images (--static): adapt" in said.pop(0)
    assert f"alone for 30 steps, from the features of 300 augmented recordings{images} (" in said[0]


def test_a_head_learns_on_kept_features_as_it_does_behind_the_frozen_network(
    source: TrainingData, backbone: Path
) -> None:
    """Without augmentation both see the same samples, step by step."""
    changes = {**UNMOVED, "freeze": True, "steps": 8, "init_statistics": "estimate"}
    recipe = tiny_recipe(backbone, train=changes, method={"name": "mix", "real_share": 0.5})
    nets, losses = [_network(backbone) for _ in range(2)], []
    for net, kept in zip(nets, (True, False), strict=True):
        set_statistics(net, source, recipe, CPU)
        method = METHODS["mix"](recipe.method, net, recipe.data.bins)
        optimizer = make_optimizer(net, method, recipe.train)
        learner = Learner(net, method, optimizer, recipe.train, CPU)
        bank = fill_bank(learner, source, recipe)
        assert bank.recordings.std(0).max() > 0.1  # it is no silent network
        frames = replace(bank, **_frames_of(source, recipe, bank))
        if kept:
            learner = replace(learner, net=Head(net))
        for block in net.blocks.parameters():
            block.requires_grad_(kept)
        net.eval()
        for step in range(recipe.train.steps):
            rng = np.random.default_rng(step)
            batch = (bank if kept else frames).draw(recipe.train.batch, rng)
            if not kept:
                assert batch.recordings is not None
                assert batch.images is not None
                streams = [one[0].transpose(0, 1) for one in (batch.recordings, batch.images)]
                batch = Batch(*streams, batch.labels)
            losses.append(train_step(learner, batch, step, rng, False).metrics["loss"])
    np.testing.assert_allclose(losses[:8], losses[8:], rtol=1e-4)
    torch.testing.assert_close(nets[0].head.weight, nets[1].head.weight, rtol=1e-3, atol=1e-5)
    for name, tensor in _blocks(nets[0].state_dict()).items():
        assert torch.equal(tensor, nets[1].state_dict()[name]), name


def _frames_of(source: TrainingData, recipe: Any, bank: FeatureBank) -> dict[str, Tensor]:
    """Draw the frames [N, T, 2, H, W] behind a bank's features, by the same seeds."""
    batches = [
        draw_batch(source, recipe, np.random.default_rng([0, i, frozen.STREAM]), CPU)
        for i in range(len(bank.labels) // recipe.train.batch)
    ]
    streams = {"recordings": [b.events for b in batches], "images": [b.static for b in batches]}
    return {name: torch.cat(parts, 1).transpose(0, 1) for name, parts in streams.items()}


def test_a_bank_has_copies_of_each_recording_within_its_memory(
    source: TrainingData, backbone: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny_recipe(backbone, train={"freeze": True, "steps": 1000})
    net = _network(backbone)
    learner = Learner(net, METHODS["joint"](recipe.method, net, 4), Any, recipe.train, CPU)
    sizes = {}
    for most, least in ((2**28, 40), (2**28, 250), (4 * net.features * 2 * 90, 512)):
        monkeypatch.setattr(frozen, "BANK_BYTES", most)
        monkeypatch.setattr(frozen, "LEAST_SAMPLES", least)
        bank = fill_bank(learner, source, recipe)
        sizes[most, least] = len(bank.labels)
        assert bank.images is not None
        assert bank.recordings.shape == bank.images.shape == (len(bank.labels), net.features, 1, 1)
        assert np.bincount(bank.labels).tolist() == [len(bank.labels) // 10] * 10
    assert list(sizes.values()) == [16 * len(source.frames), 250, 90]


@pytest.mark.parametrize("head_share", [0.0, 0.5], ids=["freeze", "head-first"])
def test_a_training_that_was_killed_and_resumed_ends_with_the_same_bytes(
    digits: Path,
    backbone: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    head_share: float,
) -> None:
    monkeypatch.setattr("tmkt.train.trainer.CHECKPOINT_EVERY", 2)
    changes = {
        "steps": 8,
        "ema": 0.9,
        "freeze": not head_share,
        "head_share": head_share,
        "init_statistics": "blend",
        "layer_decay": 0.5,
    }
    recipe = tiny_recipe(backbone, train=changes, method={"name": "mix"})
    train(recipe, digits, None, tmp_path / "whole")
    for at in (3, 7):

        def stop(done: int, *_: Any, at: int = at) -> None:
            if done == at:
                raise RuntimeError("cut off")

        with pytest.raises(RuntimeError, match="cut off"):
            train(recipe, digits, None, tmp_path / "cut", progress=stop, resume=True)
    train(recipe, digits, None, tmp_path / "cut", resume=True)
    for name in (MODEL, METRICS, INFO, CHECKPOINT, "recipe.toml"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_the_head_learns_first_and_then_everything(
    digits: Path, backbone: Path, tmp_path: Path
) -> None:
    start = _blocks(load_file(backbone / MODEL))
    moved = {}
    for steps in (3, 4):
        alone = {"freeze": True} if steps == 3 else {"head_share": 0.75}
        recipe = tiny_recipe(backbone, train={"steps": steps, **alone})
        run = train(recipe, digits, None, tmp_path / str(steps))
        found = load_file(run.path / MODEL)
        moved[steps] = {name for name, tensor in start.items() if not found[name].equal(tensor)}
    assert moved[3] == set()
    assert moved[4] == start.keys()


def test_each_part_of_the_training_has_a_schedule_of_its_own() -> None:
    both = tiny_recipe("x", train={"steps": 30, "head_share": 1 / 3, "warmup_steps": 2}).train
    alone, rest = (
        tiny_recipe("x", train={"steps": steps, "warmup_steps": 2}).train for steps in (10, 20)
    )
    expected = [learning_rate(step, alone) for step in range(10)]
    expected += [learning_rate(step, rest) for step in range(20)]
    assert [learning_rate(step, both) for step in range(30)] == expected


def test_layers_learn_more_slowly_the_further_they_are_from_the_head() -> None:
    net = SpikingNetwork(
        NetworkRecipe(channels=[3, 4, 5], strides=[1, 1, 1], pools=[1, 1, 1]), (2, 4, 4), 3
    )
    method = METHODS["kt"](tiny_recipe("x", method={"name": "kt"}).method, net, 4)
    recipe = tiny_recipe("x", train={"layer_decay": 0.5}).train
    optimizer = make_optimizer(net, method, recipe)
    set_rate(optimizer, 0.8)
    rates = {p: group["lr"] for group in optimizer.param_groups for p in group["params"]}
    assert rates.keys() == {*net.parameters(), *method.parameters()}
    for part, rate in (
        (method, 0.8),
        (net.head, 0.8),
        *zip(net.blocks, (0.1, 0.2, 0.4), strict=True),
    ):
        assert {rates[p] for p in part.parameters()} == {rate}
    for group in optimizer.param_groups:
        decayed = {p.dim() > 1 for p in group["params"]}
        assert decayed in (set(), {group["weight_decay"] > 0})
    plain = make_optimizer(net, method, tiny_recipe("x").train)
    assert [len(group["params"]) for group in plain.param_groups] == [5, 9]


@pytest.mark.parametrize("kind", ["keep", "estimate", "blend"])
def test_statistics_move_to_the_new_camera_as_far_as_the_recipe_says(
    source: TrainingData, backbone: Path, kind: str
) -> None:
    changes = {**UNMOVED, "init_statistics": kind, "statistics_prior": 30.0}
    recipe = tiny_recipe(backbone, train=changes)
    net, start = _network(backbone), _network(backbone)
    set_statistics(net, source, recipe, CPU)
    share = {"keep": 0.0, "estimate": 1.0, "blend": 0.25}[kind]  # of 10 recordings
    rngs = [np.random.default_rng([0, i, statistics.STREAM]) for i in range(10)]
    x = torch.cat([draw_batch(source, recipe, rng, CPU).events for rng in rngs], dim=1)
    for before, block in zip(start.blocks, net.blocks, strict=True):
        assert isinstance(block.bn, nn.BatchNorm2d)
        assert isinstance(before.bn, nn.BatchNorm2d)
        currents = block.conv(x.flatten(0, 1))  # type: ignore[operator]
        for name, found in (
            ("running_mean", currents.mean((0, 2, 3))),
            ("running_var", currents.var((0, 2, 3))),
        ):
            expected = getattr(before.bn, name).lerp(found, share)
            torch.testing.assert_close(getattr(block.bn, name), expected, rtol=1e-4, atol=1e-6)
        assert torch.equal(block.bn.num_batches_tracked, before.bn.num_batches_tracked)
        assert block.bn.momentum == before.bn.momentum
        x = block(x)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"method": {"name": "tmkt"}, "train": {"freeze": True}}, "train.freeze: method 'tmkt'"),
        (
            {"method": {"name": "ckd"}, "train": {"head_share": 0.5}},
            "train.head_share: method 'ckd'",
        ),
        ({"method": {"loss": "tet"}, "train": {"freeze": True}}, "set method.loss=mean"),
    ],
)
def test_methods_that_teach_the_features_are_refused(
    digits: Path, backbone: Path, tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint) as raised:
        train(tiny_recipe(backbone, **changes), digits, None, tmp_path / "run")
    assert "\n" not in str(raised.value)


def test_a_frozen_run_is_exported_and_its_program_computes_its_answers(
    digits: Path, backbone: Path, tmp_path: Path
) -> None:
    changes = {"freeze": True, "steps": 30, "init_statistics": "estimate"}
    run = train(tiny_recipe(backbone, train=changes), digits, None, tmp_path / "run")
    frames, labels = run.load_calibration(), run.load_calibration_labels()
    assert labels is not None
    bundle = export_run(run, tmp_path / "bundle", [], 8, frames)
    output = Simulator(bundle.program).run(frames)
    readout, *_ = run_plain(bundle.program, frames)
    np.testing.assert_array_equal(output.readout, readout)
    with torch.no_grad():
        x = torch.from_numpy(frames).float().transpose(0, 1)
        logits = run.load_network()(x).logits.sum(0).numpy()
    assert np.corrcoef(output.readout.ravel(), logits.ravel())[0, 1] > 0.9
    assert measure(run.load_network(), frames, labels)["samples"] == len(frames)
    assert load_run(run.path).info["init"]["name"] == str(backbone)
