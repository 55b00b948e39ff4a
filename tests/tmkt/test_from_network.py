"""Tests of networks as NIR: the same spikes, whatever batch norms and map sizes are."""

import numpy as np
import pytest
from example_networks import make_frames, make_network, torch_run

from tmkt.errors import InputError
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir


@pytest.mark.parametrize(
    ("shape", "strides", "pools", "tau", "max_count"),
    [
        ((2, 34, 34), (2, 1, 1), (1, 2, 2), 2.0, 1),
        ((2, 33, 35), (1, 2, 1), (2, 2, 1), 3.0, 1),
        ((2, 37, 51), (2, 1, 1), (2, 2, 2), 2.0, 3),
        ((1, 20, 17), (1, 1, 2), (3, 1, 2), 1.25, 1),
    ],
)
def test_the_graph_spikes_as_the_network_does(
    shape: tuple[int, int, int],
    strides: tuple[int, ...],
    pools: tuple[int, ...],
    tau: float,
    max_count: int,
) -> None:
    net = make_network(shape, (6, 8, 10), strides, pools, tau)
    frames = make_frames(2, 6, shape, max_count)
    logits, spikes = torch_run(net, frames)
    found = FloatNetwork(network_to_nir(net)).run(frames)
    assert list(found.spikes) == ["conv1", "conv2", "conv3"]
    for name, expected in spikes.items():
        assert 0.005 < expected.mean() < 0.6
        np.testing.assert_array_equal(found.spikes[name], expected)
    np.testing.assert_allclose(found.readout, logits, atol=1e-4)


def test_the_time_step_changes_the_file_and_not_the_network() -> None:
    net, frames = make_network(), make_frames(1, 5, (2, 34, 34))
    one, other = network_to_nir(net), network_to_nir(net, dt=1e-3)
    assert other.nodes["conv1"].tau.flat[0] == np.float32(2e-3)
    for name, expected in FloatNetwork(one).run(frames).spikes.items():
        np.testing.assert_array_equal(FloatNetwork(other).run(frames).spikes[name], expected)


def test_arrays_are_float32_and_the_rules_are_in_the_metadata() -> None:
    graph = network_to_nir(make_network())
    for name in ("conv1", "conv1_synapse", "readout"):
        arrays = [
            value
            for value in vars(graph.nodes[name]).values()
            if isinstance(value, np.ndarray) and value.dtype.kind == "f"
        ]
        assert arrays
        assert all(array.dtype == np.float32 for array in arrays)
    assert graph.metadata == {
        "dt": 1e-4,
        "reset": "hard",
        "threshold_rule": ">=",
        "discretisation": "euler",
    }


def test_a_neuron_that_nir_would_misread_is_refused() -> None:
    net = make_network()
    net.blocks[1].neuron.v_reset = None
    with pytest.raises(InputError, match="v_reset=None"):
        network_to_nir(net)
