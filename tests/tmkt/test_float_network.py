"""Tests of the float network against hand-made sums and torch."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import example_nir
import nir
import numpy as np
import pytest
import torch
from example_nir import full, lif

from tmkt.errors import InputError
from tmkt.install import pip_install
from tmkt.nir import float_network
from tmkt.nir.conventions import Conventions
from tmkt.nir.file import MAX_FILE_BYTES
from tmkt.nir.float_network import FloatNetwork

FLAT = nir.Flatten({"input": np.array([1, 1, 2])}, 0, -1)


def graph(
    shape: tuple[int, ...],
    nodes: dict[str, Any],
    edges: list[tuple[str, str]] | None = None,
    metadata: dict[str, Any] | None = None,
) -> nir.NIRGraph:
    return example_nir.graph(shape, nodes, edges, {"threshold_rule": ">=", **(metadata or {})})


def counts(*steps: list[int]) -> np.ndarray:
    """Make one sample of a 1 x 1 x W input."""
    return np.array(steps, np.uint8)[None, :, None, None, :]


def test_lif_neurons_fire_at_their_threshold_and_reset() -> None:
    network = FloatNetwork(graph((1, 1, 2), {"flat": FLAT, "lif": lif(2, reset=0.25, leak=0.5)}))
    out = network.run(counts([1, 0], [1, 2], [2, 0]))
    # v: 0 -> .5*(.5+1)=.75 -> .75+.5*(.5-.75+1)=1.125 fires -> .25+.5*(.5-.25+2)=1.375 fires
    #    0 -> .25 -> .25+.5*(.5-.25+2)=1.375 fires -> .25+.5*(.25)=.375
    np.testing.assert_array_equal(out.spikes["lif"], [[[0, 0], [1, 1], [1, 0]]])
    np.testing.assert_array_equal(out.readout, [[2, 1]])
    assert out.peak == {"lif": 1.375}


def test_a_membrane_exactly_at_the_threshold_fires() -> None:
    out = FloatNetwork(graph((1, 1, 2), {"flat": FLAT, "lif": lif(2)})).run(counts([2, 1]))
    np.testing.assert_array_equal(out.spikes["lif"], [[[1, 0]]])


def test_if_neurons_take_r_times_dt() -> None:
    node = nir.IF(full(5000, 2), full(1, 2), full(0, 2))
    out = FloatNetwork(graph((1, 1, 2), {"flat": FLAT, "if": node})).run(
        counts([1, 0], [0, 1], [1, 0])
    )
    np.testing.assert_array_equal(out.spikes["if"][0].sum(0), [1, 0])


def test_the_time_step_comes_from_the_metadata_or_the_caller() -> None:
    nodes = {"flat": FLAT, "lif": lif(2, tau=2e-3)}
    frames = counts([3, 1])
    assert FloatNetwork(graph((1, 1, 2), nodes)).run(frames).readout.sum() == 0
    assert (
        FloatNetwork(graph((1, 1, 2), nodes, metadata={"dt": 1e-3})).run(frames).readout.sum() == 1
    )
    assert (
        FloatNetwork(graph((1, 1, 2), nodes), Conventions(dt=1e-3)).run(frames).readout.sum() == 1
    )


def test_the_read_out_sums_the_last_affine_over_time_and_its_peak_is_the_largest_sum_so_far() -> (
    None
):
    node = nir.Affine(np.array([[1, -1]], np.float32), np.array([0.5], np.float32))
    out = FloatNetwork(graph((1, 1, 2), {"flat": FLAT, "readout": node})).run(
        counts([3, 0], [0, 5])
    )
    np.testing.assert_array_equal(out.readout, [[-1]])
    assert out.peak == {"readout": 3.5}


def test_edges_into_one_node_are_summed() -> None:
    one, other = (
        nir.Linear(np.array([[1, 2], [0, 1]], np.float32)),
        nir.Linear(np.array([[10, 0], [0, 10]], np.float32)),
    )
    nodes = {"flat": FLAT, "a": one, "b": other, "readout": nir.Linear(np.eye(2, dtype=np.float32))}
    edges = [
        ("input", "flat"),
        ("flat", "a"),
        ("flat", "b"),
        ("a", "readout"),
        ("b", "readout"),
        ("readout", "output"),
    ]
    np.testing.assert_array_equal(
        FloatNetwork(graph((1, 1, 2), nodes, edges)).run(counts([1, 2])).readout, [[15, 22]]
    )


@pytest.mark.parametrize("pool", [nir.SumPool2d, nir.AvgPool2d])
def test_pools_drop_the_remainder(pool: type) -> None:
    node = pool(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    frames = np.arange(15, dtype=np.uint8).reshape(1, 1, 1, 3, 5)
    out = FloatNetwork(graph((1, 3, 5), {"pool": node})).run(frames)
    expected = np.array([[12, 20]]) / (1 if pool is nir.SumPool2d else 4)
    np.testing.assert_array_equal(out.readout, expected)


@pytest.mark.parametrize("groups", [1, 2])
def test_convolutions_are_those_of_torch(groups: int) -> None:
    torch.manual_seed(0)
    conv = torch.nn.Conv2d(4, 6, (3, 2), (2, 1), (1, 2), (1, 2), groups)
    node = nir.Conv2d(
        (9, 8),
        conv.weight.detach().numpy(),
        (2, 1),
        (1, 2),
        (1, 2),
        groups,
        conv.bias.detach().numpy(),
    )
    frames = np.random.default_rng(0).integers(0, 4, (2, 3, 4, 9, 8)).astype(np.uint8)
    with torch.no_grad():
        expected = (
            conv(torch.from_numpy(frames).float().flatten(0, 1))
            .unflatten(0, (2, 3))
            .sum(1)
            .flatten(1)
            .numpy()
        )
    np.testing.assert_allclose(
        FloatNetwork(graph((4, 9, 8), {"conv": node})).run(frames).readout,
        expected,
        rtol=1e-4,
        atol=1e-4,
    )


def test_batches_and_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    nodes = {
        "conv": nir.Conv2d(
            (8, 8),
            rng.normal(0, 1, (3, 1, 3, 3)).astype(np.float32),
            1,
            1,
            1,
            1,
            np.zeros(3, np.float32),
        ),
        "lif": lif(3, 8, 8),
    }
    frames = (rng.random((7, 5, 1, 8, 8)) < 0.3).astype(np.uint8)
    expected = FloatNetwork(graph((1, 8, 8), nodes)).run(frames)
    monkeypatch.setattr(float_network, "_BATCH_BYTES", 1)
    monkeypatch.setattr(float_network, "_COLUMN_BYTES", 1)
    found = FloatNetwork(graph((1, 8, 8), nodes)).run(frames)
    np.testing.assert_array_equal(found.spikes["lif"], expected.spikes["lif"])
    assert found.peak == pytest.approx(expected.peak, rel=1e-6)


def two(**changes: Any) -> nir.SumPool2d:
    return nir.SumPool2d(
        **{
            "kernel_size": np.array([2, 2]),
            "stride": np.array([2, 2]),
            "padding": np.array([0, 0]),
            **changes,
        }
    )


@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (
            {"scale": nir.Scale(np.ones(3))},
            None,
            r"node 'scale': found scale of shape \(3,\), expected parameters of shape \(1, 1, 2\)",
        ),
        (
            {"pool": two(stride=np.array([1, 1]))},
            None,
            r"node 'pool': kernel \(2, 2\), stride \(1, 1\)",
        ),
        ({"pool": two(padding=np.array([1, 1]))}, None, r"node 'pool': .* padding \(1, 1\)"),
        (
            {"pool": two()},
            None,
            r"node 'pool': found \(1, 1, 2\), expected a map of at least 2 x 2",
        ),
        ({"lif": lif(3)}, None, r"node 'lif': found .*, expected parameters of shape \(1, 1, 2\)"),
        ({"lif": lif(1, 1, 2, threshold=0.0)}, None, r"node 'lif': found threshold 0,"),
        ({"lif": lif(1, 1, 2, leak=np.inf)}, None, r"node 'lif': infinite or undefined v_leak"),
        (
            {"a": nir.Linear(np.eye(3))},
            None,
            r"node 'a': found .*, expected weights \[N_out, N_in\]",
        ),
        (
            {"a": lif(1, 1, 2)},
            [("input", "a"), ("a", "a"), ("a", "output")],
            r"node 'a': found a loop without a synapse",
        ),
        (
            {"a": lif(1, 1, 2), "b": FLAT},
            [("input", "a"), ("input", "b"), ("a", "output")],
            r"node 'b': feeds nothing, expected that all nodes lead to the output",
        ),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(
    nodes: dict[str, Any], edges: list[tuple[str, str]] | None, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        FloatNetwork(graph((1, 1, 2), nodes, edges))


def test_a_file_that_is_not_nir_is_refused_in_one_line(tmp_path: Path) -> None:
    import h5py

    with pytest.raises(InputError, match="no such file"):
        FloatNetwork.load(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("no")
    with h5py.File(tmp_path / "empty.nir", "w"):
        pass
    with h5py.File(tmp_path / "vast.nir", "w") as file:
        file.create_dataset("node/weight", (MAX_FILE_BYTES // 4 + 1,), np.float32, chunks=(1024,))
    for name, message in [
        ("text.nir", "not a readable NIR file"),
        ("empty.nir", "not a readable NIR file"),
        ("vast.nir", "unpacks to"),
    ]:
        with pytest.raises(InputError, match=message) as error:
            FloatNetwork.load(tmp_path / name)
        assert "\n" not in str(error.value)


def test_without_nir_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(InputError, match=re.escape(pip_install("export"))):
        FloatNetwork.load(tmp_path / "network.nir")


def test_running_a_nir_file_imports_no_torch() -> None:
    script = (
        "import sys, tmkt.nir.float_network, tmkt.nir.file; tmkt.nir.file.import_nir();"
        " sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
