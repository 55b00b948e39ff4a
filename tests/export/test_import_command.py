"""Tests of the command tmkt export FILE.nir."""

import shutil
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest
from example_nir import affine, conv, flatten, graph, lif

from tmkt.bundle import load
from tmkt.nir.file import read_nir
from tmkt.nir.order import order
from tmkt.runs import CALIBRATION_RECORDINGS

BINNING = ("--bins", 4, "--bin-us", 30000)


def write(path: Path, sensor: tuple[int, int]) -> Path:
    """Write a convolutional network for events of a sensor, without metadata."""
    height, width = sensor
    first = conv(4, 2, scale=2)
    nodes = {
        "conv": nir.Conv2d(sensor, first.weight, (1, 1), (1, 1), (1, 1), 1, first.bias),
        "lif": lif(4, height, width),
        "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": flatten(4, height // 2, width // 2),
        "out": affine(10, 4 * (height // 2) * (width // 2), scale=0.1),
    }
    nir.write(path, graph((2, *sensor), nodes, metadata={}))
    return path


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("nir") / "theirs.nir", (10, 12))


@pytest.mark.parametrize(("sensor", "refused"), [("12x10", False), ("10x12", True)])
def test_a_sensor_is_given_as_width_and_height(
    tmkt: Any, network: Path, tmp_path: Path, sensor: str, refused: bool
) -> None:
    given = ("--dt", "1e-4", "--bits", 8, *BINNING)
    data = ("--dataset", "folders", "--data", tmp_path / "none")
    done = tmkt("export", network, *given, *data, "--sensor", sensor, "--out", tmp_path / "bundle")
    assert ("leave --sensor out" in done.err) == refused


def test_a_network_from_elsewhere_becomes_a_bundle_that_all_commands_take(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    path = write(tmp_path / "fits.nir", load(pipeline.bundle).contract.sensor)
    given = (
        "--dt",
        "1e-4",
        "--dataset",
        "digits",
        "--data",
        pipeline.data,
        *BINNING,
        "--max-count",
        2,
    )
    done = tmkt("export", path, "--target", "all", *given, "--out", tmp_path / "bundle", "--json")
    assert done.code == 0, done.err
    assert [row["node"] for row in done.json["reading"]["nodes"]] == [
        "conv",
        "lif",
        "pool",
        "flat",
        "out",
    ]
    assert (
        done.json["reading"]["nodes"][1]["read_as"]
        == "LIF: membrane keeps 0.5 a step, takes 0.5 of an input; fires at 1, resets to 0"
    )
    assert "time step 0.0001 s (as asked)" in done.err
    recordings = ("--data", pipeline.data, "--split", "all", "--limit", 4, "--json")
    parity = tmkt("parity", tmp_path / "bundle", "--engines", "simulator,onnx,c", *recordings)
    assert parity.code == 0, parity.err
    fewer = tmkt("evaluate", tmp_path / "bundle", "--bins", 2, "--max-count", 1, *recordings)
    assert fewer.code == 0, fewer.err
    shorter = tmkt("energy", tmp_path / "bundle", "--bins", 2, "--bin-us", 30000, *recordings)
    assert shorter.json["seconds_of_stream"] == 0.06
    whole = tmkt("evaluate", tmp_path / "bundle", *recordings)
    assert fewer.json["neuron_updates_per_sample"] * 2 == whole.json["neuron_updates_per_sample"]
    again = tmkt(
        "export",
        tmp_path / "bundle" / "integers.nir",
        "--bits",
        "none",
        "--dataset",
        "digits",
        *BINNING,
        "--out",
        tmp_path / "again",
    )
    assert again.code == 0, again.err
    assert (tmp_path / "again" / "loihi.net").read_bytes() == (
        tmp_path / "bundle" / "loihi.net"
    ).read_bytes()


def test_as_many_recordings_calibrate_a_file_as_a_run_keeps(tmkt: Any, tmp_path: Path) -> None:
    data, path = tmp_path / "data", write(tmp_path / "theirs.nir", (34, 34))
    assert tmkt("data", "simulate", data, "--per-class", 11).code == 0
    given = ("--dt", "1e-4", "--dataset", "digits", "--data", data, *BINNING)
    done = tmkt("export", path, "--target", "nir", *given, "--out", tmp_path / "bundle")
    assert done.code == 0, done.err
    assert len(load(tmp_path / "bundle").manifest["origin"]["trained_on"]) == CALIBRATION_RECORDINGS


def damaged(path: Path, what: str) -> None:
    with h5py.File(path, "r+") as file:
        if what == "newer":
            del file["version"]
            file["version"] = "99.1"
        elif what == "nan":
            file["node/nodes/conv/weight"][0, 0, 0, 0] = np.nan
        elif what == "threshold":
            file["node/nodes/lif/v_threshold"][...] = -1
        elif what == "unknown":
            del file["node/nodes/lif/type"]
            file["node/nodes/lif/type"] = "Izhikevich"


@pytest.mark.parametrize(
    ("what", "options", "message"),
    [
        ("text", "--dt 1e-4", "not a readable NIR file"),
        ("newer", "--dt 1e-4", "written by nir 99.1, expected at most"),
        ("nan", "--dt 1e-4", "node 'conv': infinite or undefined weights"),
        ("threshold", "--dt 1e-4", "node 'lif': found threshold -1"),
        ("unknown", "--dt 1e-4", "not a readable NIR file"),
        ("", "", "node 'lif': a LIF whose time step nothing tells"),
        ("", "--dt 1e-4", "no --bins or --bin-us"),
        ("", "--dt 1e-4 --bins 4 --bin-us 1000", "no --data to calibrate on"),
        ("", "--dt 1e-4 --bins 4 --bin-us 1000 --bits none", "node 'lif': a weight of"),
        (
            "",
            "--dt 1e-4 --bins 4 --bin-us 1000 --sensor 34",
            "--sensor '34': expected WIDTHxHEIGHT in pixels",
        ),
        (
            "",
            "--dt 1e-4 --bins 4 --bin-us 1000 --bits none --dataset cepdvs",
            "the read-out has 10 values, the data set 'cepdvs'",
        ),
        ("", "--dt 1e-4 --reset soft", "soft reset"),
        ("missing", "--dt 1e-4", "no such file"),
    ],
)
def test_a_bad_file_or_a_missing_option_is_one_line_and_leaves_nothing(
    tmkt: Any, network: Path, tmp_path: Path, what: str, options: str, message: str
) -> None:
    path = tmp_path / "file.nir"
    if what == "text":
        path.write_text("no NIR at all")
    elif what != "missing":
        shutil.copy(network, path)
        damaged(path, what)
    before = sorted(tmp_path.rglob("*"))
    done = tmkt("export", path, *options.split(), "--out", tmp_path / "bundle")
    last = done.err.strip().splitlines()[-1]
    assert done.code == 2, done.err
    assert message in last
    assert "Traceback" not in done.err
    assert sorted(tmp_path.rglob("*")) == before


def test_options_of_a_file_are_refused_for_a_run(tmkt: Any, pipeline: Any, tmp_path: Path) -> None:
    done = tmkt("export", pipeline.run, "--dt", "1e-4", "--out", tmp_path / "bundle")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "--dt given, which is for .nir files" in done.err


def test_a_written_file_has_no_conventions_left_open(pipeline: Any) -> None:
    for name in ("network.nir", "integers.nir"):
        notes = order(read_nir(pipeline.bundle / name), strict=True).notes
        assert notes[0] == "time step 0.0001 s (said by the file)"
        assert not any("as NIR defines it" in note for note in notes)
