"""The float network as ONNX, executed by ONNX Runtime alone, against SpikingJelly and the numpy
float network.
"""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from example_networks import make_frames, make_network, torch_run
from numpy.typing import NDArray

from tmkt.export.targets.onnx_float import float_to_onnx
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir

SHAPE = (2, 34, 34)


def run(
    path: Path, frames: NDArray[np.uint8], states: dict[str, Any] | None = None
) -> dict[str, Any]:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    feed = {"x": np.ascontiguousarray(frames.swapaxes(0, 1))}
    for state in session.get_inputs()[1:]:
        feed[state.name] = (
            states[f"{state.name}_out"]
            if states
            else np.zeros((len(frames), *state.shape[1:]), np.float32)
        )
    return dict(
        zip([out.name for out in session.get_outputs()], session.run(None, feed), strict=True)
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    net, path = make_network(SHAPE), tmp_path_factory.mktemp("onnx") / "network-float.onnx"
    float_to_onnx(network_to_nir(net)).write(path, ["a"] * 10)
    return net, path


def test_it_gives_the_spikes_and_logits_of_spikingjelly(written: tuple[Any, Path]) -> None:
    net, path = written
    frames = make_frames(6, 8, SHAPE, max_count=2)
    logits, spikes = torch_run(net, frames)
    found = run(path, frames)
    np.testing.assert_allclose(found["readout"], logits, rtol=1e-4, atol=1e-4)
    assert {name.removesuffix(".spikes") for name in found if name.endswith(".spikes")} == set(
        spikes
    )
    for name, expected in spikes.items():
        assert expected.any()
        np.testing.assert_array_equal(
            found[f"{name}.spikes"].swapaxes(0, 1), expected, err_msg=name
        )


def test_a_stream_in_chunks_equals_one_run(written: tuple[Any, Path]) -> None:
    _, path = written
    frames = make_frames(3, 9, SHAPE)
    whole, first = run(path, frames), run(path, frames[:, :4])
    second = run(path, frames[:, 4:], first)
    for name, expected in whole.items():
        if name.endswith(".spikes"):
            np.testing.assert_array_equal(np.concatenate([first[name], second[name]]), expected)
        else:
            np.testing.assert_allclose(second[name], expected, rtol=1e-5, atol=1e-5)


def test_every_node_that_nir_has_for_it_gives_what_the_numpy_network_gives(tmp_path: Path) -> None:
    import nir

    rng = np.random.default_rng(0)
    wide, flat = (3, 4, 5), (6,)
    lif = {
        "tau": rng.uniform(1.5e-4, 4e-4, wide),
        "r": rng.uniform(1, 2, wide),
        "v_leak": rng.normal(0, 0.1, wide),
    }
    nodes = {
        "input": nir.Input({"input": np.array([2, 9, 11])}),
        "conv": nir.Conv2d(
            None, rng.normal(0, 0.4, (3, 2, 3, 3)), (1, 1), (1, 1), (1, 1), 1, rng.normal(0, 0.1, 3)
        ),
        "grouped": nir.Conv2d(
            None, rng.normal(0, 0.4, (3, 1, 2, 2)), 1, (0, 0), (1, 1), 3, np.zeros(3)
        ),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "neuron": nir.LIF(
            **lif, v_threshold=rng.uniform(0.4, 0.8, wide), v_reset=rng.uniform(-0.1, 0.1, wide)
        ),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flatten": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1),
        "dense": nir.Linear(rng.normal(0, 0.3, (6, 12))),
        "skip": nir.Affine(rng.normal(0, 0.3, (6, 12)), rng.normal(0, 0.1, 6)),
        "fire": nir.IF(np.full(flat, 1e4), np.full(flat, 0.7), np.zeros(flat)),
        "output": nir.Output({"output": np.array([6])}),
    }
    chain = [
        "input",
        "conv",
        "grouped",
        "pool",
        "neuron",
        "sum",
        "flatten",
        "dense",
        "fire",
        "output",
    ]
    edges = [*pairwise(chain), ("flatten", "skip"), ("skip", "fire")]
    graph = nir.NIRGraph(nodes, edges, type_check=False)
    float_to_onnx(graph).write(tmp_path / "network.onnx")
    frames = make_frames(4, 7, (2, 9, 11), max_count=3)
    expected, found = FloatNetwork(graph).run(frames), run(tmp_path / "network.onnx", frames)
    assert expected.readout.any()
    np.testing.assert_array_equal(found["readout"], expected.readout)  # spike counts
    for name, spikes in expected.spikes.items():
        assert 0 < spikes.mean() < 1
        np.testing.assert_array_equal(found[f"{name}.spikes"].swapaxes(0, 1), spikes, err_msg=name)


def test_steps_and_batch_are_symbolic_and_equal_parameters_are_one_number(
    written: tuple[Any, Path],
) -> None:
    import onnx

    model = onnx.load(written[1])
    onnx.checker.check_model(model, full_check=True)
    [x, *states] = [
        (i.name, [d.dim_param or d.dim_value for d in i.type.tensor_type.shape.dim])
        for i in model.graph.input
    ]
    assert x == ("x", ["T", "B", *SHAPE])
    assert dict(states)["readout.sum"] == ["B", 10]
    assert {
        tuple(i.dims)
        for i in model.graph.initializer
        if i.name.endswith((".decay", ".threshold", ".r"))
    } == {()}


def test_the_same_network_gives_the_same_bytes(written: tuple[Any, Path], tmp_path: Path) -> None:
    float_to_onnx(network_to_nir(written[0])).write(tmp_path / "again.onnx", ["a"] * 10)
    assert (tmp_path / "again.onnx").read_bytes() == written[1].read_bytes()


def test_it_runs_where_there_is_nothing_but_onnx_runtime_and_numpy(
    written: tuple[Any, Path],
) -> None:
    code = (
        "import sys\nfor name in ('torch', 'onnx', 'nir', 'tmkt', 'spikingjelly'):"
        " sys.modules[name] = None\nimport numpy as np, onnxruntime\nsession ="
        f" onnxruntime.InferenceSession({str(written[1])!r},"
        " providers=['CPUExecutionProvider'])\nfeed = {i.name: np.zeros((1, *i.shape[1:]),"
        f" np.float32) for i in session.get_inputs()[1:]}}\nfeed['x'] = np.zeros((3, 1, *{SHAPE}),"
        " np.uint8)\nprint(session.run(['readout'], feed)[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(1, 10)"
