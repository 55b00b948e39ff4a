"""Report: its figures are those of the other commands, and its player holds the recordings' events
and spikes.
"""

import json
import re
import shutil
import zlib
from base64 import b64decode
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tmkt.bundle import load
from tmkt.datasets.reading import load_frames, read_recording
from tmkt.datasets.registry import dataset
from tmkt.deploy.report import samples as packing
from tmkt.deploy.report.compare import compare, write_comparison
from tmkt.deploy.report.gather import Samples, Wanted, gather
from tmkt.deploy.report.page import MOST_EMBEDDED, write_page
from tmkt.deploy.report.samples import choose
from tmkt.deploy.report.tables import MOST_CONFUSIONS, tables
from tmkt.program.simulator.simulator import Simulator
from tmkt.runs import CALIBRATION, METRICS

LIMIT = 25


@pytest.fixture(scope="module")
def made(
    tmkt: Any, pipeline: Any, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    """Make the page of a bundle with its run, and its JSON."""
    out = tmp_path_factory.mktemp("report") / "report.html"
    options = (
        "--run",
        pipeline.run,
        "--data",
        pipeline.data,
        "--limit",
        LIMIT,
        "--device",
        "loihi1",
        "--out",
        out,
        "--json",
    )
    done = tmkt("report", pipeline.bundle, *options)
    assert done.code == 0, done.err
    return out, done.json


def embedded(page: Path, name: str) -> Any:
    (text,) = re.findall(
        f'<script type="application/json" id="{name}">(.*?)</script>',
        page.read_text(encoding="utf-8"),
        re.S,
    )
    return json.loads(text)


def test_recordings_of_one_class_are_said_to_be_so_and_progress_is_that_of_all_parts(
    pipeline: Any, tmp_path: Path
) -> None:
    bundle = load(pipeline.bundle)
    frames = np.zeros((3, bundle.contract.bins, *bundle.contract.shape), np.uint8)
    samples = Samples([], frames, np.zeros(3, np.int64), pipeline.data, "test")
    told: list[tuple[int, int]] = []
    wanted = Wanted(engines=("onnx",), devices=("loihi1",))
    report, _ = gather(bundle, None, samples, wanted, "b", lambda *progress: told.append(progress))
    assert told == [(done, 15) for done in (3, 6, 9, 12, 15)]
    assert ["classes among them", "0 (of 10)"] in tables(report)["evaluation"].rows
    write_page(tmp_path / "b.html", report, None)
    assert "(test split, only 1 of the 10 classes)" in (tmp_path / "b.html").read_text("utf-8")


def test_its_figures_are_those_of_the_other_commands(
    tmkt: Any, pipeline: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    report = made[1]
    same = (pipeline.bundle, "--data", pipeline.data, "--limit", LIMIT, "--json")
    evaluation = tmkt("evaluate", *same).json
    assert report["evaluation"] == {key: evaluation[key] for key in report["evaluation"]}
    energy = tmkt("energy", *same, "--device", "loihi1").json
    assert report["energy"] == {key: energy[key] for key in report["energy"]}
    parity = tmkt("parity", *same).json
    assert report["parity"] == [{key: parity[key] for key in report["parity"][0]}]
    fit = tmkt("fit", *same, "--device", "loihi1").json
    assert report["fit"] == [
        {
            **{key: value for key, value in fit.items() if key != "network"},
            "mesh": report["fit"][0]["mesh"],
        }
    ]


def test_it_says_what_was_trained_on_what_with_every_loss(
    pipeline: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    training = made[1]["training"]
    rows = [json.loads(line) for line in (pipeline.run / METRICS).read_text().splitlines()]
    steps = [row for row in rows if "epoch" not in row]
    losses = {name for row in rows for name in row if name.startswith("loss")}
    assert len(losses) > 3
    assert losses <= set(training["curves"])
    for name in {*losses, "accuracy", "learning_rate"}:
        assert training["curves"][name] == [[row["step"], row[name]] for row in steps]
    assert training["recordings"] == {"train": 20, "test": 40}
    assert training["method"] == "tmkt"
    assert "shots = 2" in made[1]["recipe"]
    assert any("tmkt train recipe.toml" in c["command"] for c in made[1]["commands"])


def test_the_page_needs_nothing_else_and_stays_small(made: tuple[Path, dict[str, Any]]) -> None:
    text = made[0].read_text(encoding="utf-8")
    assert len(text.encode()) < 5_000_000
    assert not re.search(r"""(src|href)=["'](?!#)""", text)
    assert "http" not in re.sub(
        r'<script type="application/json".*?</script>|http-equiv|<details>.*?</details>',
        "",
        text,
        flags=re.S,
    )
    assert embedded(made[0], "report-data") == made[1]


def test_the_same_command_gives_the_same_bytes(
    tmkt: Any, pipeline: Any, made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    options = (
        "--run",
        pipeline.run,
        "--data",
        pipeline.data,
        "--limit",
        LIMIT,
        "--device",
        "loihi1",
        "--out",
        tmp_path / "again.html",
    )
    assert tmkt("report", pipeline.bundle, *options).code == 0
    assert (tmp_path / "again.html").read_bytes() == made[0].read_bytes()


def test_the_player_holds_events_spikes_and_read_out_as_they_were(
    pipeline: Any, made: tuple[Path, dict[str, Any]]
) -> None:
    bundle, player, report = load(pipeline.bundle), embedded(made[0], "player-data"), made[1]
    recordings = {
        "/".join(r.path.parts[-3:]): r for r in dataset("digits").find_recordings(pipeline.data)
    }
    assert len(player["samples"]) == len(report["samples"]) > 3
    for entry, sample in zip(report["samples"], player["samples"], strict=True):
        recording = recordings[entry["recording"]]
        events = read_recording(recording, bundle.contract.sensor)
        frames, _ = load_frames([recording], bundle.contract)
        expected = Simulator(bundle.program).run(frames)
        block, n = zlib.decompress(b64decode(sample["data"])), sample["events"]
        assert sample["every"] == 1
        inside = events.t - events.t[0] < bundle.contract.bins * bundle.contract.bin_us
        assert n == entry["events"] == np.count_nonzero(inside)
        np.testing.assert_array_equal(
            np.cumsum(np.frombuffer(block, "<u4", n)), (events.t - events.t[0])[inside]
        )
        for name, kind, at in (("x", "<u2", 4), ("y", "<u2", 6), ("p", "u1", 8)):
            np.testing.assert_array_equal(
                np.frombuffer(block, kind, n, at * n), getattr(events, name)[inside]
            )
        at = 9 * n
        for layer in player["layers"]:
            spikes = expected.spikes[layer["name"]][0].reshape(player["shown"], -1)
            size = (spikes.shape[1] + 7) // 8 * player["bins"]
            bits = np.unpackbits(
                np.frombuffer(block, np.uint8, size, at).reshape(player["shown"], -1), axis=1
            )
            np.testing.assert_array_equal(bits[:, : spikes.shape[1]], spikes)
            at += size
        assert at == len(block)
        assert sample["readout"][-1] == expected.readout[0].tolist()
        assert bundle.classes[int(np.argmax(sample["readout"][-1]))] == entry["prediction"]


def test_wrong_answers_are_among_the_samples_and_every_class_gets_its_turn() -> None:
    labels = np.repeat(np.arange(10), 10)
    predictions = labels.copy()
    predictions[[3, 50, 51, 52, 53, 54]] = 9
    chosen = choose(labels, predictions)
    assert chosen == sorted(chosen)
    assert {3, 50, 51, 52} <= set(chosen)
    assert len(chosen) == packing.MOST_SAMPLES
    right = [int(labels[i]) for i in chosen if labels[i] == predictions[i]]
    assert len(set(right)) == len(right)


def test_a_full_page_shows_fewer_recordings_and_thinner_events(
    pipeline: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load(pipeline.bundle)
    recordings = dataset("digits").find_recordings(pipeline.data)[:6]
    frames, labels = load_frames(recordings, bundle.contract)
    samples = Samples(recordings, frames, labels, pipeline.data, "all")
    everything = packing.pack_samples(bundle, samples, labels)[1]
    monkeypatch.setattr(packing, "MOST_EVENTS", 1000)
    monkeypatch.setattr(packing, "MOST_PACKED", 10_000)
    monkeypatch.setattr(packing, "MOST_SPIKE_BYTES", 400)
    entries, player = packing.pack_samples(bundle, samples, labels)
    assert 0 < len(player["samples"]) < len(everything["samples"])
    assert player["samples"][0]["every"] > 1
    assert player["samples"][0]["events"] <= 1000 < entries[0]["events"]
    assert player["layers"][0]["shape"][0] < player["layers"][0]["channels"]


def test_of_many_classes_the_most_frequent_confusions_are_listed(
    made: tuple[Path, dict[str, Any]],
) -> None:
    classes = 100
    matrix = np.eye(classes, dtype=int) * 5
    matrix[7, 3], matrix[2, 90] = 4, 2
    matrix[:, 50] += 1
    found = tables(
        {
            **made[1],
            "classes": [f"c{i}" for i in range(classes)],
            "evaluation": {**made[1]["evaluation"], "confusion": matrix.tolist()},
        }
    )
    assert "confusion" not in found
    assert found["confusions"].rows[:2] == [["c7", "c3", "4", "10"], ["c2", "c90", "2", "8"]]
    assert len(found["confusions"].rows) == MOST_CONFUSIONS


def test_names_from_files_stay_text(made: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    report = {**made[1], "name": evil, "recipe": evil, "classes": [evil, *made[1]["classes"][1:]]}
    write_page(tmp_path / "evil.html", report, None)
    assert "<img" not in (tmp_path / "evil.html").read_text(encoding="utf-8")


def test_a_comparison_counts_who_alone_was_right(made: tuple[Path, dict[str, Any]]) -> None:
    labels = np.array([0, 1, 2, 3, 4, 5])
    other = {**made[1], "recipe": made[1]["recipe"].replace("shots = 2", "shots = 3")}
    found = compare(
        made[1], other, (np.array([0, 1, 2, 9, 9, 9]), np.array([0, 9, 9, 3, 4, 9])), labels
    )
    assert found["accuracy"] == {
        "samples": 6,
        "only_first": 2,
        "only_second": 2,
        "p": 1.0,
        "same": 2,
    }
    assert found["recipe"] == [{"setting": "data.shots", "first": "2", "second": "3"}]
    assert {e["ratio"] for e in found["energy"]} == {1.0}


def test_a_bundle_alone_without_recordings_says_what_is_missing(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    done = tmkt("report", pipeline.bundle, "--out", tmp_path / "r.html", "--json")
    assert done.code == 0, done.err
    assert (
        done.json["evaluation"]
        is done.json["training"]
        is done.json["parity"]
        is done.json["energy"]
        is None
    )
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "add <code>--data DIR</code>" in text
    assert "tmkt report BUNDLE --run RUN" in text
    assert "player-data" not in text


def test_a_page_says_trained_on_of_a_run_alone(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    bundle = {**made[1], "training": None}
    write_page(tmp_path / "run.html", bundle, None)
    write_page(tmp_path / "nir.html", {**bundle, "recipe": None}, None)
    of_run, of_nir = ((tmp_path / f"{name}.html").read_text() for name in ("run", "nir"))
    assert "It was trained on 20 recorded things" in of_run
    assert "recordings that were not trained on" in of_run
    of_nir = of_nir.partition('id="report-data"')[0]
    assert "Its integers were calibrated on 20 recorded things" in of_nir
    assert "recordings that were not calibrated on" in of_nir
    assert "It was trained on" not in of_nir
    assert "They were trained on" not in of_run + of_nir
    every = {**bundle, "split": "all"}
    write_page(tmp_path / "all.html", every, None)
    assert "were not trained on" not in (tmp_path / "all.html").read_text()


def test_a_run_that_no_chip_takes_has_a_report_of_its_training(
    tmkt: Any, pipeline: Any, made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    run = tmp_path / "float <run>"
    shutil.copytree(pipeline.run, run)
    recipe = run / "recipe.toml"
    recipe.write_text(recipe.read_text().replace('frames = "counts"', 'frames = "float"'))
    save_file(
        {"frames": load_file(run / CALIBRATION)["frames"].astype(np.float32)}, run / CALIBRATION
    )
    done = tmkt("report", run, "--data", pipeline.data, "--out", tmp_path / "r.html", "--json")
    assert done.code == 0, done.err
    assert "interpolated frames" in done.json["refused"]
    assert len(done.json["training"]["curves"]) > 3
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "interpolated frames" in text
    assert "<h1>Network small on simulated digits</h1>" in text
    assert "/float &lt;run&gt;</p>" in text
    both = compare(done.json, made[1], (None, None), None)
    write_comparison(tmp_path / "both.html", both)
    text = (tmp_path / "both.html").read_text(encoding="utf-8")
    assert "–" in text
    assert "tmkt report &#39;" in text  # a path with a space and < is quoted


def test_a_divergence_is_shown_with_its_place_and_by_layer(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    report = json.loads(json.dumps(made[1]))
    engine = report["parity"][0]["engines"][1]
    engine["layers"][0]["spike_mismatches"] = 7
    first = {
        "sample": 3,
        "layer": "conv1",
        "step": 4,
        "neuron": [1, 2, 3],
        "found": 0,
        "expected": 1,
        "cause": "decay",
        "explanation": "leaks twice",
    }
    membranes = {
        "incoming_sum": 90,
        "incoming_sum_found": None,
        "membrane": 12345,
        "membrane_found": None,
        "threshold": 12000,
    }
    engine["first_divergence"] = {**first, **membranes, "candidates": []}
    report["parity"][0]["failures"] = ["onnx differs"]
    write_page(tmp_path / "r.html", report, None)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert (
        "Sample 3, layer conv1, step 4, neuron 1, 2, 3: 0, expected 1. Likely cause: decay: leaks"
        " twice." in text
    )
    assert "membrane 12,345 here, – there; threshold 12,000" in text
    assert '<table id="divergence-onnx">' in text
    assert "✗ they do not" in text


def test_integers_that_agree_are_not_blamed_for_the_float_network(
    made: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    report = json.loads(json.dumps(made[1]))
    parity = report["parity"][0]
    failures = ["float differs by more than rounding, first in layer conv1"]
    others = [engine for engine in parity["engines"] if engine["exact"]]
    floats = {**others[0], "name": "float", "exact": False, "failures": failures}
    parity["engines"], parity["failures"] = [*others, floats], failures
    write_page(tmp_path / "r.html", report, None)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "✓ they do" in text
    assert "✗ they do not" not in text
    assert "✗ beyond the limits" in text


def test_the_largest_page_is_below_5_mb() -> None:
    plots_and_tables = 500_000
    assert packing.MOST_PACKED * 4 / 3 + MOST_EMBEDDED + plots_and_tables < 5_000_000


def test_of_very_many_steps_the_first_are_shown(
    monkeypatch: pytest.MonkeyPatch, pipeline: Any
) -> None:
    bundle = load(pipeline.bundle)
    assert packing.shown_steps(bundle) == 10
    monkeypatch.setattr(packing, "MOST_READOUT", 45)
    recordings = dataset("digits").find_recordings(pipeline.data)[:1]
    frames, labels = load_frames(recordings, bundle.contract)
    entries, player = packing.pack_samples(
        bundle, Samples(recordings, frames, labels, pipeline.data, "all"), labels
    )
    (sample,) = player["samples"]
    assert (player["shown"], player["bins"], len(sample["readout"])) == (4, 10, 4)
    assert sample["events"] < read_recording(recordings[0], bundle.contract.sensor).t.size
    assert entries[0]["readout"] == Simulator(bundle.program).run(frames).readout[0].tolist()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("{tmp}/nowhere",), "no such folder"),
        (("{data}",), "neither a run nor a bundle"),
        (("{run}", "--run", "{run}"), "leave out --run"),
        (("{bundle}", "--out", "{data}"), "is a folder"),
        (("{bundle}", "--device", "loihi3"), "loihi1"),
        (("{bundle}", "{bundle}", "--run", "{run}"), "found two"),
        (("{bundle}", "--data", "{tmp}/nowhere", "--out", "{tmp}/r.html"), "no such folder"),
    ],
)
def test_bad_input_is_one_line(
    tmkt: Any, pipeline: Any, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    places = {
        "tmp": tmp_path,
        "data": pipeline.data,
        "run": pipeline.run,
        "bundle": pipeline.bundle,
    }
    done = tmkt("report", *(a.format(**places) for a in arguments), cwd=tmp_path)
    assert done.code == 2
    assert len(done.err.strip().splitlines()) == 1
    assert expected in done.err
    assert list(tmp_path.iterdir()) == []
