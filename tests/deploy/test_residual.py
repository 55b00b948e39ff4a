"""Residual networks on every engine: the same spikes and membranes, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from c_compiler import needs_cc
from example_datasets import write_gesture_tonic
from example_networks import make_frames
from example_residual import make_residual
from numpy.typing import NDArray
from plain_program import run_plain

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.lava import installed
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.report import fit
from tmkt.deploy.parity.report import parity
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.export import export_run
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.c import write_c, write_c_header
from tmkt.export.targets.nir import write_nir
from tmkt.export.targets.onnx import write_onnx
from tmkt.nir.from_network import network_to_nir
from tmkt.program.lava_form import fits_netx, lags, relay_neurons, relays
from tmkt.program.model import Layer, Program, Synapse
from tmkt.recipe import parse_recipe
from tmkt.train.trainer import train

STEPS = 6
SHAPES = {"sew-resnet18": (2, 17, 19), "resnet18": (2, 13, 14)}


def frames_for(shape: tuple[int, int, int], samples: int = 2) -> NDArray[np.uint8]:
    return make_frames(samples, STEPS, shape) | make_frames(samples, STEPS, shape, seed=1)


def residual_bundle(path: Path, name: str) -> Bundle:
    shape = SHAPES[name]
    graph = network_to_nir(make_residual(name, shape))
    program, report = quantise(graph, shape, 1, frames_for(shape))
    writers = {
        bundles.NIR: lambda p: write_nir(graph, p),
        bundles.ONNX: lambda p: write_onnx(program, p),
        bundles.C_SOURCE: lambda p: write_c(program, p),
        bundles.C_HEADER: lambda p: write_c_header(program, p),
    }
    return write_bundle(path, program, writers, report)


def write_bundle(
    path: Path, program: Program, writers: dict[str, object], report: list[dict[str, object]]
) -> Bundle:
    contract = InputContract(program.input_shape[1:], STEPS, 1000, program.max_count)
    classes = [str(i) for i in range(program.classes)]
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    return bundles.write(path, program, contract, classes, origin, report, writers)


@pytest.fixture(scope="module", params=SHAPES)
def bundle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return residual_bundle(tmp_path_factory.mktemp("residual") / "bundle", request.param)


def test_branches_are_equalised_by_relays_that_are_shared(bundle: Bundle) -> None:
    program = bundle.program
    lag, held = lags(program.layers), relays(program.layers)
    assert not fits_netx(program)
    assert bundles.LAVA not in bundle.manifest["files"]
    for layer in program.layers:
        for synapse in layer.synapses:
            wait = lag[layer.name] - 1 - lag[synapse.source]
            assert wait >= 0
            assert wait <= held.get(synapse.source, 0) or synapse.source == "input"
    assert {"conv2_2", "conv4_3", "conv8_2"} <= held.keys()
    assert (
        held["conv8_3"] == 3
    )  # a shortcut passes both blocks' convolutions on the way to the read-out
    assert relay_neurons(program.layers) == sum(
        steps * np.prod(program.shape_of(name)) for name, steps in held.items()
    )


def test_engines_without_lava_compute_the_same(bundle: Bundle) -> None:
    frames = frames_for(bundle.program.input_shape)
    readout, spikes, _ = run_plain(bundle.program, frames)
    assert all(0.005 < s.mean() < 0.6 for s in spikes.values())
    for name in ("simulator", "onnx", "torch"):
        found = open_engine(name, bundle).run(frames)
        np.testing.assert_array_equal(found.readout, readout, err_msg=name)
        for layer, expected in spikes.items():
            np.testing.assert_array_equal(found.spikes[layer], expected, err_msg=f"{name} {layer}")


@needs_cc
def test_the_c_file_computes_the_same(bundle: Bundle) -> None:
    frames = frames_for(bundle.program.input_shape)
    report = parity(bundle, ["c"], frames, np.zeros(len(frames), np.int64), max_drop_points=100)
    assert (
        report["engines"][0]["spike_mismatches"],
        report["engines"][0]["membrane_mismatches"],
    ) == (0, 0)
    assert report["engines"][0]["spikes_compared"] > 50_000


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
def test_lava_computes_the_same_from_a_graph_of_its_processes(bundle: Bundle) -> None:
    frames = frames_for(
        bundle.program.input_shape, samples=3
    )  # back to back: states are reset where each sample reaches them
    report = parity(bundle, ["lava"], frames, np.zeros(len(frames), np.int64), max_drop_points=100)
    assert (
        report["engines"][0]["spike_mismatches"],
        report["engines"][0]["membrane_mismatches"],
    ) == (0, 0)


def test_a_trained_run_is_exported_and_all_engines_agree(tmp_path: Path) -> None:
    write_gesture_tonic(tmp_path, [1, 2])
    data = {
        "name": "dvsgesture",
        "shots": 1,
        "sensor": [18, 18],
        "bins": 6,
        "bin_us": 50_000,
        "max_count": 2,
    }
    network = {"name": "sew-resnet18", "channels": [4, 4, 6, 8]}
    settings = {"steps": 3, "batch": 4, "threads": 1}
    recipe = parse_recipe(
        {"data": data, "network": network, "method": {"name": "target-only"}, "train": settings},
        "test",
    )
    run = train(recipe, tmp_path, None, tmp_path / "run")
    bundle = export_run(run, tmp_path / "bundle", {"all"}, 8, run.load_calibration())
    assert bundles.LAVA not in bundle.manifest["files"]
    assert {bundles.NIR, bundles.ONNX, bundles.C_SOURCE} <= bundle.manifest["files"].keys()
    frames = run.load_calibration()[:4]
    report = parity(
        bundle, ["onnx", "torch"], frames, np.zeros(len(frames), np.int64), max_drop_points=100
    )
    assert report["passed"], report["failures"]
    assert not any(report["faults"].values())
    assert (
        fit(from_program(bundle.program), load_device("loihi2"))["relay_neurons"]
        == relay_neurons(bundle.program.layers)
        > 0
    )


def delayed_program() -> Program:
    """Counts into two layers, a branch around one of them, delays, a layer that reads itself; two
    more that the last one does not wait for.
    """
    rng = np.random.default_rng(3)

    def even(*shape: int) -> NDArray[np.int16]:
        return (2 * rng.integers(-30, 60, shape)).astype(np.int16)

    a = Synapse("input", "conv", even(3, 2, 3, 3), padding=(1, 1))
    b = [
        Synapse("a", "conv", even(3, 3, 3, 3), padding=(1, 1)),
        Synapse("input", "conv", even(3, 2, 1, 1)),
    ]
    c = [
        Synapse("b", "dense", even(6, 75)),
        Synapse("a", "dense", even(6, 12), pool=2),
        Synapse("c", "dense", even(6, 6)),
    ]
    delays = rng.integers(0, 5, (4, 75)).astype(np.uint8)
    out = [Synapse("c", "dense", even(4, 6)), Synapse("a", "dense", even(4, 75), delays=delays)]
    none = [np.zeros(n, np.int32) for n in (3, 3, 6, 4)]
    layers = (
        Layer("a", (3, 5, 5), (a,), none[0], 300, 2048),
        Layer("b", (3, 5, 5), tuple(b), none[1], 400, 1000, 3000),
        Layer("c", (6,), tuple(c), none[2], 6000, 2048),
        Layer("d", (6,), (Synapse("c", "dense", even(6, 6)),), none[2], 60, 2048),
        Layer("e", (6,), (Synapse("d", "dense", even(6, 6)),), none[2], 60, 2048),
        Layer("out", (4,), tuple(out), none[3], 131071, 0, fires=False),
    )
    return Program((2, 5, 5), 7, layers, "membrane")


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
def test_counts_delays_and_loops_may_be_among_the_branches(tmp_path: Path) -> None:
    program = delayed_program()
    bundle = write_bundle(tmp_path / "bundle", program, {}, [])
    rng = np.random.default_rng(1)
    frames = (
        (rng.random((2, STEPS, 2, 5, 5)) < 0.3) * rng.integers(1, 8, (2, STEPS, 2, 5, 5))
    ).astype(np.uint8)
    readout, spikes, _ = run_plain(program, frames)
    found = open_engine("lava", bundle).run(frames)
    np.testing.assert_array_equal(found.readout, readout)
    for name, expected in spikes.items():
        assert 0.02 < expected.mean() < 0.9
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
def test_what_fires_before_the_sample_and_arrives_within_it_is_refused(tmp_path: Path) -> None:
    first, *others = delayed_program().layers
    biased = Layer("a", first.shape, first.synapses, np.full(3, 400, np.int32), 300, 2048)
    bundle = write_bundle(
        tmp_path / "bundle", Program((2, 5, 5), 7, (biased, *others), "membrane"), {}, []
    )
    with pytest.raises(
        InputError, match=r"layer 0 fires on its bias alone before the sample starts"
    ):
        open_engine("lava", bundle).run(np.zeros((1, STEPS, 2, 5, 5), np.uint8))
