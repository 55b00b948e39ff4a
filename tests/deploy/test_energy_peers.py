"""Counts compared with other counters on the same float network: SpikingJelly's and NeuroBench's.

make test-peers installs NeuroBench. Where a count differs, the difference is a formula, and the
formula is tested.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from example_networks import make_frames, make_network, torch_run
from spikingjelly.activation_based import neuron
from spikingjelly.activation_based.op_counter import DispatchCounterMode, MACCounter, SynOpCounter

from tmkt.deploy.energy.activity import Activity
from tmkt.deploy.energy.neurobench import neurobench as by_name
from tmkt.deploy.trace import Trace, count
from tmkt.export.quantise.quantise import quantise
from tmkt.networks import SpikingNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.program.connectivity import connectivity_of
from tmkt.program.model import Layer, Program, conv_shape

STEPS = 5


class Example:
    """Untrained float network, its activity on random frames, and our count of it."""

    def __init__(
        self, shape: tuple[int, int, int], strides: tuple[int, ...], pools: tuple[int, ...]
    ) -> None:
        self.net: SpikingNetwork = make_network(shape, (6, 8, 8), strides, pools, classes=4)
        with torch.no_grad():
            for module in (*(block.conv for block in self.net.blocks), self.net.head):
                module.weight[torch.rand_like(module.weight) < 0.2] = 0
        self.frames = make_frames(2, STEPS, shape)
        _, self.spikes = torch_run(self.net, self.frames)
        program, _ = quantise(network_to_nir(self.net), shape, 1, self.frames)
        weights = [block.conv.weight for block in self.net.blocks] + [self.net.head.weight]
        signs = [
            np.where(w.detach().numpy() != 0, 2, 0).astype(np.int16) for w in weights
        ]  # rounding makes zeros that the float network has not
        layers = [
            replace(layer, synapses=(replace(layer.synapses[0], weight=w),))
            for layer, w in zip(program.layers, signs, strict=True)
        ]
        self.program = replace(program, layers=tuple(layers))
        self.input = torch.from_numpy(self.frames).float().transpose(0, 1)

    def trace(self) -> Trace:
        """Count as the chip computes: without rows and columns that no pooling window reads."""
        shapes = {layer.name: layer.shape for layer in self.program.layers if layer.fires}
        return count(
            self.program,
            self.frames,
            {n: s[..., : shapes[n][1], : shapes[n][2]] for n, s in self.spikes.items()},
        )

    def whole(self) -> tuple[Program, Trace]:
        """Count as the float network computes: whole maps."""
        layers: list[Layer] = []
        shapes = {"input": self.program.input_shape}
        for layer in self.program.layers:
            synapse = layer.synapses[0]
            shape = (
                conv_shape(synapse, shapes[synapse.source])
                if synapse.kind == "conv"
                else layer.shape
            )
            shapes[layer.name] = shape
            layers.append(replace(layer, shape=shape))
        program = replace(self.program, layers=tuple(layers))
        return program, count(program, self.frames, self.spikes)

    def spikingjelly(self) -> tuple[list[int], list[int]]:
        """Return the synaptic operations and multiply-accumulates of every convolution and the
        head.
        """
        counters = [SynOpCounter(), MACCounter()]
        with torch.no_grad(), DispatchCounterMode(counters):
            self.net(self.input)
        names = [
            *(f"SpikingNetwork.blocks.{i}.conv" for i in range(len(self.net.blocks))),
            "SpikingNetwork.head",
        ]
        synops, macs = (
            [sum(counter.records[name].values()) for name in names] for counter in counters
        )
        return synops, macs

    def neurobench(self) -> dict[str, Any]:
        """Return NeuroBench's counts per sample, and the sparsity of activations."""
        models = pytest.importorskip(
            "neurobench.models", reason="NeuroBench is not installed; run make test-peers"
        )
        metrics = pytest.importorskip("neurobench.metrics.workload")
        model = models.TorchModel(self.net)
        model.add_activation_module(neuron.LIFNode)
        model.register_hooks()
        with torch.no_grad():
            answer = model(self.input)
            data = (torch.zeros(len(self.frames)),)
            return {
                **metrics.SynapticOperations()(model, answer, data),
                "sparsity": metrics.ActivationSparsity()(model, answer, data),
            }


@pytest.fixture(scope="module")
def plain() -> Example:
    """Make a network with strides and borders, without pooling."""
    return Example((2, 13, 12), strides=(1, 2, 2), pools=(1, 1, 1))


@pytest.fixture(scope="module")
def pooling() -> Example:
    """Make a network with maps of 13 that a pooling cuts to 12, and a pooling before the head."""
    return Example((2, 13, 13), strides=(1, 1, 1), pools=(1, 2, 2))


def test_spikingjelly_counts_the_same_synaptic_operations_where_nothing_is_pooled(
    plain: Example,
) -> None:
    synops, macs = plain.spikingjelly()
    assert synops == [int(layer.synops.sum()) for layer in plain.trace().layers]
    assert min(synops) > 0
    assert sum(macs) == 0


def test_neurobench_counts_the_same_without_weights_of_zero(plain: Example) -> None:
    found, trace = plain.neurobench(), plain.trace()
    assert found["Effective_ACs"] == trace.per_sample("nonzero_synops").mean()
    assert found["Effective_MACs"] == 0
    assert found["Effective_ACs"] < trace.per_sample("synops").mean()
    synapses = sum(
        int(connectivity_of(plain.program, layer, layer.synapses[0]).fan_out().sum())
        for layer in plain.program.layers
    )
    assert found["Dense"] == STEPS * synapses


def test_the_report_under_neurobench_names_says_what_neurobench_says(plain: Example) -> None:
    trace = plain.trace()
    active = np.stack([layer.updates for layer in trace.layers], axis=2).astype(np.float64)
    activity = Activity(
        plain.program,
        trace,
        active,
        {},
        np.zeros(trace.samples, np.int64),
        ["a", "b", "c", "d"],
        1000,
    )
    found = plain.neurobench()
    assert by_name(activity)["SynapticOperations"] == {
        name: found[name] for name in ("Effective_MACs", "Effective_ACs", "Dense")
    }


def test_neurobench_counts_the_same_spikes(plain: Example) -> None:
    layers = [layer for layer in plain.trace().layers if layer.spikes.any()]
    spikes, updates = (
        sum(int(getattr(layer, what).sum()) for layer in layers) for what in ("spikes", "updates")
    )
    assert plain.neurobench()["sparsity"] == pytest.approx(1 - spikes / updates, abs=1e-12)


def test_a_pooled_map_is_no_spikes_to_spikingjelly(pooling: Example) -> None:
    """SpikingJelly counts the layer behind as dense multiply-accumulates; the chip delivers each
    spike to the unrolled kernel.
    """
    synops, macs = pooling.spikingjelly()
    program, whole = pooling.whole()
    assert synops[:2] == [int(layer.synops.sum()) for layer in whole.layers[:2]]
    assert synops[2:] == [0, 0]
    conv = program.layers[2]
    per_output = conv.synapses[0].weight[0].size
    assert macs == [
        0,
        0,
        per_output * conv.neurons * STEPS * 2,
        program.layers[3].synapses[0].weight.size * STEPS * 2,
    ]


def test_rows_that_no_pooling_reads_are_the_difference_to_the_chip(pooling: Example) -> None:
    ours, (program, whole) = pooling.trace(), pooling.whole()
    source, cut = program.layers[0], pooling.program.layers[1]
    assert (program.layers[1].shape, cut.shape) == ((8, 13, 13), (8, 12, 12))
    lost = (
        connectivity_of(program, program.layers[1], cut.synapses[0]).fan_out()
        - connectivity_of(pooling.program, cut, cut.synapses[0]).fan_out()
    )
    difference = (pooling.spikes[source.name].sum((0, 1), dtype=np.int64) * lost).sum()
    assert whole.layers[1].synops.sum() - ours.layers[1].synops.sum() == difference > 0
    for i in (0, 2, 3):
        np.testing.assert_array_equal(whole.layers[i].synops, ours.layers[i].synops)


def test_neurobench_counts_a_pooling_window_once_and_the_chip_its_spikes(pooling: Example) -> None:
    found = pooling.neurobench()
    program, whole = pooling.whole()
    once, more = 0, 0
    for layer in program.layers[2:]:
        synapse = layer.synapses[0]
        in_window = _windows(pooling.spikes[synapse.source].astype(np.int64), synapse.pool)
        synapses = connectivity_of(program, layer, synapse).nonzero_fan_out()[
            :, :: synapse.pool, :: synapse.pool
        ][:, : in_window.shape[3], : in_window.shape[4]]
        once += int(((in_window > 0) * synapses).sum())
        more += int(((in_window - 1).clip(0) * synapses).sum())
    ours = [int(layer.nonzero_synops.sum()) for layer in whole.layers]
    assert found["Effective_ACs"] == sum(ours[:2]) / 2
    assert found["Effective_MACs"] == once / 2
    assert sum(ours[2:]) - once == more > 0


def _windows(spikes: np.ndarray, pool: int) -> np.ndarray:
    """Sum [N, T, C, H, W] to the spikes of each window, remainders dropped."""
    n, t, c, h, w = spikes.shape
    cut = spikes[..., : h // pool * pool, : w // pool * pool]
    return cut.reshape(n, t, c, h // pool, pool, w // pool, pool).sum((4, 6))
