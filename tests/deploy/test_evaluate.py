"""Accuracy, counts and engines over batches."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.datasets.types import Recording
from tmkt.deploy import evaluate as module
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.evaluate import answers_of, evaluate, join_answers, measure, wilson, write_results
from tmkt.errors import InputError

FRAMES = example_frames(11)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts())


def test_wilson_gives_published_intervals() -> None:
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    for correct, samples, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        assert wilson(correct, samples) == pytest.approx((low, high), abs=5e-5)
    assert wilson(5, 5)[1] == 1.0


@pytest.mark.parametrize("engine", ["simulator", "onnx", "float"])
def test_every_engine_is_scored_on_its_own_predictions(bundle: Bundle, engine: str) -> None:
    told: list[int] = []
    answers = answers_of(measure(bundle, open_engine(engine, bundle), FRAMES, told.append))
    predictions = answers.predictions
    labels = predictions.copy()
    labels[:3] = (labels[:3] + 1) % 4
    report = evaluate(engine, 4, answers, labels).to_json()
    assert {
        "engine",
        "samples",
        "accuracy",
        "accuracy_ci95",
        "spikes_per_sample",
        "synops_per_sample",
        "seconds_per_sample",
    } <= report.keys()
    assert (report["engine"], report["samples"], report["accuracy"]) == (engine, 11, 8 / 11)
    assert report["accuracy_ci95"] == list(wilson(8, 11))
    assert report["neuron_updates_per_sample"] == 6 * sum(
        layer.neurons for layer in bundle.program.layers
    )
    assert report["seconds_per_sample"] > 0
    assert told[-1] == 11
    confusion = np.array(report["confusion"])
    assert confusion.trace() == 8
    assert confusion.sum(0).tolist() == np.bincount(predictions, minlength=4).tolist()
    assert confusion.sum(1).tolist() == np.bincount(labels, minlength=4).tolist()
    assert (report["faults"] is None) == (engine != "simulator")


def test_answers_joined_equal_the_whole(bundle: Bundle) -> None:
    engine = open_engine("simulator", bundle)
    whole = measure(bundle, engine, FRAMES)
    joined = join_answers(
        [
            answers_of(measure(bundle, engine, FRAMES[part]))
            for part in (slice(0, 4), slice(4, 5), slice(5, 11))
        ]
    )
    np.testing.assert_array_equal(joined.predictions, whole.predictions)
    np.testing.assert_array_equal(joined.readout, whole.readout)
    for kind in ("spikes", "synops", "updates"):
        np.testing.assert_array_equal(getattr(joined, kind), whole.trace.per_sample(kind))
    assert joined.faults == whole.faults
    assert joined.seconds > 0


def test_results_name_every_recording_wherever_the_data_lies(
    bundle: Bundle, tmp_path: Path
) -> None:
    m = measure(bundle, open_engine("simulator", bundle), FRAMES[:2])
    for root in ("a", "elsewhere/b"):
        recordings = [
            Recording(
                tmp_path / root / "Test" / str(label) / "00007.bin", label, f"mnist-test-{label}"
            )
            for label in (3, 5)
        ]
        write_results(tmp_path / root / "answers.jsonl", recordings, answers_of(m))
    first, second = (
        (tmp_path / root / "answers.jsonl").read_bytes() for root in ("a", "elsewhere/b")
    )
    assert first == second
    lines = [json.loads(line) for line in first.splitlines()]
    assert [line["recording"] for line in lines] == ["Test/3/00007.bin", "Test/5/00007.bin"]
    assert [line["label"] for line in lines] == [3, 5]
    assert [line["prediction"] for line in lines] == m.predictions.tolist()
    assert [line["readout"] for line in lines] == m.readout.tolist()
    assert [line["synops"] for line in lines] == m.trace.per_sample("synops").tolist()


def test_small_batches_change_nothing(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = measure(bundle, open_engine("simulator", bundle), FRAMES)
    monkeypatch.setattr(module, "MOST_SAMPLES", 4)
    cut = measure(bundle, open_engine("simulator", bundle), FRAMES)
    np.testing.assert_array_equal(whole.readout, cut.readout)
    assert whole.trace.to_json() == cut.trace.to_json()
    assert (whole.faults, whole.active_updates) == (cut.faults, cut.active_updates)


def test_a_batch_is_bounded_in_memory(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [
        b.stop - b.start
        for b in module.batches(bundle.program, np.broadcast_to(FRAMES[0], (450, *FRAMES[0].shape)))
    ] == [200, 200, 50]
    monkeypatch.setattr(module, "BATCH_BYTES", 1)
    assert [b.stop - b.start for b in module.batches(bundle.program, FRAMES)] == [1] * 11


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (FRAMES[:0], "no recordings"),
        (FRAMES[:, :5], r"expected uint8 \(6, 2, 13, 13\)"),
        (FRAMES[..., :12], "expected uint8"),
        (FRAMES * 2, "up to 2"),
        (FRAMES.astype(np.float32), "float32"),
    ],
)
def test_frames_that_do_not_fit_are_refused(bundle: Bundle, frames: np.ndarray, says: str) -> None:
    with pytest.raises(InputError, match=says):
        measure(bundle, open_engine("simulator", bundle), frames)


def test_an_unknown_engine_names_the_nearest(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="did you mean 'simulator'"):
        open_engine("simulater", bundle)


@pytest.mark.parametrize(("engine", "file"), [("onnx", bundles.ONNX), ("float", bundles.NIR)])
def test_a_file_that_was_not_exported_is_named(tmp_path: Path, engine: str, file: str) -> None:
    other = bundles.NIR if file == bundles.ONNX else bundles.ONNX
    with pytest.raises(InputError, match=f"holds no {file}"):
        open_engine(engine, write_example(tmp_path / "b", example_parts(), files=[other]))


def test_an_onnx_file_that_is_none_or_of_another_network_is_refused(tmp_path: Path) -> None:
    graph, program, report = example_parts()
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    args = (bundles.InputContract((13, 13), 6, 1000, 1), ["a", "b", "c", "d"], origin, report)
    broken = bundles.write(
        tmp_path / "b", program, *args, {bundles.ONNX: lambda path: path.write_bytes(b"no model")}
    )
    with pytest.raises(InputError, match="ONNX Runtime cannot load it"):
        open_engine("onnx", broken)
    renamed = replace(
        program,
        layers=(
            replace(program.layers[0], name="x"),
            *_rename(program.layers[1:], program.layers[0].name),
        ),
    )
    other = write_example(tmp_path / "c", (graph, program, report), onnx=renamed)
    with pytest.raises(InputError, match="do not fit the program"):
        open_engine("onnx", other)


def _rename(layers: tuple, old: str) -> tuple:
    return tuple(
        replace(
            layer,
            synapses=tuple(
                replace(s, source="x" if s.source == old else s.source) for s in layer.synapses
            ),
        )
        for layer in layers
    )
