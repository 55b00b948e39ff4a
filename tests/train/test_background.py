"""Filters and the class `nothing`, from the recipe to the decisions of a stream."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_backbone import tiny_recipe

from tmkt.datasets.digits import simulate_digits
from tmkt.datasets.reading import read_recording
from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.events.filters import FilterChain, parse_filter
from tmkt.events.frames import events_to_frames
from tmkt.events.noise import draw_nothing
from tmkt.export.export import export_run
from tmkt.recipe import Recipe, dump_recipe
from tmkt.runs import load_run
from tmkt.train.source import load_source
from tmkt.train.trainer import train

FILTER = "background:dt_us=10000,k=1"


def recipe(method: str = "target-only", init: Path | str = "", **data: Any) -> Recipe:
    network = {} if init else {"network": {}}
    return tiny_recipe(init, method={"name": method}, data=data, **network)


def same_but(recording: Any, text: str, contract: Any) -> np.ndarray:
    """Filter all events of a recording at once, then bin them."""
    events = read_recording(recording, contract.sensor)
    kept = FilterChain([parse_filter(text)], events.sensor).apply(events)
    return events_to_frames(kept, contract, recording.view)


def test_training_and_evaluation_filter_alike(digits: Path, tmp_path: Path, tmkt: Any) -> None:
    run = train(recipe(filters=["background"]), digits, None, tmp_path / "run")
    bundle = export_run(run, tmp_path / "b", ["onnx"], None, run.load_calibration(), True)
    assert bundle.manifest["input"]["filters"] == [FILTER]
    assert bundle.manifest["version"] == 3
    source = load_source(run.recipe, digits, None)
    recordings = {one.instance: one for one in dataset("digits").find_recordings(digits)}
    for frames, instance in zip(source.frames[:3], source.trained_on[:3], strict=True):
        expected = same_but(recordings[instance], FILTER, bundle.camera)
        np.testing.assert_array_equal(frames, expected)
    with_filter = tmkt("evaluate", tmp_path / "b", "--data", digits, "--split", "train", "--json")
    assert with_filter.code == 0, with_filter.err
    bundle.manifest["input"].pop("filters")
    (tmp_path / "b" / "manifest.json").write_text(json.dumps(bundle.manifest))
    without = tmkt("evaluate", tmp_path / "b", "--data", digits, "--split", "train", "--json")
    assert without.json["synops_per_sample"] > with_filter.json["synops_per_sample"]


def test_a_stream_filters_as_its_bundle_says(digits: Path, tmp_path: Path, tmkt: Any) -> None:
    run = train(recipe(filters=["background"]), digits, None, tmp_path / "run")
    export_run(run, tmp_path / "b", ["onnx"], None, run.load_calibration(), True)
    recording = next(iter(sorted(digits.rglob("*.bin"))))

    def filters(*options: str) -> list[str]:
        done = tmkt("stream", tmp_path / "b", recording, "--json", "--device", "none", *options)
        assert done.code == 0, done.err
        summary = json.loads(done.out.splitlines()[-1])["summary"]
        return [one["filter"] for one in summary.get("filters", [])]

    assert filters() == [FILTER]
    assert filters("--filter", "refractory") == ["refractory:pause_us=1000"]
    assert filters("--filter", "none") == []


@pytest.mark.parametrize("method", ["target-only", "joint", "mix", "tmkt", "finetune"])
def test_every_method_learns_nothing_as_a_last_class(
    digits: Path, tmp_path: Path, method: str
) -> None:
    run = train(recipe(method, background="generated"), digits, None, tmp_path / "run")
    assert run.info["classes"] == [*"0123456789", "nothing"]
    assert run.info["nothing"] == 10
    assert run.info["recordings"]["train"] == 10
    assert run.load_calibration_labels().tolist().count(10) > 0
    bundle = export_run(run, tmp_path / "b", ["onnx"], None, run.load_calibration(), True)
    assert (bundle.nothing, bundle.program.classes) == (10, 11)


def test_a_trained_network_goes_on_with_nothing(
    digits: Path, backbone: Path, tmp_path: Path
) -> None:
    run = train(recipe(init=backbone, background="generated"), digits, None, tmp_path / "run")
    assert run.load_network().head.weight.shape[0] == 11


def test_noise_is_the_seeds(digits: Path) -> None:
    first, again = (load_source(recipe(background="generated"), digits, None) for _ in range(2))
    assert first.fingerprint() == again.fingerprint()
    nothing = np.flatnonzero(first.labels == 10)
    assert len(nothing) == 200  # and as many pauses
    noise = nothing[:100]
    counts = np.asarray(first.frames[noise]).sum((1, 2, 3, 4))
    assert counts.min() < 20
    assert counts.max() > 4000
    assert (first.test_labels < 10).all()


def test_rates_spread_over_three_decades() -> None:
    rng = np.random.default_rng(0)
    found = [len(draw_nothing((34, 34), 316_000, rng)) for _ in range(300)]
    assert np.mean(np.array(found) <= 20) == pytest.approx(0.2, abs=0.08)
    assert np.quantile(found, 0.5) < 2_000
    assert 20_000 < max(found) < 40_000


def test_pauses_show_less_than_half_of_what_ended_and_of_what_begins(digits: Path) -> None:
    source = load_source(recipe(background="generated"), digits, None)
    true = np.asarray(source.frames[np.flatnonzero(source.labels < 10)])
    pauses = np.asarray(source.frames[np.flatnonzero(source.labels == 10)[100:]])
    bins = pauses.shape[1]
    shown = pauses.any((2, 3, 4))
    most = (bins - 1) // 2
    assert not shown[:, most : bins - most].any()
    assert shown[:, 0].mean() > 0.5
    assert shown[:, -1].mean() > 0.5
    whole = pauses[shown[:, most - 1] & shown[:, -most]][0]
    assert (true[:, -most:] == whole[:most]).all((1, 2, 3, 4)).sum() == 1
    assert (true[:, :most] == whole[-most:]).all((1, 2, 3, 4)).sum() == 1


def test_recordings_of_other_things_are_cut_into_windows(digits: Path, tmp_path: Path) -> None:
    others = tmp_path / "others"
    simulate_digits(others, 1, 7)
    source = load_source(recipe(background=str(others)), digits, None)
    added = np.asarray(source.frames[np.flatnonzero(source.labels == 10)[200:]])
    assert len(added) >= 10
    assert added.any((1, 2, 3, 4)).all()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(InputError, match="holds no recordings"):
        load_source(recipe(background=str(empty)), digits, None)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        ({"filters": ["backgrund"]}, "did you mean 'background'"),
        ({"filters": ["hot:file=pixels.csv"]}, "of one camera"),
        ({"background": "no-such-folder"}, "no such folder"),
    ],
)
def test_what_is_wrong_is_told(digits: Path, data: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        load_source(recipe(**data), digits, None)


def test_recordings_of_all_true_classes_are_not_called_some_of_them(
    digits: Path, tmp_path: Path, tmkt: Any
) -> None:
    tiny = tmp_path / "tiny.toml"
    tiny.write_text(dump_recipe(recipe(background="generated")), encoding="utf-8")
    run, bundle = tmp_path / "run", tmp_path / "b"
    trained = tmkt("train", tiny, "--data", digits, "--out", run)
    assert trained.code == 0, trained.err
    assert "of 11 classes" not in trained.err + trained.out
    found = load_run(run)
    export_run(found, bundle, ["onnx"], None, found.load_calibration(), True)
    assert tmkt("report", bundle, "--data", digits, "--out", tmp_path / "r.html").code == 0
    assert "of the 11 classes" not in (tmp_path / "r.html").read_text("utf-8")
