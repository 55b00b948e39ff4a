"""Tests of residual networks as integers: sums of spikes are several synapses into one layer, sums
of currents too.
"""

from pathlib import Path
from typing import Any

import nir
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from example_networks import make_frames
from example_residual import make_residual, residual_run
from numpy.typing import NDArray
from torch.nn import functional as F

from tmkt.errors import InputError
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.c import write_c
from tmkt.export.targets.nir import write_nir
from tmkt.export.targets.onnx import write_onnx
from tmkt.export.targets.onnx_float import float_to_onnx
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.nir.lower import FloatLayer, lower
from tmkt.nir.order import order

NETWORKS = [
    ("sew-resnet18", (2, 17, 19)),
    ("resnet18", (2, 9, 11)),
    ("scnn", (2, 26, 24)),
]  # odd maps, and ones that are not square
DT = 1e-4


def frames_for(shape: tuple[int, ...], samples: int = 2, steps: int = 6) -> NDArray[np.uint8]:
    return make_frames(samples, steps, shape) | make_frames(samples, steps, shape, seed=1)  # type: ignore[arg-type]


def replay(layer: FloatLayer, sent: dict[str, NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Compute the spikes [N, T, *shape] of a lowered layer from its sources' spikes, plainly, in
    float64.
    """
    samples, steps = sent["input"].shape[:2]
    bias = torch.from_numpy(layer.bias).view(-1, *[1] * (len(layer.shape) - 1))
    a = bias.expand(samples * steps, *layer.shape).clone()
    for synapse, values in zip(layer.synapses, layer.weights, strict=True):
        x, weight = (
            torch.from_numpy(sent[synapse.source]).double().flatten(0, 1),
            torch.from_numpy(values),
        )
        x = F.avg_pool2d(x, synapse.pool, divisor_override=1) if synapse.pool > 1 else x
        if synapse.kind == "dense":
            a += x.flatten(1) @ weight.T
        else:
            y = F.conv2d(
                x, weight, None, synapse.stride, synapse.padding, synapse.dilation, synapse.groups
            )
            a += y[..., : layer.shape[1], : layer.shape[2]]
    v, spikes = torch.zeros(samples, *layer.shape, dtype=torch.float64), []
    for now in a.unflatten(0, (samples, steps)).unbind(1):
        v = v * (1 - layer.decay) + now
        spikes.append(v >= 1)
        v = v.masked_fill(spikes[-1], 0)
    return torch.stack(spikes, 1).numpy().astype(np.uint8)


@pytest.mark.parametrize(("name", "shape"), NETWORKS)
def test_the_graph_and_its_lowered_layers_spike_as_the_network_does(
    name: str, shape: tuple[int, int, int]
) -> None:
    net, frames = make_residual(name, shape), frames_for(shape)
    logits, spikes = residual_run(net, frames)
    network = FloatNetwork(network_to_nir(net))
    found = network.run(frames)
    assert list(found.spikes) == list(spikes)
    np.testing.assert_allclose(found.readout, logits, atol=1e-4)
    layers = lower(network.graph)
    assert [layer.name for layer in layers] == [*spikes, "readout"]
    for layer in layers[:-1]:
        expected = spikes[layer.name]
        assert 0.005 < expected.mean() < 0.6
        np.testing.assert_array_equal(found.spikes[layer.name], expected, err_msg=layer.name)
        expected = (
            expected[tuple(slice(n) for n in (None, None, *layer.shape))]
            if len(layer.shape) == 3
            else expected
        )
        # In float32 the current of a residual stream is a sum in another order: only a membrane at
        # the threshold may differ.
        assert (
            replay(layer, {"input": frames, **spikes}) != expected
        ).sum() <= 1e-5 * expected.size, layer.name


def test_spikes_that_are_added_are_synapses_with_the_same_weights() -> None:
    net = make_residual()
    program, report = quantise(network_to_nir(net), net.input_shape, 1, frames_for(net.input_shape))
    layers = {layer.name: layer for layer in program.layers}
    assert [synapse.source for synapse in layers["conv3_1"].synapses] == [
        "conv2_2",
        "conv1",
    ]  # a block's own spikes, then its input's
    assert [synapse.source for synapse in layers["conv4_1"].synapses] == [
        "conv3_2",
        "conv2_2",
        "conv1",
    ]
    assert [synapse.source for synapse in layers["conv4_3"].synapses] == [
        "conv3_2",
        "conv2_2",
        "conv1",
    ]  # a shortcut
    assert [synapse.source for synapse in layers["conv5_1"].synapses] == ["conv4_2", "conv4_3"]
    assert [synapse.source for synapse in layers["readout"].synapses] == [
        "conv9_2",
        "conv8_2",
        "conv8_3",
    ]
    assert {synapse.pool for synapse in layers["readout"].synapses} == {3}
    for layer in program.layers:
        assert len({id(synapse.weight) for synapse in layer.synapses}) == 1
    assert [entry["layer"] for entry in report] == list(layers)


def test_the_stream_of_a_pre_activation_network_is_in_the_synapses_of_what_reads_it() -> None:
    net = make_residual("resnet18", (2, 9, 11))
    program, _ = quantise(network_to_nir(net), net.input_shape, 1, frames_for(net.input_shape))
    layers = {layer.name: layer for layer in program.layers}
    assert [synapse.source for synapse in layers["conv4_1"].synapses] == [
        "conv3_2",
        "conv2_2",
        "input",
    ]
    assert [(synapse.source, synapse.kind) for synapse in layers["readout"].synapses] == [
        (s, "dense") for s in ("conv9_2", "conv8_2", "conv8_3")
    ]
    assert max(len(layer.synapses) for layer in program.layers) == 3


def test_float_files_of_the_pre_activation_network_compute_what_it_does(tmp_path: Path) -> None:
    net = make_residual("resnet18", (2, 9, 11))
    graph, frames = network_to_nir(net), frames_for(net.input_shape)
    logits, spikes = residual_run(net, frames)
    write_nir(graph, tmp_path / "network.nir")
    np.testing.assert_array_equal(
        FloatNetwork.load(tmp_path / "network.nir").run(frames).spikes["conv9_2"], spikes["conv9_2"]
    )
    float_to_onnx(graph).write(tmp_path / "network.onnx")
    session = onnxruntime.InferenceSession(
        str(tmp_path / "network.onnx"), providers=["CPUExecutionProvider"]
    )
    feed: dict[str, Any] = {"x": np.ascontiguousarray(frames.swapaxes(0, 1))}
    for given in session.get_inputs()[1:]:
        feed[given.name] = np.zeros((len(frames), *given.shape[1:]), np.float32)
    readout, found = session.run(["readout", "conv9_2.spikes"], feed)
    np.testing.assert_array_equal(found.swapaxes(0, 1), spikes["conv9_2"])
    np.testing.assert_allclose(readout, logits, atol=1e-4)


def test_files_hold_the_weights_of_a_sum_once(tmp_path: Path) -> None:
    net = make_residual()
    program, _ = quantise(network_to_nir(net), net.input_shape, 1, frames_for(net.input_shape))
    write_onnx(program, tmp_path / "network.onnx")
    names = [tensor.name for tensor in onnx.load(tmp_path / "network.onnx").graph.initializer]
    assert [name for name in names if name.startswith("conv4_1.weight")] == ["conv4_1.weight_0"]
    write_c(program, tmp_path / "network.c")
    text = (tmp_path / "network.c").read_text()
    assert text.count("layer_conv4_1_0(") == 4  # the function, and a call for each of three sources
    assert "layer_conv4_1_1" not in text


def lif(shape: tuple[int, ...]) -> nir.LIF:
    return nir.LIF(*(np.full(shape, value, np.float32) for value in (2 * DT, 1, 0, 1, 0)))


def conv(
    out: int, inputs: int, size: tuple[int, int], kernel: int = 3, scale: float = 1.0
) -> nir.Conv2d:
    weight = (
        np.random.default_rng(out * inputs * kernel).normal(0.2, 0.5, (out, inputs, kernel, kernel))
        * scale
    )
    return nir.Conv2d(
        size, weight.astype(np.float32), 1, kernel // 2, 1, 1, np.full(out, 0.1, np.float32)
    )


def graph_of(nodes: dict[str, Any], edges: list[tuple[str, str]], last: str) -> nir.NIRGraph:
    nodes = {
        "input": nir.Input({"input": np.array((2, 7, 7))}),
        **nodes,
        "output": nir.Output({"output": None}),
    }
    return nir.NIRGraph(nodes, [*edges, (last, "output")], {"dt": DT}, type_check=False)


def test_synapses_of_their_own_into_one_layer_share_one_scale() -> None:
    nodes = {
        "in": conv(3, 2, (7, 7)),
        "a": lif((3, 7, 7)),
        "wide": conv(4, 3, (7, 7), 3),
        "skip": conv(4, 2, (7, 7), 1, scale=5.0),
        "b": lif((4, 7, 7)),
    }
    edges = [
        ("input", "in"),
        ("in", "a"),
        ("a", "wide"),
        ("input", "skip"),
        ("wide", "b"),
        ("skip", "b"),
    ]
    graph, frames = graph_of(nodes, edges, "b"), frames_for((2, 7, 7))
    program, report = quantise(graph, (2, 7, 7), 1, frames)
    wide, skip = program.layers[1].synapses
    assert (wide.source, skip.source) == ("a", "input")
    largest = [np.abs(nodes[name].weight).max() for name in ("wide", "skip")]
    assert np.abs(skip.weight).max() == 254
    assert np.abs(wide.weight).max() == pytest.approx(254 * largest[0] / largest[1], abs=2)
    # Two biases of 0.1, halved by tau.
    np.testing.assert_allclose(
        program.layers[1].bias / report[1]["scale"], 0.1, atol=0.05
    )  # and what makes up for rounding
    assert report[1]["largest_weight"] == 254
    layers = lower(order(graph))
    np.testing.assert_array_equal(
        replay(layers[1], {"input": frames, "a": FloatNetwork(graph).run(frames).spikes["a"]}),
        spikes_of(graph, frames, "b"),
    )


def spikes_of(graph: nir.NIRGraph, frames: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    return FloatNetwork(graph).run(frames).spikes[name]


def test_a_map_that_is_read_whole_and_in_windows_keeps_what_either_reads() -> None:
    two = np.array([2, 2])
    nodes = {
        "in": conv(3, 2, (7, 7)),
        "a": lif((3, 7, 7)),
        "pool": nir.SumPool2d(two, two, np.array([0, 0])),
        "b_synapse": conv(4, 3, (3, 3)),
    }
    nodes |= {
        "b": lif((4, 3, 3)),
        "flat": nir.Flatten({"input": np.array((4, 3, 3))}, 0, -1),
        "out": nir.Affine(np.ones((2, 36)), np.zeros(2)),
    }
    edges = [
        ("input", "in"),
        ("in", "a"),
        ("a", "pool"),
        ("pool", "b_synapse"),
        ("b_synapse", "b"),
        ("b", "flat"),
        ("flat", "out"),
    ]
    cropped = lower(order(graph_of(nodes, edges, "out")))
    assert [layer.shape for layer in cropped] == [(3, 6, 6), (4, 3, 3), (2,)]
    whole = {
        "c_synapse": conv(1, 3, (7, 7), 5),
        "c": lif((1, 7, 7)),
        "c_flat": nir.Flatten({"input": np.array((1, 7, 7))}, 0, -1),
    }
    nodes |= {**whole, "c_out": nir.Affine(np.ones((2, 49)), np.zeros(2)), "last": lif((2,))}
    edges += [
        ("a", "c_synapse"),
        ("c_synapse", "c"),
        ("c", "c_flat"),
        ("c_flat", "c_out"),
        ("c_out", "last"),
        ("out", "last"),
    ]
    kept = lower(order(graph_of(nodes, edges, "last")))
    assert {layer.name: layer.shape for layer in kept}["a"] == (3, 7, 7)


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (
            {"in": conv(2, 2, (7, 7)), "last": lif((2, 7, 7))},
            [("input", "in"), ("input", "last"), ("in", "last")],
            r"node 'last': sums what neurons send and what 'in' gives.*put neurons",
        ),
        (
            {"in": conv(2, 2, (7, 7)), "second": conv(2, 2, (7, 7)), "last": lif((2, 7, 7))},
            [("input", "in"), ("in", "second"), ("second", "last")],
            r"node 'second': a Conv after the synapse 'in'",
        ),
        (
            {"in": conv(2, 2, (7, 7)), "mix": conv(2, 2, (7, 7), 1), "last": lif((2, 7, 7))},
            [("input", "in"), ("in", "mix"), ("mix", "last")],
            r"node 'mix': a Conv after the synapse 'in'",
        ),
    ],
)
def test_what_no_synapse_does_is_refused_by_node(
    nodes: dict[str, Any], edges: list[tuple[str, str]], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        quantise(graph_of(nodes, edges, "last"), (2, 7, 7), 1, frames_for((2, 7, 7)))
    assert "\n" not in str(error.value)
