"""`from tmkt import ...`, on a small bundle and frames at random; docs/python.md runs it on real
recordings.
"""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example

import tmkt
from tmkt.bundle import Bundle
from tmkt.deploy.api import Recordings
from tmkt.errors import InputError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    opened = tmkt.load(
        write_example(tmp_path_factory.mktemp("api") / "bundle", example_parts()).path
    )
    assert isinstance(opened, Bundle)
    return opened


@pytest.fixture(scope="module")
def samples() -> Recordings:
    return Recordings(example_frames(5), np.array([0, 1, 2, 3, 0]), tuple("abcde"))


def test_what_runs_is_what_is_counted_and_summed_up(bundle: Bundle, samples: Recordings) -> None:
    output = tmkt.run(bundle, samples, "onnx")
    evaluation, trace = tmkt.evaluate(bundle, samples), tmkt.trace(bundle, samples)
    assert evaluation.accuracy == np.mean(output.predictions == samples.labels)
    for layer in trace.layers:
        if layer.name in output.spikes:
            np.testing.assert_array_equal(
                layer.spikes, output.spikes[layer.name].reshape(5, 6, -1).sum(2)
            )
    np.testing.assert_array_equal(tmkt.run(bundle, samples.frames).readout, output.readout)


def test_parity_and_energy_are_rows(bundle: Bundle, samples: Recordings) -> None:
    parity = tmkt.parity(bundle, samples, ["onnx"])
    assert parity.passed
    assert [row["spike_mismatches"] for row in map(asdict, parity.engines)] == [0]
    rows = [asdict(estimate) for estimate in tmkt.energy(bundle, samples, ["loihi1", "loihi2"])]
    assert {row["device"] for row in rows} == {"loihi1", "loihi2", "45nm-cmos-proxy"}
    for row in rows:
        assert row["low_j"] <= row["energy_j"] <= row["high_j"]
        assert row["excludes"]


def test_what_is_neither_bundle_nor_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected a bundle"):
        tmkt.load(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        tmkt.load(tmp_path / "nowhere")
    with pytest.raises(AttributeError, match="'tmkt' has no attribute 'nothing'"):
        _ = tmkt.nothing
