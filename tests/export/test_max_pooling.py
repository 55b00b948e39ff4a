"""Max pooling of spikes is a layer of neurons that fire where any of a window does: exact on every
engine, for our networks and for those of SpikingJelly.
"""

import copy
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from example_nir import affine, conv, flatten, frames, graph, lif
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.nir_exchange import export_to_nir
from torch import nn

from tmkt.bundle import Bundle
from tmkt.deploy.engines.c import CEngine
from tmkt.deploy.engines.onnx import OnnxEngine
from tmkt.deploy.engines.torch import TorchEngine
from tmkt.deploy.fit.network import from_program
from tmkt.events.frames import InputContract
from tmkt.export.export import QuantisedNetwork, write_bundle
from tmkt.export.normalise import normalise
from tmkt.export.quantise.quantise import quantise
from tmkt.networks.network import SpikingNetwork
from tmkt.nir.conventions import Conventions
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.nir.order import order
from tmkt.program.lava_form import lags
from tmkt.program.model import Program
from tmkt.program.simulator.simulator import Simulator
from tmkt.program.weight_grid import WeightGrid
from tmkt.recipe import NetworkRecipe
from tmkt.train.qat.convert import copy_to_float, fake_quantise, weight_grids

SHAPE, CLASSES = (2, 11, 13), 4
RECIPE = NetworkRecipe(channels=[5, 6], strides=[1, 1], pools=[2, 2], pooling="max")
FRAMES = frames(SHAPE, samples=6, steps=8, rate=0.3)


def max_of(spikes: Any, size: int = 2) -> Any:
    pooled = nn.functional.max_pool2d(torch.tensor(spikes).flatten(0, 1).float(), size)
    return pooled.unflatten(0, spikes.shape[:2]).numpy().astype(np.uint8)


def write(folder: Path, made: Any, program: Program, report: Any) -> Bundle:
    contract = InputContract(SHAPE[1:], FRAMES.shape[1], 1000, 1)
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    classes = [str(k) for k in range(CLASSES)]
    network = QuantisedNetwork(made, program, contract, classes, origin, report)
    return write_bundle(folder, ["nir", "onnx", "c"], network)


@pytest.fixture(scope="module")
def ours() -> tuple[SpikingNetwork, Any, Program, Any]:
    torch.manual_seed(0)
    net = SpikingNetwork(RECIPE, SHAPE, CLASSES).eval()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.Conv2d):
                module.weight *= 4
    made = network_to_nir(net)
    program, report = quantise(made, SHAPE, 1, FRAMES)
    return net, made, program, report


def test_a_recipe_with_max_pooling_becomes_layers_of_neurons(
    ours: tuple[SpikingNetwork, Any, Program, Any], tmp_path: Path
) -> None:
    net, made, program, report = ours
    names = [layer.name for layer in program.layers]
    assert names == ["conv1", "conv1_any", "conv2", "conv2_any", "readout"]
    found = Simulator(program).run(FRAMES)
    for name in ("conv1", "conv2"):
        spikes = np.ascontiguousarray(found.spikes[name])
        assert spikes.any()
        np.testing.assert_array_equal(found.spikes[f"{name}_any"], max_of(spikes))
    bundle = write(tmp_path / "b", made, program, report)
    for engine in (OnnxEngine(bundle), CEngine(bundle), TorchEngine(program)):
        output = engine.run(FRAMES)
        np.testing.assert_array_equal(output.readout, found.readout)
    # on the chip each takes cores and a step of its own
    assert [one.name for one in from_program(program).layers] == names
    assert list(lags(program.layers).values()) == [-1, 0, 1, 2, 3, 4]
    floats = FloatNetwork(made).run(FRAMES)
    with torch.no_grad():
        expected = net(torch.tensor(FRAMES).float().transpose(0, 1)).logits.sum(0)
    np.testing.assert_allclose(floats.readout, expected.numpy(), rtol=1e-3, atol=1e-3)


def test_training_on_integers_computes_the_programs_numbers(
    ours: tuple[SpikingNetwork, Any, Program, Any],
) -> None:
    net = copy.deepcopy(ours[0])
    grid = fake_quantise(net, RECIPE, "8,4,8", FRAMES)  # bits of the layers that have weights
    with torch.no_grad():
        logits = grid(torch.tensor(FRAMES).float().transpose(0, 1)).logits.sum(0).numpy()
    copy_to_float(grid, net)
    grids = weight_grids(grid)
    bits = ",".join(f"{name}={on['bits']}" for name, on in grids.items())
    given = {name: WeightGrid(**on) for name, on in grids.items()}
    program, _ = quantise(network_to_nir(net), SHAPE, 1, FRAMES, bits, given)
    readout = Simulator(program, 1).run(FRAMES).readout
    scale = program.layers[-1].scale
    assert scale is not None
    np.testing.assert_allclose(readout / (64 * scale), logits, atol=1e-5)


def test_spikingjellys_network_for_dvs_gesture_is_taken_with_or_layers(tmp_path: Path) -> None:
    """DVSGestureNet (activation_based/model/parametric_lif_net.py), small: convolution, batch norm
    folded, LIF, max pooling; docs/nir.md says what to put in its place.
    """

    def any_of(size: int) -> nn.Module:
        return nn.Sequential(
            layer.AvgPool2d(size), neuron.IFNode(v_threshold=0.5 / size**2, v_reset=0.0)
        )

    torch.manual_seed(1)
    convs = [layer.Conv2d(2, 6, 3, padding=1), layer.Conv2d(6, 6, 3, padding=1)]
    with torch.no_grad():
        for one in convs:
            one.weight *= 3

    def net(pool: Any) -> nn.Sequential:
        blocks = [(one, neuron.LIFNode(tau=2.0), pool()) for one in convs]
        return nn.Sequential(*(module for block in blocks for module in block), layer.Flatten())

    theirs = net(lambda: layer.MaxPool2d(2))
    taken = net(lambda: any_of(2))
    head = nn.Linear(6 * 2 * 3, CLASSES)
    for made in (theirs, taken):
        made.append(head)
    x = torch.tensor(FRAMES).float().transpose(0, 1)
    with torch.no_grad():
        expected = torch.stack([theirs(step) for step in x]).sum(0)
        functional.reset_net(theirs)
    flat = nn.Sequential(
        *(inner for one in taken for inner in (one if isinstance(one, nn.Sequential) else [one]))
    )
    read = export_to_nir(flat.eval(), x[0], dt=1e-4)
    nir.write(tmp_path / "net.nir", read)
    ordered = order(nir.read(tmp_path / "net.nir", False), Conventions(dt=1e-4, fires_at=">="))
    made, _ = normalise(ordered, None)
    floats = FloatNetwork(made).run(FRAMES)
    np.testing.assert_allclose(floats.readout, expected.numpy(), rtol=1e-4, atol=1e-3)
    program, _ = quantise(made, SHAPE, 1, FRAMES)
    found = Simulator(program).run(FRAMES).spikes
    layers = list(found)
    for before, after in ((0, 1), (2, 3)):
        spikes = np.ascontiguousarray(found[layers[before]])
        np.testing.assert_array_equal(found[layers[after]], max_of(spikes))


def test_a_sum_before_a_threshold_is_max_pooling_too() -> None:
    two = np.array([2, 2])
    nodes = {
        "conv": conv(4, 2, scale=3),
        "lif": lif(4, 11, 13),
        "pool": nir.SumPool2d(two, two, np.array([0, 0])),
        "any": nir.Threshold(np.full((4, 5, 6), 0.5, np.float32)),
        "flat": flatten(4, 5, 6),
        "out": affine(CLASSES, 120),
    }
    made, _ = normalise(order(graph(SHAPE, nodes)), None)
    program, report = quantise(made, SHAPE, 1, FRAMES)
    found = Simulator(program).run(FRAMES).spikes
    np.testing.assert_array_equal(found["any"], max_of(np.ascontiguousarray(found["lif"])))
    assert report[1]["bits"] is None  # nothing was rounded
    assert program.layers[1].threshold == 1
