"""network.nir, read and run by us and by snnTorch."""

from pathlib import Path

import numpy as np
import pytest
import torch
from example_networks import make_frames, make_network

from tmkt.export.graph import network_to_nir
from tmkt.export.nir import write_nir
from tmkt.float_network import FloatNetwork


def test_the_file_runs_as_the_graph_does(tmp_path: Path) -> None:
    net, frames = make_network((2, 33, 35)), make_frames(2, 5, (2, 33, 35))
    graph = network_to_nir(net)
    write_nir(graph, tmp_path / "network.nir")
    expected, found = FloatNetwork(graph).run(frames), FloatNetwork.load(tmp_path / "network.nir").run(frames)
    np.testing.assert_array_equal(found.readout, expected.readout)
    assert found.peak == expected.peak


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nir", "b.nir"):
        write_nir(network_to_nir(make_network()), tmp_path / name)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


@pytest.mark.filterwarnings("ignore")  # of snnTorch's own imports
@pytest.mark.parametrize("shape", [(2, 34, 34), (2, 33, 35)])
def test_snntorch_reads_the_file_and_gives_the_same_logits(tmp_path: Path, shape: tuple[int, int, int]) -> None:
    import nir
    from snntorch.import_nir import import_from_nir

    net, frames = make_network(shape), make_frames(3, 6, shape)
    write_nir(network_to_nir(net), tmp_path / "network.nir")
    expected = FloatNetwork.load(tmp_path / "network.nir").run(frames).readout
    graph = nir.read(tmp_path / "network.nir")
    other = import_from_nir(graph)
    state, logits = None, np.zeros_like(expected)
    with torch.no_grad():
        for t in range(frames.shape[1]):
            out, state = other(torch.from_numpy(frames[:, t]).float(), state)
            logits += out.numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
