"""Training on integers: what is trained is what the exported program computes, bit for bit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_networks import make_frames, make_network
from plain_program import run_plain

from tmkt.errors import InputError
from tmkt.export.export import export_run
from tmkt.export.quantise.quantise import quantise
from tmkt.networks import SpikingNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.program.simulator.simulator import Simulator
from tmkt.program.weight_grid import WeightGrid
from tmkt.recipe import NetworkRecipe, parse_recipe
from tmkt.runs import CALIBRATION, CHECKPOINT, METRICS, MODEL, Run, load_run
from tmkt.train.checkpoint import load_module
from tmkt.train.methods.base import without_running_statistics
from tmkt.train.qat.convert import copy_to_float, fake_quantise, weight_grids
from tmkt.train.qat.neuron import FireOnDevice, IntegerLIF, _Fire
from tmkt.train.qat.training import qat_recipe, start_on_integers
from tmkt.train.trainer import train

TINY = {
    "data": {"name": "digits", "shots": 2, "bins": 5, "bin_us": 63200},
    "network": {"channels": [4, 8], "strides": [2, 1], "pools": [2, 2]},
    "method": {"name": "tmkt"},
    "train": {"steps": 60, "batch": 10, "warmup_steps": 2, "threads": 1},
}
FEW = ["train.steps=6"]


@pytest.fixture(scope="module")
def start(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(
        parse_recipe(TINY, "test"), digits, None, tmp_path_factory.mktemp("runs") / "float"
    )


@pytest.fixture(scope="module")
def trained(start: Run, digits: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run that went on as integers of 3 bits, with its method's loss."""
    return train(
        qat_recipe(start, "3", FEW),
        digits,
        None,
        tmp_path_factory.mktemp("runs") / "grid",
        start=start,
    )


def example(
    shape: tuple[int, int, int], tau: float, bits: str, pools: tuple[int, ...]
) -> tuple[SpikingNetwork, SpikingNetwork, np.ndarray]:
    net = make_network(shape, strides=(1, 2, 1), pools=pools, tau=tau)
    recipe = NetworkRecipe(
        channels=[8, 12, 16], strides=[1, 2, 1], pools=list(pools), tau=tau, threshold=0.5
    )
    frames = make_frames(3, 6, shape, 3)
    return net, fake_quantise(net, recipe, bits, frames), frames


@pytest.mark.parametrize(
    ("shape", "tau", "pools"), [((2, 20, 20), 2.0, (2, 1, 2)), ((2, 21, 23), 2.6, (3, 2, 1))]
)
@pytest.mark.parametrize("bits", ["8", "2,4,3,8"])
def test_the_forward_pass_is_the_exported_program_bit_for_bit(
    shape: tuple[int, int, int], tau: float, bits: str, pools: tuple[int, ...]
) -> None:
    net, grid, frames = example(shape, tau, bits, pools)
    for part, noise in zip(
        grid.parameters(), torch.Generator().manual_seed(1).get_state(), strict=False
    ):
        part.data += (
            0.3
            * (float(noise) / 255 - 0.5)
            * torch.randn(part.shape, generator=torch.Generator().manual_seed(int(noise)))
        )
    spikes: dict[str, np.ndarray] = {}
    for name, neuron in grid.spiking_layers().items():
        assert isinstance(neuron, IntegerLIF)
        neuron.register_forward_hook(
            lambda _m, _i, out, name=name: spikes.update(
                {name: out.detach().transpose(0, 1).numpy().astype(np.uint8)}
            )
        )
    logits = grid.train()(torch.from_numpy(frames).float().transpose(0, 1)).logits
    copy_to_float(grid, net)
    grids = weight_grids(grid)
    text = ",".join(f"{name}={on['bits']}" for name, on in grids.items())
    program, report = quantise(
        network_to_nir(net),
        shape,
        3,
        frames,
        text,
        {name: WeightGrid(**on) for name, on in grids.items()},
    )
    assert max(entry["weight_error_rms"] for entry in report) < 1e-5
    readout, expected, _ = run_plain(program, frames)
    assert set(spikes) == set(expected)
    for name, found in spikes.items():
        height, width = expected[name].shape[-2:]
        assert expected[name].any()
        np.testing.assert_array_equal(found[..., :height, :width], expected[name], err_msg=name)
    summed = logits.detach().double().sum(0).numpy() * grids["readout"]["scale"] * 64
    np.testing.assert_allclose(
        summed, readout, atol=0.01 * 64
    )  # the same integers, up to float32 in the division by the scale


def test_gradients_are_those_of_the_float_network_where_the_grid_is_fine() -> None:
    net, grid, frames = example((2, 20, 20), 2.0, "8", (2, 1, 2))
    x = torch.from_numpy(frames).float().transpose(0, 1)
    gradients = []
    for one in (net, grid):
        one(x).logits.square().sum().backward()
        head = torch.as_tensor(one.head.weight.grad)
        gradients.append(head.flatten() / head.norm())
    assert float(gradients[0] @ gradients[1]) > 0.95


def test_a_stream_with_statistics_of_its_own_is_normalised_as_in_the_float_training() -> None:
    net, grid, frames = example((2, 20, 20), 2.0, "8", (1, 1, 1))
    x = torch.rand(
        (6, 3, 2, 20, 20), generator=torch.Generator().manual_seed(0)
    )  # nothing like events
    found = []
    for one in (net, grid):
        one.train()
        with without_running_statistics(one):
            found.append(one(x).features.detach())
    deployed = grid(x).features.detach()
    assert float((found[0] != found[1]).float().mean()) < 0.05
    assert float((found[0] != deployed).float().mean()) > 0.15, (
        "on the deployed path nothing is normalised"
    )
    assert torch.equal(
        grid.train()(torch.from_numpy(frames).float()).logits,
        grid.eval()(torch.from_numpy(frames).float()).logits,
    )


def test_a_run_on_integers_is_exported_as_what_was_trained(
    trained: Run, start: Run, tmp_path: Path
) -> None:
    """The program's membranes at the read-out and its answers are those of the network in training,
    recording by recording: integers are the same on every processor.
    """
    frames = trained.load_calibration()
    assert set(trained.info["quantisation"]) == {"conv1", "conv2", "readout"}
    bundle = export_run(trained, tmp_path / "bundle", {"nir"}, None, frames)
    report = bundle.manifest["quantisation"]
    assert {
        entry["layer"]: {key: entry[key] for key in ("bits", "step", "scale")} for entry in report
    } == trained.info["quantisation"]
    assert max(entry["weight_error_rms"] for entry in report) < 1e-5
    assert report[-1]["accuracy"] is not None
    net, _ = start_on_integers(trained.recipe, start, True)
    load_module(trained.path / CHECKPOINT, "network", net)  # after the last step
    with torch.no_grad():
        logits = net.eval()(torch.from_numpy(frames).float().transpose(0, 1)).logits
    # logits are integers over the scale, rounded to float32
    sums = np.rint(logits.double().numpy() * trained.info["quantisation"]["readout"]["scale"])
    simulator = Simulator(bundle.program)
    for i, recording in enumerate(frames):
        membrane = simulator.run(recording[None]).readout[0]
        np.testing.assert_array_equal(64 * sums[:, i].sum(0), membrane, err_msg=f"recording {i}")
        assert membrane[logits[:, i].mean(0).argmax()] == membrane.max()  # two may be equal
    other = export_run(trained, tmp_path / "other", {"nir"}, "8", frames).manifest["quantisation"]
    assert {entry["bits"] for entry in other} == {8}
    for key in ("trained_on", "images_trained_on", "sensor", "classes"):
        assert trained.info[key] == start.info[key]
    assert trained.info["test"]["samples"] == 20


def test_the_methods_losses_stay(trained: Run) -> None:
    rows = [json.loads(line) for line in (trained.path / METRICS).read_text().splitlines()]
    assert {
        "loss_float",
        "loss_method",
        "loss_method_alignment",
        "loss_method_static",
        "loss_method_modality_guidance",
    } <= set(rows[-1])
    assert rows[-1]["loss"] == pytest.approx(
        rows[-1]["loss_float"] + 0.3 * rows[-1]["loss_method"], rel=1e-5
    )


def test_without_data_a_run_learns_from_what_its_float_network_answers(
    start: Run, tmp_path: Path
) -> None:
    run = train(
        qat_recipe(start, "2", ["train.steps=30"]), None, None, tmp_path / "run", start=start
    )
    rows = [json.loads(line) for line in (run.path / METRICS).read_text().splitlines()]
    assert rows[-1]["loss"] == rows[-1]["loss_float"] < 0.7 * rows[0]["loss"]
    assert run.info["test"]["accuracy"] is None
    assert run.info["trained_on"] == start.info["trained_on"]
    assert (run.path / CALIBRATION).read_bytes() == (start.path / CALIBRATION).read_bytes()


def test_the_same_training_gives_the_same_bytes_also_when_it_is_resumed(
    trained: Run, start: Run, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmkt.train.trainer.CHECKPOINT_EVERY", 2)

    def stop(done: int, *_: Any) -> None:
        if done == 4:
            raise RuntimeError("cut off")

    recipe = qat_recipe(start, "3", FEW)
    with pytest.raises(RuntimeError, match="cut off"):
        train(recipe, digits, None, tmp_path / "run", progress=stop, start=start)
    run = train(recipe, digits, None, tmp_path / "run", resume=True, start=start)
    for name in (MODEL, METRICS, CHECKPOINT, "run.json", "recipe.toml", CALIBRATION):
        assert (run.path / name).read_bytes() == (trained.path / name).read_bytes(), name
    assert load_run(run.path).recipe.qat.bits == "3"


@pytest.mark.parametrize("setting", ["data.shots=1", "network.tau=3.0", "train.seed=4"])
def test_what_decides_the_split_or_the_network_is_not_changed(start: Run, setting: str) -> None:
    with pytest.raises(InputError, match="decides the split or the network"):
        qat_recipe(start, "4", [setting])


def test_wrong_starts_are_refused(trained: Run, start: Run, digits: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="was trained on integers already"):
        qat_recipe(trained, "4")
    with pytest.raises(InputError, match="is not the run that this training started from"):
        train(qat_recipe(start, "4", FEW), digits, None, tmp_path / "run", start=trained)
    with pytest.raises(InputError, match="goes on from a finished run"):
        train(qat_recipe(start, "4", FEW), digits, None, tmp_path / "run")
    run = replace(start, info={**start.info, "trained_on": start.info["trained_on"][1:]})
    with pytest.raises(InputError, match="its training recordings are others than those of"):
        train(qat_recipe(start, "4", FEW), digits, None, tmp_path / "run", start=run)
    with pytest.raises(InputError, match="no layer 'conv9'"):
        train(qat_recipe(start, "conv9=4", FEW), digits, None, tmp_path / "run", start=start)
    assert not (tmp_path / "run").exists()


def test_residual_networks_of_spikes_train_on_integers_and_analog_ones_are_refused() -> None:
    frames = make_frames(2, 3, (2, 16, 16))
    for name, widths in (("sew-resnet18", [4, 4, 4, 4]), ("resnet18", [])):
        recipe = NetworkRecipe.model_validate({"name": name, "channels": widths, "threshold": 0.5})
        torch.manual_seed(0)
        net = SpikingNetwork(recipe, (2, 16, 16), 5).eval()
        if name == "resnet18":
            with pytest.raises(InputError, match="PreActivation cannot be trained on integers"):
                fake_quantise(net, recipe, "8", frames)
            continue
        grid = fake_quantise(net, recipe, "8", frames)
        grid(torch.from_numpy(frames).float().transpose(0, 1)).logits.sum().backward()
        assert all(parameter.grad is not None for parameter in grid.parameters())
        copy_to_float(grid, net)
        grids = weight_grids(grid)
        _, report = quantise(
            network_to_nir(net),
            (2, 16, 16),
            1,
            frames,
            8,
            {name: WeightGrid(**on) for name, on in grids.items()},
        )
        assert max(entry["weight_error_rms"] for entry in report) < 1e-5


@pytest.mark.parametrize("surrogate", ["atan", "triangle", "rectangle"])
def test_the_neuron_of_a_gpu_computes_what_the_compiled_loops_do(surrogate: str) -> None:
    recipe = NetworkRecipe(name="vggsnn", surrogate=surrogate, tau=3.0)
    neuron = IntegerLIF(recipe, store_v_seq=True, scale=50)
    generator = torch.Generator().manual_seed(0)
    sums = torch.randint(-100, 160, (6, 3, 4, 5, 5), generator=generator).float()
    sums[:, 0, 0] = 2.0**23  # saturates
    found = []
    for fire in (_Fire, FireOnDevice):
        x = sums.clone().requires_grad_()
        spikes, membrane = fire.apply(x, neuron)
        ((spikes * sums.cos()).sum() + membrane.square().sum()).backward()
        found.append((spikes.detach(), membrane.detach(), x.grad))
    assert 0.1 < float(found[0][0].mean()) < 0.9
    assert torch.equal(found[0][0], found[1][0])
    for loops, device in zip(found[0][1:], found[1][1:], strict=True):
        torch.testing.assert_close(loops, device, rtol=1e-5, atol=1e-7)
