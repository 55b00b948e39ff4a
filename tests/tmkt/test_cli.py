"""The command line, as a user meets it: what it prints, where, and its exit codes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tmkt.bundle import sha256


def test_evaluate_gives_one_json_object(tmkt: Any, pipeline: Any) -> None:
    for engine in ("simulator", "onnx", "float"):
        report = tmkt(
            "evaluate", pipeline.bundle, "--engine", engine, "--data", pipeline.data, "--json"
        ).json
        assert report["engine"] == engine
        assert report["samples"] == 40  # 6 recordings a class, 2 of them trained on
        low, high = report["accuracy_ci95"]
        assert 0.0 <= low <= report["accuracy"] <= high <= 1.0
        for key in (
            "spikes_per_sample",
            "synops_per_sample",
            "neuron_updates_per_sample",
            "seconds_per_sample",
        ):
            assert report[key] > 0


def test_the_splits_share_no_recording(tmkt: Any, pipeline: Any) -> None:
    counts = {
        s: tmkt("evaluate", pipeline.bundle, "--data", pipeline.data, "--split", s, "--json").json[
            "samples"
        ]
        for s in ("train", "test", "all")
    }
    assert counts == {"train": 20, "test": 40, "all": 60}


def test_parity_of_the_engines_that_need_no_lava(tmkt: Any, pipeline: Any) -> None:
    done = tmkt(
        "parity",
        pipeline.bundle,
        "--engines",
        "simulator,onnx,float",
        "--data",
        pipeline.data,
        "--max-drop",
        100,
        "--json",
    )
    assert done.code == 0, done.err
    engines = {engine["name"]: engine for engine in done.json["engines"]}
    assert list(engines) == ["simulator", "onnx", "float"]
    for name in ("simulator", "onnx"):
        assert engines[name]["spike_mismatches"] == engines[name]["membrane_mismatches"] == 0
        assert engines[name]["prediction_agreement"] == 1.0
        assert engines[name]["first_divergence"] is None


def test_parity_fails_with_exit_code_1_when_an_engine_computes_something_else(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    """The ONNX graph of another quantisation in the bundle, with its hash put right: only running
    it can tell.
    """
    other, forged = tmp_path / "other", tmp_path / "forged"
    assert tmkt("export", pipeline.run, "--target", "onnx", "--bits", 3, "--out", other).code == 0
    shutil.copytree(pipeline.bundle, forged)
    shutil.copy(other / "network.onnx", forged / "network.onnx")
    manifest = json.loads((forged / "manifest.json").read_text())
    size = (forged / "network.onnx").stat().st_size
    manifest["files"]["network.onnx"] = {"sha256": sha256(forged / "network.onnx"), "bytes": size}
    (forged / "manifest.json").write_text(json.dumps(manifest))
    done = tmkt("parity", forged, "--engines", "simulator,onnx", "--data", pipeline.data, "--json")
    assert done.code == 1
    engine = done.json["engines"][1]
    assert engine["spike_mismatches"] > 0
    assert set(engine["first_divergence"]) >= {"sample", "layer", "step", "neuron"}
    assert not done.json["passed"]


def test_energy_never_stands_alone(tmkt: Any, pipeline: Any) -> None:
    report = tmkt(
        "energy",
        pipeline.bundle,
        "--device",
        "loihi1",
        "--data",
        pipeline.data,
        "--limit",
        10,
        "--json",
    ).json
    assert report["trace"]
    assert len(report["estimates"]) >= 2
    for e in report["estimates"]:
        assert e["low_j"] < e["high_j"]
        assert e["low_j"] <= e["energy_j"] <= e["high_j"]
        assert e["includes"]
        assert e["excludes"]
        assert e["source"]


def test_tables_for_people(tmkt: Any, pipeline: Any) -> None:
    shown = tmkt("energy", pipeline.bundle, "--data", pipeline.data, "--limit", 5)
    assert shown.code == 0
    assert "leaves out" in shown.out
    shown = tmkt("evaluate", pipeline.bundle, "--data", pipeline.data, "--limit", 5)
    assert "95 % interval" in shown.out
    shown = tmkt(
        "parity", pipeline.bundle, "--data", pipeline.data, "--limit", 5, "--max-drop", 100
    )
    assert "spike mismatches" in shown.out
    assert "\x1b" not in shown.out  # no colours into a pipe


def test_the_same_export_twice_gives_the_same_bytes(
    tmkt: Any, pipeline: Any, tmp_path: Path
) -> None:
    assert tmkt("export", pipeline.run, "--target", "all", "--out", tmp_path / "again").code == 0
    names = sorted(p.name for p in pipeline.bundle.iterdir())
    assert names == [
        "integers.nir",
        "loihi.net",
        "manifest.json",
        "network-float.onnx",
        "network.c",
        "network.h",
        "network.nir",
        "network.onnx",
        "program.safetensors",
    ]
    for name in names:
        assert (tmp_path / "again" / name).read_bytes() == (pipeline.bundle / name).read_bytes(), (
            name
        )


def test_doctor_and_recipes(tmkt: Any) -> None:
    done = tmkt("doctor", "--json")
    assert done.code == 0
    assert {f["part"] for f in done.json["findings"]} >= {"Python", "torch", "Lava", "simulator"}
    assert "nmnist-fewshot" in tmkt("recipes", "list").out
    assert "mix_ratio = 0.3" in tmkt("recipes", "show", "nmnist-fewshot", "--all").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("evaluate", "{tmp}/nowhere", "--data", "{data}"), "no such folder"),
        (("evaluate", "{run}", "--data", "{data}"), "expected a bundle"),
        (("evaluate", "{bundle}"), "add --data DIR"),
        (("evaluate", "{bundle}", "--data", "{tmp}/nowhere"), "no such folder"),
        (("evaluate", "{bundle}", "--data", "{tmp}"), "recordings"),
        (
            ("evaluate", "{bundle}", "--data", "{data}", "--engine", "simulater"),
            "did you mean 'simulator'",
        ),
        (("evaluate", "{bundle}", "--data", "{data}", "--split", "tets"), "test"),
        (("energy", "{bundle}", "--data", "{data}", "--device", "loihi3"), "loihi1"),
        (("export", "{tmp}/nowhere"), "expected a run"),
        (("export", "{run}", "--target", "lawa", "--out", "{tmp}/x"), "lava"),
        (("export", "{run}", "--out", "{data}"), "manifest.json"),
        (("train", "digits", "--data", "{data}", "--out", "{run}"), "finished"),
        (("train", "digitz", "--data", "{data}"), "did you mean 'digits'"),
        (
            ("train", "digits", "--data", "{data}", "--set", "train.stepz=1"),
            "did you mean 'train.steps'",
        ),
        (
            ("train", "digits", "--data", "{data}", "--set", "data.shots=6", "--out", "{tmp}/x"),
            "recorded",
        ),
        (("train", "nmnist-fewshot", "--data", "{data}", "--out", "{tmp}/x"), ""),
        (("trian",), "Did you mean 'train'"),
        (("evaluate",), "bundle"),
        (("evaluate", "{bundle}", "--limit", "0"), "limit"),
        (
            (
                "train",
                "digits",
                "--data",
                "{data}",
                "--out",
                "{tmp}/x",
                "--set",
                "data.shots=2",
                "--set",
                "train.learning_rate=1e30",
            ),
            "diverged",
        ),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, tuple) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(
    tmkt: Any, pipeline: Any, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    places = {
        "tmp": tmp_path,
        "data": pipeline.data,
        "run": pipeline.run,
        "bundle": pipeline.bundle,
    }
    done = tmkt(*(a.format(**places) for a in arguments))
    assert done.code == 2
    assert done.out == ""
    # The training that diverges shows its progress where the loops are compiled first, and a note
    # where the processor has bfloat16.
    before = ("train: ", "This processor has bfloat16: ")
    lines = [line for line in done.err.strip().splitlines() if not line.startswith(before)]
    assert len(lines) == 1
    assert expected in lines[0]
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize("command", [(), ("recipes",), ("data",)])
def test_a_command_alone_shows_its_help(tmkt: Any, command: tuple[str, ...]) -> None:
    done = tmkt(*command)
    assert done.code == 2
    assert done.err.startswith("Usage: ")
    assert "\nCommands:\n" in done.err


def test_engines_may_be_listed_with_spaces(tmkt: Any, pipeline: Any) -> None:
    done = tmkt(
        "parity",
        pipeline.bundle,
        "--engines",
        "simulator, onnx",
        "--data",
        pipeline.data,
        "--limit",
        2,
        "--json",
    )
    assert [engine["name"] for engine in done.json["engines"]] == ["simulator", "onnx"]


def test_resuming_a_finished_run_says_that_nothing_was_trained(tmkt: Any, pipeline: Any) -> None:
    same = ("--set", "train.steps=60", "--set", "data.shots=2", "--set", "train.batch=8")
    done = tmkt(
        "train", "digits", "--data", pipeline.data, "--out", pipeline.run, *same, "--resume"
    )
    assert done.code == 0
    assert "was finished before; nothing was trained now" in done.err


@pytest.mark.parametrize("kilobytes", [10, 30, 100])
def test_a_disk_that_fills_up_while_exporting_is_one_line_and_leaves_nothing(
    pipeline: Any, tmp_path: Path, kilobytes: int
) -> None:
    """Of a file, no more than so much can be written; the bundle's hold 24, 18, 64 and 170 kB."""
    command = [
        sys.executable,
        "-m",
        "tmkt",
        "export",
        str(pipeline.run),
        "--out",
        str(tmp_path / "bundle"),
    ]
    resource = pytest.importorskip("resource", reason="limits of a process are POSIX")
    limit = kilobytes * 1024
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
    assert "cannot be written" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_training_says_in_one_line_how_to_go_on(
    pipeline: Any, tmp_path: Path, sign: signal.Signals
) -> None:
    out = tmp_path / "run"
    settings = [f"--set=train.{key}" for key in ("steps=100000", "batch=4", "threads=1")]
    command = [
        sys.executable,
        "-m",
        "tmkt",
        "train",
        "digits",
        "--data",
        str(pipeline.data),
        "--out",
        str(out),
        *settings,
        "--set=data.shots=2",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (out / "checkpoint.safetensors").exists():
        time.sleep(0.05)
    process.send_signal(sign)
    shown, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert shown == ""
    last = errors.strip().splitlines()[-1]
    assert last.startswith("tmkt: interrupted")
    assert "--resume" in last
    assert "Traceback" not in errors
