"""Networks from Sinabs, and ours in Sinabs: it pins nir up to 1.0.4. `make test-peers` installs it
in an environment of its own and runs this.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from example_nir import affine, conv, flatten, frames, full, graph

from tmkt.export.normalise import normalise
from tmkt.export.targets.nir import write_nir
from tmkt.nir.conventions import Conventions
from tmkt.nir.file import read_nir
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.order import order

PYTHON = os.environ.get("TMKT_SINABS_PYTHON", "")
PROCESS = Path(__file__).parents[1] / "support" / "sinabs_process.py"
peers = pytest.mark.skipif(not PYTHON, reason="needs Sinabs: make test-peers")


def if_(*shape: int) -> nir.IF:
    return nir.IF(full(1e4, *shape), full(1, *shape), full(0, *shape))


def written(path: Path) -> None:
    nodes = {
        "conv": conv(4, 2, scale=1),
        "n1": if_(4, 8, 8),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": flatten(4, 4, 4),
        "dense": affine(5, 64),
        "n2": if_(5),
    }
    write_nir(normalise(order(graph((2, 8, 8), nodes)), None)[0], path)


def test_a_reset_to_zero_is_not_written_and_any_other_is(tmp_path: Path) -> None:
    def fields(made: Any) -> set[str]:
        write_nir(made, tmp_path / "a.nir")
        with h5py.File(tmp_path / "a.nir") as file:
            return set(file["node/nodes/n1"])

    made = graph((5,), {"n1": if_(5)})
    assert "v_reset" not in fields(made)
    np.testing.assert_array_equal(
        nir.read(tmp_path / "a.nir", type_check=False).nodes["n1"].v_reset, full(0, 5)
    )
    made.nodes["n1"].v_reset[2] = -0.5
    assert "v_reset" in fields(made)


@peers
@pytest.mark.parametrize("name", ["shaped", "leaky"])
def test_no_spike_of_sinabs_differs(tmp_path: Path, name: str) -> None:
    subprocess.run([PYTHON, PROCESS, "write", tmp_path], check=True)
    conventions = Conventions(dt=1, decay="exponential", fires_at=">=")
    network = FloatNetwork(order(read_nir(tmp_path / f"{name}.nir"), conventions))
    with np.load(tmp_path / f"{name}.npz") as stored:
        found = network.run(stored["frames"]).spikes
        for i, spikes in enumerate(found.values()):
            assert 20 < spikes.sum() < 0.8 * spikes.size
            np.testing.assert_array_equal(spikes, stored[str(i)])


@peers
def test_sinabs_loads_our_file_and_spikes_alike(tmp_path: Path) -> None:
    written(tmp_path / "network.nir")
    given = frames((2, 8, 8), steps=20)
    np.save(tmp_path / "in.npy", given)
    arguments = (tmp_path / "network.nir", tmp_path / "in.npy", tmp_path / "out.npz")
    subprocess.run([PYTHON, PROCESS, "run", *arguments], check=True)
    expected = FloatNetwork(read_nir(tmp_path / "network.nir")).run(given).spikes
    last = list(expected)[-1]
    assert expected[last].sum() > 20
    with np.load(tmp_path / "out.npz") as found:
        np.testing.assert_array_equal(found["spikes"], expected[last])
