"""Recorded spikes and membranes are aligned, compared, and refused where they do not fit."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.simulator import SimulatorEngine
from tmkt.deploy.parity.against import against, recorded_frames
from tmkt.deploy.recorded.file import read_recorded, write_recorded
from tmkt.deploy.recorded.record import record
from tmkt.deploy.recorded.types import Recorded
from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract
from tmkt.program.model import INPUT, Layer, Program, Synapse

FRAMES = example_frames(4)
DT = 1e-3


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts())


@pytest.fixture(scope="module")
def recorded(bundle: Bundle) -> Recorded:
    return record(bundle, SimulatorEngine(bundle), FRAMES)


def late(values: NDArray[Any], steps: int) -> NDArray[Any]:
    return np.pad(values, ((0, 0), (steps, 0), (0, 0)))


@pytest.mark.parametrize("name", ["a.nir", "a.npz"])
def test_a_file_holds_what_was_recorded(
    bundle: Bundle, recorded: Recorded, tmp_path: Path, name: str
) -> None:
    write_recorded(recorded, tmp_path / name, DT)
    read = read_recorded(tmp_path / name, DT)
    arrays = {(layer, what): values for layer, what, values in read.arrays}
    assert len(arrays) == len(recorded.arrays)
    for layer, what, expected in recorded.arrays:
        np.testing.assert_array_equal(arrays[layer, what], expected)
    first = (tmp_path / name).read_bytes()
    write_recorded(recorded, tmp_path / name, DT)
    assert (tmp_path / name).read_bytes() == first
    frames = recorded_frames(bundle, read, None)
    np.testing.assert_array_equal(frames, FRAMES)
    assert against(bundle, read, frames)["passed"]


def test_nirs_own_reader_and_writer_take_the_same_files(
    bundle: Bundle, recorded: Recorded, tmp_path: Path
) -> None:
    write_recorded(recorded, tmp_path / "ours.nir", DT)
    data = nir.read_data(str(tmp_path / "ours.nir"))
    layer = next(name for name in recorded.spikes if name != INPUT)
    grid = data.nodes[layer].observables["spikes"]
    assert grid.data.dtype == np.bool_
    np.testing.assert_array_equal(grid.data, recorded.spikes[layer])
    most = int(grid.data.sum((1, 2)).max())
    only = nir.NIRGraphData({layer: nir.NIRNodeData({"spikes": grid.to_event(most)})})
    nir.write_data(tmp_path / "theirs.nir", only)
    read = read_recorded(tmp_path / "theirs.nir", DT)
    np.testing.assert_array_equal(read.spikes[layer], recorded.spikes[layer])
    report = against(bundle, read, recorded_frames(bundle, read, FRAMES))
    assert report["passed"]
    assert len(report["not_recorded"]) == len(bundle.program.layers) - 1


def test_each_layer_is_aligned_by_the_latency_that_it_has(
    bundle: Bundle, recorded: Recorded
) -> None:
    names = [layer.name for layer in bundle.program.layers]
    chip = Recorded(
        {name: late(recorded.spikes[name], i + 1) for i, name in enumerate(names[:-1])},
        {name: late(recorded.membranes[name], i + 1) for i, name in enumerate(names)},
    )
    report = against(bundle, chip, FRAMES)
    assert report["passed"], report
    assert [layer["latency"] for layer in report["layers"]] == [i + 1 for i in range(len(names))]
    cut = Recorded({name: values[:, : FRAMES.shape[1]] for name, values in chip.spikes.items()})
    report = against(bundle, cut, FRAMES)
    assert report["passed"], report
    assert report["layers"][0]["steps"] == FRAMES.shape[1] - 1


def test_what_differs_is_counted_and_named(bundle: Bundle, recorded: Recorded) -> None:
    name = bundle.program.layers[0].name
    wrong = recorded.spikes[name].copy()
    wrong[2, 3, 7] ^= 1
    report = against(bundle, Recorded({name: late(wrong, 2)}), FRAMES)
    assert not report["passed"]
    assert report["failures"] == ["the recording differs in 1 spikes and 0 membranes"]
    first = report["first_divergence"]
    assert (first["sample"], first["layer"], first["step"]) == (2, name, 3)
    assert first["found"] == wrong[2, 3, 7]
    assert against(bundle, Recorded({name: late(wrong, 2)}), FRAMES, max_mismatches=1)["passed"]
    v = recorded.membranes[name] + 64
    report = against(bundle, Recorded(membranes={name: v}), FRAMES)
    assert report["layers"][0]["membrane_mismatches"] > 100


def test_the_likely_cause_is_that_of_the_chip(bundle: Bundle) -> None:
    layer = bundle.program.layers[0]
    halved = replace(
        layer, synapses=tuple(replace(s, weight=s.weight >> 1) for s in layer.synapses)
    )
    other = replace(bundle.program, layers=(halved, *bundle.program.layers[1:]))
    chip = record(
        replace(bundle, program=other), SimulatorEngine(replace(bundle, program=other)), FRAMES
    )
    report = against(bundle, Recorded({layer.name: chip.spikes[layer.name]}), FRAMES)
    assert report["first_divergence"]["cause"] == "weight scale"


def test_a_loihi_2_recorded_what_the_simulator_computes(tmp_path: Path) -> None:
    """The integers are those with which all membranes are the chip's (docs/parity.md)."""
    with np.load(Path(__file__).parents[1] / "golden" / "nir-paper" / "lif.npz") as trace:
        frames = trace["input"][None, :, None]
        spikes, v = trace["loihi2"][None, :, None], trace["membrane_loihi2"][None, :, None]
    synapse = Synapse(INPUT, "dense", np.full((1, 1), 10, np.int16))
    neuron = Layer("lif", (1,), (synapse,), np.zeros(1, np.int32), 25, 163)
    contract = ChannelContract((1,), frames.shape[1], 100, 1)
    bundle = Bundle(tmp_path, {}, contract, Program((1,), 1, (neuron,), "spikes"))
    report = against(bundle, Recorded({"lif": spikes}, {"lif": v.astype(np.int64)}), frames)
    [layer] = report["layers"]
    assert (layer["latency"], layer["spikes"], layer["steps"]) == (1, 4, 999)
    assert (layer["spike_mismatches"], layer["membrane_mismatches"]) == (0, 0)
    assert layer["membranes_compared"] == 995


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({}, "holds nothing, expected spikes or v of the layers"),
        ({"spikes/conv": np.zeros((4, 6))}, r"conv float64 \(4, 6\), expected numbers \[samples"),
        ({"spikes/conv": np.full((4, 6, 3), 2)}, "spikes of conv other than 0..1"),
        ({"v/conv": np.full((4, 6, 3), 0.5)}, "membranes of conv that are not whole"),
        (
            {"v/a": np.zeros((4, 6, 3)), "v/b": np.zeros((3, 6, 3))},
            r"\[3, 4\] samples, expected as",
        ),
        ({"spikes/none": np.zeros((4, 6, 3))}, "has a layer 'none', expected some of"),
        ({"spikes/input": np.zeros((4, 6, 3))}, "the recorded input has 3 sites, expected 338"),
    ],
)
def test_what_does_not_fit_is_refused(
    bundle: Bundle, tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=said):
        read = read_recorded(tmp_path / "a.npz", DT)
        given = FRAMES if read.input is None else None
        against(bundle, read, recorded_frames(bundle, read, given))


def test_the_input_must_be_known_and_the_same(bundle: Bundle, recorded: Recorded) -> None:
    with pytest.raises(InputError, match="no input is recorded, expected the recordings"):
        recorded_frames(bundle, Recorded(), None)
    with pytest.raises(InputError, match=r"is not that of the recordings of --data"):
        recorded_frames(bundle, recorded, FRAMES[::-1])


def test_the_commands_write_and_compare(tmkt: Any, pipeline: Any, tmp_path: Path) -> None:
    given = ("--data", pipeline.data, "--split", "all", "--limit", 3)
    saved = tmp_path / "saved.nir"
    done = tmkt("evaluate", pipeline.bundle, *given, "--engine", "onnx", "--save-spikes", saved)
    assert done.code == 0, done.err
    same = tmkt("parity", pipeline.bundle, "--against", saved)
    assert same.code == 0, same.err
    assert "the same" in same.out
    shutil.copy(saved, tmp_path / "copy.npz")  # not what its name says
    assert tmkt("parity", pipeline.bundle, "--against", tmp_path / "copy.npz").code == 2
    read = read_recorded(saved, DT)
    name = next(name for name in read.spikes if name != INPUT)
    read.spikes[name][1, 2, 3] ^= 1
    write_recorded(read, saved, DT)
    other = tmkt("parity", pipeline.bundle, "--against", saved, *given, "--json")
    assert other.code == 1
    assert other.json["first_divergence"]["neuron"] is not None
    both = tmkt("parity", pipeline.bundle, "--against", saved, "--engines", "onnx")
    assert "--engines beside --against, expected one of them" in both.err
