"""Shards: recordings run in parts give what one run over all of them gives."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example
from example_recordings import write_recordings

from tmkt.bundle import MANIFEST, Bundle, sha256
from tmkt.datasets.types import Recording
from tmkt.deploy import evaluate as evaluation
from tmkt.deploy import shards
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.evaluate import measure, write_results
from tmkt.deploy.shards import Job, in_this_process, run_recordings, run_shard
from tmkt.errors import InputError

FRAMES = example_frames(11)
FRAMES[:, 0, 0, 0, 0] = 1  # a recording starts with its first event


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    return write_recordings(tmp_path_factory.mktemp("recordings"), FRAMES, 1000, 4)


def test_shards_give_what_the_whole_gives_in_bounded_memory(
    bundle: Bundle, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(bundle, open_engine("simulator", bundle), FRAMES)
    monkeypatch.setattr(shards, "SHARD_SIZE", 4)
    monkeypatch.setattr(evaluation, "MOST_SAMPLES", 3)
    told: list[int] = []
    answers = run_recordings(bundle, "simulator", recordings, in_this_process, None, told.append)
    np.testing.assert_array_equal(answers.readout, whole.readout)
    np.testing.assert_array_equal(answers.spikes, whole.trace.per_sample("spikes"))
    assert answers.faults == whole.faults
    assert told == [4, 8, 11]


@pytest.mark.parametrize("engine", ["simulator", "onnx", "float"])
def test_results_do_not_depend_on_shards_and_threads(
    bundle: Bundle,
    recordings: list[Recording],
    engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for place, size, threads in (("whole", 100, None), ("shards", 2, 1)):
        monkeypatch.setattr(shards, "SHARD_SIZE", size)
        answers = run_recordings(bundle, engine, recordings, in_this_process, threads)
        write_results(tmp_path / place, recordings, answers)
    assert (tmp_path / "whole").read_bytes() == (tmp_path / "shards").read_bytes()


def test_a_damaged_recording_is_named(
    bundle: Bundle, recordings: list[Recording], tmp_path: Path
) -> None:
    damaged = tmp_path / "Test" / "3" / "00099.bin"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(recordings[0].path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"00099\.bin: truncated"):
        run_recordings(
            bundle,
            "simulator",
            [*recordings, Recording(damaged, 3, "mnist-test-98")],
            in_this_process,
            1,
        )


def test_no_recordings_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no recordings to run"):
        run_recordings(bundle, "simulator", [], in_this_process, None)


def test_a_recording_of_an_unknown_class_is_refused_before_the_work(
    bundle: Bundle, recordings: list[Recording]
) -> None:
    strange = replace(recordings[-1], label=7)
    with pytest.raises(InputError, match=r"of class 7, the bundle knows 4 classes"):
        run_recordings(bundle, "simulator", [*recordings, strange], in_this_process, None)


def test_another_bundle_or_another_tmkt_answers_nothing(
    bundle: Bundle, recordings: list[Recording]
) -> None:
    job = Job(bundle.path, sha256(bundle.path / MANIFEST), "simulator", 1, bundle.contract)
    with pytest.raises(InputError, match="another bundle"):
        run_shard(replace(job, manifest_sha256="0" * 64), tuple(recordings[:1]))
    with pytest.raises(InputError, match=r"expected 0\.0\.0"):
        run_shard(replace(job, tmkt="0.0.0"), tuple(recordings[:1]))
