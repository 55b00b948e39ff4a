"""Command tmkt energy: tables, JSON, CSV, plots, two bundles, and its errors."""

import csv
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tmkt.bundle import load
from tmkt.cli.tables.energy import print_energy
from tmkt.console import joules
from tmkt.deploy.energy import plot
from tmkt.deploy.energy.compare import resampled
from tmkt.deploy.energy.measure import measure_onnx
from tmkt.deploy.energy.plot import check_plot, write_plot
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError
from tmkt.install import pip_install


@pytest.fixture(scope="module")
def shown(tmkt: Any, pipeline: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    folder = tmp_path_factory.mktemp("energy")
    options = (
        "--device",
        "loihi1",
        "--device",
        "loihi2",
        "--limit",
        8,
        "--csv",
        folder / "e.csv",
        "--plot",
        folder / "e.svg",
        "--json",
    )
    return tmkt("energy", pipeline.bundle, "--data", pipeline.data, *options), folder


def test_one_json_object_with_every_estimator_of_the_chosen_devices(
    shown: tuple[Any, Path],
) -> None:
    done, _ = shown
    assert done.code == 0, done.err
    found = [(e["estimator"], e["device"]) for e in done.json["estimates"]]
    assert found == [
        ("davies2018", "loihi1"),
        ("loihi1-calibrated", "loihi1"),
        ("loihi1-static", "loihi1"),
        ("loihi2-pilotnet", "loihi2"),
        ("loihi2-static", "loihi2"),
        ("horowitz45nm", "45nm-cmos-proxy"),
        ("lemaire2022", "45nm-cmos-proxy"),
    ]
    assert [chip["device"] for chip in done.json["trace"]["chips"]] == ["loihi1", "loihi2"]
    assert done.json["neurobench"]["SynapticOperations"]["Effective_ACs"] > 0
    assert [a["comparison"] for a in done.json["ann"]] == ["same chip", "yan2024"]


def test_the_csv_has_the_jsons_figures_each_with_interval_exclusions_and_source(
    shown: tuple[Any, Path],
) -> None:
    done, folder = shown
    with open(folder / "e.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for e in done.json["estimates"]:
        own = [row for row in rows if row["estimator"] == e["estimator"]]
        [inference] = [row for row in own if row["of"] == "inference"]
        assert float(inference["energy_j"]) == e["energy_j"]
        assert float(inference["sd_j"]) == e["sd_j"]
        assert sum(row["of"] == "step" for row in own) == done.json["steps"]
        assert sum(row["of"] == "class" for row in own) == len(e["classes"])
    for row in rows:
        assert float(row["low_j"]) <= float(row["energy_j"]) <= float(row["high_j"])
        assert all(row[key] for key in ("includes", "excludes", "source", "samples"))


def test_the_plot_shows_every_estimator_and_is_the_same_each_time(
    shown: tuple[Any, Path], tmp_path: Path
) -> None:
    done, folder = shown
    picture = (folder / "e.svg").read_bytes()
    bars = 3 * len(done.json["estimates"])  # an interval and its two ends
    assert picture.count(b'class="bar0"') == bars
    assert picture.count(b'class="error"') == 3 * (
        len(done.json["estimates"][0]["layers"]) + done.json["steps"]
    )
    title = done.json["bundle"].rsplit("/", 1)[1]
    write_plot(tmp_path / "again.svg", done.json, title)
    assert (tmp_path / "again.svg").read_bytes() == picture


def test_a_plot_can_be_a_png(shown: tuple[Any, Path], tmp_path: Path) -> None:
    pytest.importorskip("resvg_py")
    check_plot(tmp_path / "e.png")
    write_plot(tmp_path / "e.png", shown[0].json, "demo")
    assert (tmp_path / "e.png").read_bytes().startswith(b"\x89PNG")


def test_a_machine_without_fonts_is_named_before_the_work(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(plot, "_png", lambda _: b"blank")
    with pytest.raises(InputError, match="no fonts"):
        check_plot(tmp_path / "e.png")


def test_the_table_shows_where_and_when_energy_goes_and_what_was_measured(
    shown: tuple[Any, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    report = shown[0].json
    measured = {
        "engine": "onnx",
        "energy_j": 0.01,
        "low_j": 0.008,
        "high_j": 0.012,
        "idle_w": 20.0,
        "reason": None,
    }
    measured |= {"includes": ["processor packages"], "excludes": ["memory chips"], "source": "RAPL"}
    print_energy({**report, "measured": measured}, receipts=True)
    out = capsys.readouterr().out
    assert all(f"\nBy {of}\n" in out for of in ("layer", "class", "step"))
    assert "onnx: 10 mJ an inference above idle (8 mJ to 12 mJ), idle 20 W" in out
    assert "leaves out: memory chips" in out
    first = report["estimates"][0]
    chip, left_out, *second = out.splitlines()[-4:]
    assert chip.startswith(f"loihi1: {joules(first['energy_j'])} an inference (")
    assert left_out == f"  leaves out: {'; '.join(first['excludes'])}"
    assert second[0].startswith("loihi2: ")
    many = [{**e, "steps": e["steps"] * 41} for e in report["estimates"]]
    print_energy({**report, "estimates": many}, receipts=True)
    assert (
        f"By step: {41 * report['steps']} of them, see --csv or --json" in capsys.readouterr().out
    )


def test_without_resvg_a_png_is_refused_in_one_line_and_an_svg_is_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(InputError, match=re.escape(pip_install("plot"))):
        check_plot(tmp_path / "e.png")
    check_plot(tmp_path / "e.svg")


def test_two_bundles_are_compared_over_the_same_recordings(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    other = tmp_path / "three-bits"
    assert tmkt("export", pipeline.run, "--target", "nir", "--bits", 3, "--out", other).code == 0
    arguments = ("--data", pipeline.data, "--limit", 8)
    report = tmkt("energy", pipeline.bundle, other, *arguments, "--json").json
    alone = tmkt("energy", other, *arguments, "--json").json
    assert report["samples"] == 8
    for c, e in zip(report["comparisons"], alone["estimates"], strict=True):
        assert c["estimator"] == e["estimator"]
        assert c["second"]["energy_j"] == pytest.approx(e["energy_j"])
        assert c["ratio"] == pytest.approx(c["second"]["energy_j"] / c["first"]["energy_j"])
        assert c["difference_j"] == pytest.approx(c["second"]["energy_j"] - c["first"]["energy_j"])
        assert c["ratio_ci95"][0] <= c["ratio"] <= c["ratio_ci95"][1]
        assert c["difference_ci95_j"][0] <= c["difference_j"] <= c["difference_ci95_j"][1]
        assert c["ratio_low"] <= c["ratio"] <= c["ratio_high"]
        assert c["excludes"]
    table = tmkt("energy", pipeline.bundle, other, *arguments)
    assert "ratio (95 % over recordings)" in table.out
    assert f"loihi1: {other} takes " in table.out
    assert "leaves out" in table.out


def test_the_same_bundle_twice_differs_by_nothing(tmkt: Any, pipeline: Any) -> None:
    report = tmkt(
        "energy", pipeline.bundle, pipeline.bundle, "--data", pipeline.data, "--limit", 4, "--json"
    ).json
    for c in report["comparisons"]:
        assert c["difference_ci95_j"] == [0, 0]
        assert c["ratio_ci95"] == [1, 1]


def test_the_interval_over_recordings_is_that_of_pairs() -> None:
    """Pairs that always differ by a tenth have a ratio without spread."""
    first = np.array([1.0, 5.0, 9.0, 2.0])
    difference, ratio = resampled(first, 1.1 * first)
    assert ratio == pytest.approx([1.1, 1.1])
    assert difference is not None
    assert difference[0] > 0
    assert resampled(first[:1], first[:1]) == (None, None)
    rng = np.random.default_rng(1)
    noise = rng.normal(0, 1.0, 400)
    difference, _ = resampled(np.full(400, 10.0), 10.0 + noise)
    assert difference is not None
    half = 1.96 * noise.std(ddof=1) / 20
    assert difference == pytest.approx([noise.mean() - half, noise.mean() + half], abs=0.02)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--device", "loihi1", "--device", "loihi3"), "known are"),
        (("--plot", "{tmp}/e.gif"), ".svg or .png"),
        (("--csv", "{tmp}"), "folder"),
        (("{bundle}", "--csv", "{tmp}/e.csv"), "one bundle"),
        (("{bundle}", "--measure"), "one bundle"),
        (("{tmp}/nowhere",), "no such folder"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmkt: Any, pipeline: Any, tmp_path: Path, options: tuple[str, ...], expected: str
) -> None:
    done = tmkt(
        "energy",
        pipeline.bundle,
        "--data",
        pipeline.data,
        *(o.format(tmp=tmp_path, bundle=pipeline.bundle) for o in options),
    )
    assert done.code == 2
    assert expected in done.err
    assert "Traceback" not in done.err
    assert len(done.err.strip().splitlines()) == 1


def test_without_energy_counters_the_processors_energy_is_unknown_and_says_why(
    pipeline: Any, tmp_path: Path
) -> None:
    bundle = load(pipeline.bundle)
    frames = np.zeros((2, bundle.contract.bins, *bundle.contract.shape), np.uint8)
    found = measure_onnx(open_engine("onnx", bundle), bundle.program, frames, 0.1, tmp_path)
    assert (found["energy_j"], found["low_j"], found["high_j"]) == (None, None, None)
    assert "energy counters" in found["reason"] or "kernel shows no" in found["reason"]
    assert found["excludes"]
