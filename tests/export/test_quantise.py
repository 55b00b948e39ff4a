"""The quantiser: what its integers do, what it refuses and what it reports."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import nir
import numpy as np
import pytest
from example_networks import make_frames, make_network
from plain_program import run_plain

from tmkt.errors import InputError
from tmkt.export.quantise import quantise as module
from tmkt.export.quantise.quantise import quantise
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir

DT = 1e-4


def lif(shape: tuple[int, ...], tau: float = 2 * DT, **fields: float) -> nir.LIF:
    values = {"tau": tau, "r": 1.0, "v_leak": 0.0, "v_threshold": 1.0, "v_reset": 0.0, **fields}
    return nir.LIF(**{name: np.full(shape, value, np.float32) for name, value in values.items()})


def chain(shape: tuple[int, ...], **nodes: Any) -> nir.NIRGraph:
    """A NIR graph of nodes in a row."""
    everything = {
        "input": nir.Input({"input": np.array(shape)}),
        **nodes,
        "output": nir.Output({"output": None}),
    }
    names = list(everything)
    return nir.NIRGraph(everything, list(pairwise(names)), {"dt": DT}, type_check=False)


def flatten(shape: tuple[int, ...] = (1, 1, 4)) -> nir.Flatten:
    return nir.Flatten({"input": np.array(shape)}, 0, -1)


def affine(weight: np.ndarray, bias: np.ndarray | None = None) -> nir.Affine:
    return nir.Affine(
        weight.astype(np.float32),
        np.zeros(len(weight), np.float32) if bias is None else bias.astype(np.float32),
    )


SOME = np.array([[0.5, -0.25, 0.125, 1.0]] * 4)
FRAMES = make_frames(4, 20, (1, 1, 4), seed=1) | make_frames(4, 20, (1, 1, 4), seed=2)


def test_a_network_too_large_for_all_recordings_meets_some_spread_over_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph = chain(
        (1, 1, 4), flat=flatten(), synapse=affine(SOME), readout=lif((4,)), last=affine(SOME)
    )
    frames = np.zeros((12, 20, 1, 1, 4), np.uint8)
    frames[[0, 4, 8]] = FRAMES[:1]
    operations = 2 * 16 * 20  # of a sample
    monkeypatch.setattr(module, "CALIBRATION_OPERATIONS", 3 * operations)
    assert (
        quantise(graph, (1, 1, 4), 1, frames)[1]
        == quantise(graph, (1, 1, 4), 1, FRAMES[[0, 0, 0]])[1]
    )
    monkeypatch.setattr(module, "CALIBRATION_OPERATIONS", 1)
    met: list[int] = []
    monkeypatch.setattr(
        FloatNetwork,
        "run",
        lambda self, given, run=FloatNetwork.run: (met.append(len(given)), run(self, given))[1],
    )
    quantise(graph, (1, 1, 4), 1, frames)
    monkeypatch.setattr(module, "CALIBRATION_OPERATIONS", 12 * operations)
    quantise(graph, (1, 1, 4), 1, frames)
    assert met == [1, 12]


def test_weights_that_lie_on_the_grid_become_exactly_those_integers() -> None:
    weight = np.array([[254, -128, 2, 0], [-254, 64, 32, 6], [10, 20, 30, 40], [-2, -4, -8, -16]])
    graph = chain(
        (1, 1, 4),
        flat=flatten(),
        synapse=affine(weight / 128, np.array([3, -4095, 0, 1]) / 128),
        conv1=lif((4,)),
    )
    program, [report] = quantise(graph, (1, 1, 4), 1, FRAMES)
    [layer] = program.layers
    np.testing.assert_array_equal(layer.synapses[0].weight, weight)  # gain 1/2, scale 256
    np.testing.assert_array_equal(layer.bias, [3, -4095, 0, 1])
    assert (layer.threshold, layer.scale, layer.voltage_decay, layer.fires, program.readout) == (
        256,
        256,
        2048,
        True,
        "spikes",
    )
    assert (report["limited_by"], report["weight_error_rms"], report["clipped_weights"]) == (
        "weight",
        0.0,
        0.0,
    )


def test_integer_spikes_follow_float_spikes_where_rounding_is_all_that_differs() -> None:
    rng = np.random.default_rng(0)
    weight = 2 * rng.integers(-127, 128, (40, 16))
    weight[0, 0] = 254
    bias = rng.integers(-50, 80, 40) + 0.5
    nodes = {
        "flat": flatten((1, 4, 4)),
        "synapse": affine(weight / 128, bias / 128),
        "conv1": lif((40,)),
    }
    graph = chain((1, 4, 4), **nodes)
    frames = make_frames(6, 60, (1, 4, 4), 3)
    program, _ = quantise(graph, (1, 4, 4), 3, frames)
    expected = FloatNetwork(graph).run(frames).spikes["conv1"]
    _, found, _ = run_plain(program, frames)
    assert expected.sum() > 1000
    assert (found["conv1"] != expected).sum() < 0.01 * expected.sum()


@pytest.mark.parametrize("shape", [(2, 34, 34), (2, 33, 35)])
def test_an_eight_bit_network_keeps_rates_and_logits(shape: tuple[int, int, int]) -> None:
    net = make_network(shape, (6, 8, 10))
    frames = make_frames(4, 6, shape)
    program, report = quantise(network_to_nir(net), shape, 1, frames)
    expected = FloatNetwork(network_to_nir(net)).run(frames[:2])
    readout, spikes, _ = run_plain(program, frames[:2])
    assert (
        [layer.name for layer in program.layers]
        == ["conv1", "conv2", "conv3", "readout"]
        == [entry["layer"] for entry in report]
    )
    for name, found in spikes.items():
        _, height, width = program.shape_of(name)
        assert abs(found.mean() / expected.spikes[name][..., :height, :width].mean() - 1) < 0.05
    logits = readout / 64 / program.layers[-1].scale
    assert np.sqrt(((logits - expected.readout) ** 2).mean() / (expected.readout**2).mean()) < 0.25


def test_a_map_before_a_pool_is_cropped_to_what_the_pool_reads() -> None:
    program, _ = quantise(
        network_to_nir(make_network((2, 33, 35), (6, 8, 10))),
        (2, 33, 35),
        1,
        make_frames(1, 3, (2, 33, 35)),
    )
    assert [layer.shape for layer in program.layers] == [
        (6, 17, 18),
        (8, 16, 18),
        (10, 8, 8),
        (10,),
    ]
    assert [layer.synapses[0].pool for layer in program.layers] == [1, 1, 2, 2]


def test_average_and_sum_pools_differ_by_their_area_only() -> None:
    two = np.array([2, 2])
    programs = []
    for pool, factor in ((nir.SumPool2d, 1), (nir.AvgPool2d, 4)):
        node = pool(two, two, np.array([0, 0]))
        graph = chain(
            (1, 2, 8), pool=node, flat=flatten(), synapse=affine(SOME * factor), conv1=lif((4,))
        )
        programs.append(quantise(graph, (1, 2, 8), 1, make_frames(2, 10, (1, 2, 8)))[0])
    np.testing.assert_array_equal(
        programs[0].layers[0].synapses[0].weight, programs[1].layers[0].synapses[0].weight
    )
    assert programs[0].layers[0].scale == programs[1].layers[0].scale


def test_if_neurons_do_not_leak() -> None:
    node = nir.IF(*(np.full(4, value, np.float32) for value in (1 / DT, 1.0, 0.0)))
    program, _ = quantise(
        chain((1, 1, 4), flat=flatten(), synapse=affine(SOME), conv1=node), (1, 1, 4), 1, FRAMES
    )
    assert (program.layers[0].voltage_decay, program.layers[0].scale) == (0, 254)


@pytest.mark.parametrize("bits", range(2, 9))
def test_every_width_keeps_to_its_own_grid(bits: int) -> None:
    frames = make_frames(2, 4, (2, 34, 34))
    program, report = quantise(network_to_nir(make_network()), (2, 34, 34), 1, frames, bits)
    for layer, entry in zip(program.layers, report, strict=True):
        step = entry["step"]
        assert step in (
            (2 ** (9 - bits),) if entry["limited_by"] == "weight" else (2, 4, 8, 16, 32, 64, 128)
        )
        weight = layer.synapses[0].weight
        assert not np.any(weight % step)
        assert np.abs(weight).max() <= step * (2 ** (bits - 1) - 1) <= 254
        assert entry["bits"] == bits
        assert entry["zero_weights"] == np.mean(weight == 0)
        assert 0 < entry["weight_error_rms"] < 1.5


def test_a_long_integration_limits_the_read_out_and_not_its_weights() -> None:
    graph = chain(
        (1, 1, 4),
        flat=flatten(),
        synapse=affine(SOME),
        conv1=lif((4,)),
        readout=affine(np.full((2, 4), 0.01)),
    )
    frames = np.ones((1, 300, 1, 1, 4), np.uint8)
    program, report = quantise(graph, (1, 1, 4), 1, frames)
    assert report[-1]["limited_by"] == "membrane"
    readout, _, _ = run_plain(program, frames)
    assert 2**21 < np.abs(readout).max() < 2**22 * 1.02  # room for twice as much


def test_a_large_bias_limits_the_scale() -> None:
    program, [report] = quantise(
        chain((1, 1, 4), flat=flatten(), synapse=affine(SOME, np.full(4, -100.0)), conv1=lif((4,))),
        (1, 1, 4),
        1,
        FRAMES,
    )
    assert (report["limited_by"], report["largest_bias"], program.layers[0].scale) == (
        "bias",
        4050,
        81,
    )


CONV = nir.Conv2d((1, 4), np.ones((1, 1, 1, 1), np.float32), 1, 0, 1, 1, np.zeros(1, np.float32))


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        (
            {"flat": flatten(), "synapse": affine(SOME), "conv1": lif((4,), v_reset=0.5)},
            r"node 'conv1': v_reset 0.5, expected v_reset 0",
        ),
        (
            {"flat": flatten(), "synapse": affine(SOME), "conv1": lif((4,), v_leak=-0.1)},
            r"node 'conv1': v_leak -0.1.*, expected v_leak 0",
        ),
        (
            {"flat": flatten(), "synapse": affine(SOME), "conv1": lif((4,), tau=DT / 2)},
            r"node 'conv1': dt / tau = 2, expected 0..1",
        ),
        (
            {"flat": flatten(), "synapse": affine(SOME), "conv1": lif((4,), r=-1.0)},
            r"node 'conv1': input gain -0.5",
        ),
        (
            {"flat": flatten(), "synapse": affine(0 * SOME), "conv1": lif((4,))},
            r"node 'synapse': all weights are 0.*train the network again",
        ),
        (
            {"flat": flatten(), "synapse": affine(SOME * np.nan), "conv1": lif((4,))},
            r"node 'synapse': infinite or undefined",
        ),
        (
            {
                "flat": flatten(),
                "synapse": affine(SOME),
                "second": affine(SOME),
                "conv1": lif((4,)),
            },
            r"node 'second': a Dense after .* 'synapse'",
        ),
        ({"conv1": lif((1, 1, 4))}, r"node 'conv1': neurons without a synapse"),
        (
            {"synapse": CONV, "conv1": lif((1, 1, 4)), "flat": flatten()},
            r"node 'flat': a Flatten is the last node",
        ),
    ],
)
def test_what_a_chip_cannot_hold_is_refused_by_node_and_value(
    nodes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        quantise(chain((1, 1, 4), **nodes), (1, 1, 4), 1, FRAMES)
    assert ";" in str(error.value)
    assert "\n" not in str(error.value)


def test_thresholds_that_differ_within_a_layer_are_refused() -> None:
    neurons = replace(lif((4,)), v_threshold=np.array([1, 1, 2, 1], np.float32))
    with pytest.raises(
        InputError, match=r"node 'conv1': v_threshold from 1.0 to 2.0, expected one value"
    ):
        quantise(
            chain((1, 1, 4), flat=flatten(), synapse=affine(SOME), conv1=neurons),
            (1, 1, 4),
            1,
            FRAMES,
        )


@pytest.mark.parametrize(
    ("bits", "frames", "message"),
    [(1, FRAMES, "bits: 1"), (9, FRAMES, "bits: 9"), (8, FRAMES[:0], "calibration: frames of")],
)
def test_wrong_settings_are_refused(bits: int, frames: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantise(
            chain((1, 1, 4), flat=flatten(), synapse=affine(SOME), conv1=lif((4,))),
            (1, 1, 4),
            1,
            frames,
            bits,
        )


def test_weights_that_all_round_to_zero_are_refused() -> None:
    graph = chain(
        (1, 1, 4), flat=flatten(), synapse=affine(SOME, np.full(4, -1e5)), conv1=lif((4,))
    )
    with pytest.raises(
        InputError, match=r"layer 'conv1': no weight is left, its scale .* limited by the bias"
    ):
        quantise(graph, (1, 1, 4), 1, FRAMES)
