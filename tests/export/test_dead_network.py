"""Networks whose layers are silent on the recordings are not exported or evaluated in silence."""

from pathlib import Path
from typing import Any

import nir
import pytest
from example_nir import affine, conv, flatten, graph, lif

from tmkt.bundle import load

BINNING = ("--bins", 4, "--bin-us", 80_000, "--max-count", 2)


def export(
    tmkt: Any, pipeline: Any, folder: Path, *options: object, second: float = 1.0, dt: str = "1e-4"
) -> Any:
    """Export a network of two layers for the digits; `second`: threshold of the second layer."""
    height, width = load(pipeline.bundle).contract.sensor
    first, flat = conv(4, 2, scale=2), 4 * height * width
    nodes = {
        "conv": nir.Conv2d((height, width), first.weight, (1, 1), (1, 1), (1, 1), 1, first.bias),
        "lif1": lif(4, height, width),
        "flat": flatten(4, height, width),
        "dense": affine(20, flat, scale=0.1),
        "lif2": lif(20, threshold=second),
        "out": affine(10, 20),
    }
    path = folder / "theirs.nir"
    nir.write(path, graph((2, height, width), nodes, metadata={}))
    given = ("--dt", dt, "--target", "nir", "--dataset", "digits", "--data", pipeline.data)
    out = ("--out", folder / "bundle")
    return tmkt("export", path, *given, *BINNING, *out, *options)


def evaluate(tmkt: Any, pipeline: Any, folder: Path, *options: object) -> Any:
    where = ("--data", pipeline.data, "--split", "all", "--limit", 5)
    return tmkt("evaluate", folder / "bundle", *where, *options)


def test_a_network_that_is_dead_from_its_first_layer_is_refused(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    done = export(tmkt, pipeline, tmp_path, dt="1e-8")
    last = done.err.strip().splitlines()[-1]
    assert done.code == 2, done.err
    assert "layer 'lif1' is dead: no neuron ever fires; its" in last
    assert "the time step (of a .nir file: --dt) is too small" in last
    assert "--allow-silent" in last
    assert not (tmp_path / "bundle").exists()


def test_it_is_exported_where_that_is_asked_for_and_praised_nowhere(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    done = export(tmkt, pipeline, tmp_path, "--allow-silent", dt="1e-6")
    assert done.code == 0, done.err
    *_, first, second, following = done.err.strip().splitlines()
    assert "warning: layer lif1 is dead: no neuron ever fires; its time constant is" in first
    assert "warning: layer lif2 is dead: no neuron ever fires" in second
    assert following.startswith("Next: ")
    assert "of the float network's answers" not in done.err
    assert "are the float network's says nothing" in done.err
    done = evaluate(tmkt, pipeline, tmp_path)
    last = done.err.strip().splitlines()[-1]
    assert done.code == 0, done.err
    assert "warning: layers lif1, lif2 are silent (0 % of neurons and steps spike in lif1)" in last
    assert "the time step (of a .nir file: --dt) is too small" in last


def test_a_layer_that_is_silent_behind_others_is_named_at_the_end(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    done = export(tmkt, pipeline, tmp_path, second=1000.0)
    assert done.code == 0, done.err
    *_, warning, following = done.err.strip().splitlines()
    assert "warning: layer lif2 is dead: no neuron ever fires; its inputs are too weak" in warning
    assert following.startswith("Next: ")
    done = evaluate(tmkt, pipeline, tmp_path, "--json")
    assert done.code == 0, done.err
    (warning,) = done.json["warnings"]
    assert "layer lif2 is silent" in warning
    assert warning in done.err
    recordings = ("--data", pipeline.data, "--split", "all", "--limit", 5)
    for command in (("parity", "--engines", "simulator"), ("energy",)):
        done = tmkt(command[0], tmp_path / "bundle", *command[1:], *recordings, "--json")
        assert done.json["warnings"] == [warning]
        assert warning in done.err
    compared = tmkt("energy", tmp_path / "bundle", tmp_path / "bundle", *recordings, "--json")
    named = warning.replace("warning: ", f"warning: {tmp_path / 'bundle'}: ")
    assert compared.json["warnings"] == [named, named]
    assert named in compared.err
    page = tmp_path / "page.html"
    tmkt("report", tmp_path / "bundle", *recordings, "--engines", "simulator", "--out", page)
    assert "layer lif2 is silent" in page.read_text()


def test_nothing_is_said_of_a_network_that_works(tmkt: Any, pipeline: Any) -> None:
    done = tmkt("evaluate", pipeline.bundle, "--data", pipeline.data, "--limit", 5, "--json")
    assert done.json["warnings"] == []
    assert "warning" not in done.err


@pytest.mark.parametrize("bins", [4, 2])
def test_recordings_that_the_bins_cut_are_told_of(
    tmkt: Any, pipeline: Any, tmp_path: Path, bins: int
) -> None:
    done = export(tmkt, pipeline, tmp_path, "--bins", bins)
    assert done.code == 0, done.err
    said = [line for line in done.err.splitlines() if "the bins leave out" in line]
    assert len(said) == (bins == 2)
    done = evaluate(tmkt, pipeline, tmp_path, "--json")
    cut = done.json["outside_bins"]
    if bins == 4:
        assert max(cut["events_worst"], cut["time_worst"]) == 0
        assert done.json["warnings"] == []
        return
    assert said[0].startswith("warning: the bins leave out")
    assert "2 bins of 80000 us are 0.16 s, the longest of" in said[0]
    assert "--bins 4 or --bin-us" in said[0]
    assert 0.05 < cut["time_median"] <= cut["time_worst"] < 0.6
    assert 0.05 < cut["events_median"] <= cut["events_worst"] < 0.9
    assert done.json["warnings"][0].startswith("warning: the bins leave out")
    assert done.json["warnings"][0] in done.err
