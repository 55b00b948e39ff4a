"""Networks that read channels of spikes: the LIF demonstration and the Braille network of the NIR
paper's repository (BSD-3-Clause, tests/golden/nir-paper), and small ones of other shapes.
"""

from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
from example_nir import affine, graph, lif, weights
from numpy.typing import NDArray

from tmkt.bundle import load
from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract

PAPER = Path(__file__).parents[1] / "golden" / "nir-paper"
STEPS, CLASSES, CHANNELS = 30, 7, 12
EXACT = "simulator,onnx,c,torch,float"


def write_trains(folder: Path, *shape: int, classes: int = CLASSES, samples: int = 24) -> Path:
    """Write trains [samples, STEPS, *shape], each class with rates of its own."""
    rng = np.random.default_rng(0)
    labels = np.arange(samples) % classes
    rates = 0.6 * rng.random((classes, 1, *shape))
    spikes = (rng.random((samples, STEPS, *shape)) < rates[labels]).astype(np.uint8)
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / "trains.npz", spikes=spikes, labels=labels)
    return folder


@pytest.fixture(scope="module")
def braille(tmkt: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Export the Braille network; give its bundle and its data."""
    root = tmp_path_factory.mktemp("braille")
    data = write_trains(root / "data", CHANNELS)
    given = ("--dataset", "spikes", "--data", data, "--bins", STEPS, "--bin-us", 1000)
    done = tmkt("export", PAPER / "braille.nir", *given, "--out", root / "bundle")
    assert done.code == 0, done.err
    return root / "bundle", data


def test_the_braille_network_goes_through_every_command(
    tmkt: Any, braille: tuple[Path, Path], tmp_path: Path
) -> None:
    bundle, data = braille
    assert load(bundle).contract == ChannelContract((CHANNELS,), STEPS, 1000, 1)
    recordings = ("--data", data, "--split", "all", "--limit", 4)
    parity = tmkt("parity", bundle, "--engines", EXACT, *recordings, "--json")
    assert parity.code == 0, parity.out
    results = tmp_path / "answers.jsonl"
    evaluated = tmkt("evaluate", bundle, *recordings, "--results", results, "--json")
    assert evaluated.json["faults"] == dict.fromkeys(evaluated.json["faults"], 0)
    assert "data/trains.npz[" in results.read_text()
    for command in ("energy", "fit"):
        assert tmkt(command, bundle, *recordings, "--json").code == 0
    page = tmp_path / "report.html"
    done = tmkt("report", bundle, *recordings, "--engines", "onnx", "--out", page)
    assert done.code == 0, done.err
    assert "reads 12 channels of spikes" in page.read_text()
    assert '"raster":true' in page.read_text()


def test_lava_runs_the_braille_network(tmkt: Any, braille: tuple[Path, Path]) -> None:
    pytest.importorskip("lava.magma")
    bundle, data = braille
    recordings = ("--data", data, "--split", "all", "--limit", 1)
    done = tmkt("parity", bundle, "--engines", "lava", *recordings, "--json")
    assert done.code == 0, done.out


def test_the_lif_demonstration_spikes_as_its_authors_loihi_2_did(tmkt: Any, tmp_path: Path) -> None:
    with np.load(PAPER / "lif.npz") as trace:
        spikes, expected = trace["input"], trace["loihi2"]
    (tmp_path / "data").mkdir()
    labels = np.zeros(1, int)
    np.savez(tmp_path / "data" / "lif.npz", spikes=spikes[None, :, None], labels=labels)
    given = ("--dataset", "spikes", "--data", tmp_path / "data", "--dt", "1e-4")
    bins = ("--bins", len(spikes), "--bin-us", 100)
    done = tmkt("export", PAPER / "lif.nir", *given, *bins, "--out", tmp_path / "bundle")
    assert done.code == 0, done.err
    from tmkt.deploy.engines.registry import open_engine

    frames = spikes[None, :, None].astype(np.uint8)
    found = open_engine("simulator", load(tmp_path / "bundle")).run(frames).spikes
    assert found is not None
    [layer] = found.values()
    assert layer.sum() == expected.sum() == 4
    # the chip's trace is one step late: a synapse takes one there
    np.testing.assert_array_equal(np.flatnonzero(layer) + 1, np.flatnonzero(expected))


@pytest.mark.parametrize("shape", [(3, 8), (3, 4, 5)])
def test_channels_may_lie_on_a_map(tmkt: Any, tmp_path: Path, shape: tuple[int, ...]) -> None:
    data = write_trains(tmp_path / "data", *shape, classes=4)
    if len(shape) == 2:
        first: Any = nir.Conv1d(8, weights(4, 3, 3), 1, 1, 1, 1, weights(4, scale=0.1))
        middle: tuple[int, ...] = (4, 8)
    else:
        first = nir.Conv2d((4, 5), weights(4, 3, 3, 3), 1, 1, 1, 1, weights(4, scale=0.1))
        middle = (4, 4, 5)
    nodes = {"conv": first, "lif": lif(*middle), "out": affine(4, int(np.prod(middle)))}
    nir.write(tmp_path / "net.nir", graph(shape, nodes))
    given = ("--dataset", "spikes", "--data", data, "--bins", STEPS, "--bin-us", 1000)
    done = tmkt("export", tmp_path / "net.nir", *given, "--out", tmp_path / "bundle")
    assert done.code == 0, done.err
    kept = shape if len(shape) == 3 else (3, 1, 8)  # a map of one row
    assert load(tmp_path / "bundle").program.input_shape == kept
    recordings = ("--data", data, "--split", "all", "--limit", 3)
    parity = tmkt("parity", tmp_path / "bundle", "--engines", EXACT, *recordings, "--json")
    assert parity.code == 0, parity.out


def test_a_bundle_of_channels_tells_an_older_tmkt_to_update(braille: tuple[Path, Path]) -> None:
    bundle = load(braille[0])
    assert bundle.manifest["version"] == 2
    assert bundle.manifest["input"]["shape"] == [CHANNELS]
    with pytest.raises(InputError, match="reads 12 channels of spikes, expected a network for ev"):
        _ = bundle.camera


def test_what_the_input_is_must_be_said(tmkt: Any, tmp_path: Path) -> None:
    asked = tmkt("export", PAPER / "braille.nir", "--bins", 5, "--bin-us", 100, "--bits", "none")
    assert asked.code == 2
    assert "say --dataset spikes for channels, or --sensor WIDTHxHEIGHT" in asked.err
    assert "--dataset spikes" in asked.err.partition("For example:")[2]
    nir.write(tmp_path / "three.nir", graph((3, 4, 5), {"out": affine(2, 60)}))
    colours = tmkt("export", tmp_path / "three.nir", "--bins", 5, "--bin-us", 100)
    assert "say --dataset spikes for channels, or train it on both" in colours.err
    both = ("--dataset", "spikes", "--sensor", "3x2", "--bins", 5, "--bin-us", 100)
    assert "leave --sensor out" in tmkt("export", PAPER / "braille.nir", *both).err


def lines(spikes: NDArray[Any]) -> bytes:
    rows = [f"{1000 * t},{c}" for t, c in zip(*np.nonzero(spikes), strict=True)]
    return ("t,channel\n" + "\n".join(rows) + "\n").encode()


def test_a_stream_of_channels_answers_as_the_recording_does(
    tmkt: Any, braille: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bundle, data = braille
    with np.load(data / "trains.npz") as file:
        spikes = file["spikes"][3].copy()
    spikes[0, 0] = 1  # the stream's bins begin with its first spike
    (tmp_path / "one").mkdir()
    np.savez(tmp_path / "one" / "a.npz", spikes=spikes[None], labels=np.zeros(1, int))
    answers = tmp_path / "answers.jsonl"
    given = ("--data", tmp_path / "one", "--split", "all", "--results", answers, "--json")
    evaluated = tmkt("evaluate", bundle, *given)
    (tmp_path / "lines.csv").write_bytes(lines(spikes))
    with (tmp_path / "lines.csv").open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = tmkt("stream", bundle, "-", "--json", "--no-times", "--device", "none")
    assert done.code == 0, done.err
    import json

    decisions = [json.loads(line) for line in done.out.splitlines()[1:-1]]
    best = [row["best"] for row in decisions]
    assert best == [str(np.argmax(json.loads(answers.read_text())["readout"]))]
    assert evaluated.json["samples"] == 1


@pytest.mark.parametrize(
    ("text", "options", "said"),
    [
        (b"0,3\n10,12\n", (), "1 of 2 spikes are of other channels, expected 0..11"),
        (b"0,3\n10,4\n", ("--crop", "1,1"), "expected neither for channels"),
        (b"0,3\n10,4\n", ("--sensor", "3x4"), "expected neither for channels"),
        (b"words\n", (), "expected lines of text: t,channel"),
    ],
)
def test_a_stream_that_is_none_of_its_channels_is_refused(
    tmkt: Any,
    braille: tuple[Path, Path],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    text: bytes,
    options: tuple[str, ...],
    said: str,
) -> None:
    (tmp_path / "lines.csv").write_bytes(text)
    with (tmp_path / "lines.csv").open() as piped:
        monkeypatch.setattr("sys.stdin", piped)
        done = tmkt("stream", braille[0], "-", "--device", "none", *options)
    assert done.code == 2
    assert said in done.err


def test_files_are_not_streamed_into_channels(tmkt: Any, braille: tuple[Path, Path]) -> None:
    done = tmkt("stream", braille[0], braille[1] / "trains.npz")
    assert done.code == 2
    assert "expected - (standard input, lines t,channel)" in done.err
