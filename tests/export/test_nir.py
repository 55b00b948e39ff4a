"""Tests of network.nir, read and run here and by snnTorch."""

import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from example_networks import make_frames, make_network
from numpy.typing import NDArray

from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.nir import write_nir
from tmkt.export.targets.program_nir import program_to_nir
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator


def summed_logits(other: torch.nn.Module, frames: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Run another framework's network step by step, and add up what it gives."""
    state, logits = None, np.zeros(())
    with torch.no_grad():
        for t in range(frames.shape[1]):
            out, state = other(torch.from_numpy(frames[:, t]).float(), state)
            logits = logits + out.double().numpy()
    return logits


def test_the_file_runs_as_the_graph_does(tmp_path: Path) -> None:
    net, frames = make_network((2, 33, 35)), make_frames(2, 5, (2, 33, 35))
    graph = network_to_nir(net)
    write_nir(graph, tmp_path / "network.nir")
    expected, found = (
        FloatNetwork(graph).run(frames),
        FloatNetwork.load(tmp_path / "network.nir").run(frames),
    )
    np.testing.assert_array_equal(found.readout, expected.readout)
    assert found.peak == expected.peak


def test_the_same_network_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.nir", "b.nir"):
        write_nir(network_to_nir(make_network()), tmp_path / name)
    assert (tmp_path / "a.nir").read_bytes() == (tmp_path / "b.nir").read_bytes()


@pytest.mark.filterwarnings("ignore")  # of snnTorch's own imports
@pytest.mark.parametrize("shape", [(2, 34, 34), (2, 33, 35)])
def test_snntorch_reads_the_file_and_gives_the_same_logits(
    tmp_path: Path, shape: tuple[int, int, int]
) -> None:
    import nir
    from snntorch.import_nir import import_from_nir

    net, frames = make_network(shape), make_frames(3, 6, shape)
    write_nir(network_to_nir(net), tmp_path / "network.nir")
    expected = FloatNetwork.load(tmp_path / "network.nir").run(frames).readout
    graph = nir.read(tmp_path / "network.nir")
    other = import_from_nir(graph)
    np.testing.assert_allclose(summed_logits(other, frames), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of what SpikingJelly imports
def test_spikingjelly_reads_the_file_and_gives_the_same_logits(tmp_path: Path) -> None:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    shape = (2, 13, 11)
    frames = make_frames(4, 8, shape)
    net = make_network(shape, (6, 8), (1, 1), (2, 2), classes=4)
    write_nir(network_to_nir(net), tmp_path / "network.nir")
    expected = FloatNetwork.load(tmp_path / "network.nir").run(frames).readout
    other = import_from_nir(tmp_path / "network.nir", dt=1e-4)
    np.testing.assert_allclose(summed_logits(other, frames), expected, atol=1e-4)


@pytest.mark.filterwarnings("ignore")  # of snnTorch's own imports
def test_snntorch_runs_the_integers_as_they_are_and_fires_as_the_simulator_does(
    tmp_path: Path,
) -> None:
    import nir
    from snntorch.import_nir import import_from_nir

    shape = (2, 13, 11)
    frames = make_frames(4, 8, shape)
    program, _ = quantise(
        network_to_nir(make_network(shape, (6, 8), (1, 1), (2, 2), classes=4)), shape, 1, frames
    )
    write_nir(program_to_nir(program), tmp_path / "integers.nir")
    other = import_from_nir(nir.read(tmp_path / "integers.nir"))
    state, membrane = None, np.zeros((4, 4), np.float32)
    with torch.no_grad():
        for t in range(frames.shape[1]):
            out, state = other(torch.from_numpy(frames[:, t]).float(), state)
            membrane += out.numpy()
    np.testing.assert_array_equal(64 * membrane, Simulator(program, 1).run(frames).readout)


def test_with_tau_2_float_membranes_are_the_programs_until_halving_has_used_up_its_bits() -> None:
    weight = np.ones((1, 1), np.int16)
    neuron = Layer(
        "readout", (1,), (Synapse("input", "dense", weight),), np.zeros(1, np.int32), 131071, 2048,
        fires=False,
    )  # fmt: skip
    program = Program((1, 1, 1), 1, (neuron,), "membrane")
    for steps in range(1, 12):
        frames = np.zeros((1, steps, 1, 1, 1), np.uint8)
        frames[:, 0] = 1
        ours = Simulator(program, 1).run(frames).readout / 64
        float32 = FloatNetwork(program_to_nir(program)).run(frames).readout
        assert float32 == 0.5 ** (steps - 1)
        assert (ours == float32) == (steps <= 7)


@pytest.mark.skipif("TMKT_NORSE_PYTHON" not in os.environ, reason="needs Norse: make test-peers")
def test_norse_loads_both_files_as_they_are(tmp_path: Path) -> None:
    shape = (2, 13, 11)
    frames = make_frames(4, 8, shape)
    np.save(tmp_path / "frames.npy", frames)
    graph = network_to_nir(make_network(shape, (6, 8), (1, 1), (2, 2), classes=4))
    program, _ = quantise(graph, shape, 1, frames)
    script = Path(__file__).parents[1] / "support" / "norse_process.py"
    for file, expected in (
        (graph, FloatNetwork(graph).run(frames).readout),
        (program_to_nir(program), Simulator(program, 1).run(frames).readout / 64),
    ):
        write_nir(file, tmp_path / "file.nir")
        command = [
            os.environ["TMKT_NORSE_PYTHON"],
            script,
            "run",
            tmp_path / "file.nir",
            tmp_path / "frames.npy",
            tmp_path / "out.npz",
        ]
        subprocess.run(command, check=True)
        outputs = np.load(tmp_path / "out.npz", allow_pickle=False)["outputs"]
        np.testing.assert_allclose(outputs.sum(1), expected, atol=1e-4)
