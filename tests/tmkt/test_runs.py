"""A run is finished and whole, or it is refused."""

import errno
import json
import os
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from tmkt import files
from tmkt.errors import InputError
from tmkt.recipe import dump_recipe, load_recipe
from tmkt.runs import CALIBRATION, INFO, MODEL, RECIPE, load_run
from tmkt.train import RECIPES

FRAMES = np.zeros((3, 10, 2, 34, 34), np.uint8)

OUTSIDE = {
    "recordings": 4,
    **dict.fromkeys(("events_median", "events_worst", "time_median", "time_worst"), 0.5),
    "longest_us": 1000,
}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Write what a training leaves, except the weights."""
    (tmp_path / RECIPE).write_text(dump_recipe(load_recipe("digits", RECIPES)))
    (tmp_path / MODEL).touch()
    save_file({"frames": FRAMES}, tmp_path / CALIBRATION)
    info = {
        "sensor": [34, 34],
        "classes": ["0", "1"],
        "trained_on": ["digits-3"],
        "images_trained_on": {"digits": [[0, 2]]},
        "outside_bins": OUTSIDE,
        "protocol": "instance-disjoint",
        "recordings": {"train": 10, "test": 4},
        "images": 3,
    }
    (tmp_path / INFO).write_text(json.dumps({**info, "test": {"samples": 4, "accuracy": 0.5}}))
    return tmp_path


def test_a_whole_run_is_opened(run: Path) -> None:
    assert load_run(run).info["classes"] == ["0", "1"]
    assert load_run(run).load_calibration().shape == FRAMES.shape


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.clear(),
        lambda m: m.update(sensor="34"),
        lambda m: m.update(sensor=[34, 34, 34]),
        lambda m: m.update(sensor=[34.0, 34.0]),
        lambda m: m.update(classes=[]),
        lambda m: m.update(trained_on={"a": 1}),
        lambda m: m.update(images_trained_on={"digits": [[1]]}),
        lambda m: m.update(test=None),
        lambda m: m["test"].pop("accuracy"),
        lambda m: m["test"].update(accuracy=1e308),
        lambda m: m["test"].update(samples=10**400),
        lambda m: m.update(recordings=[]),
        lambda m: m.update(recordings={"train": "x"}),
        lambda m: m.update(recordings={"train": 10**400}),
        lambda m: m.update(images=10**400),
        lambda m: m.update(protocol={}),
        lambda m: m.update(outside_bins=[]),
        lambda m: m.update(outside_bins={**OUTSIDE, "longest_us": 10**400}),
        lambda m: m.update(outside_bins={**OUTSIDE, "time_worst": float("inf")}),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    run: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    info = json.loads((run / INFO).read_text())
    change(info)
    (run / INFO).write_text(json.dumps(info))
    with pytest.raises(InputError, match=r"run\.json: damaged.*train again") as raised:
        load_run(run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"\xff\xfe"])
def test_a_run_json_that_is_no_json_is_refused(run: Path, content: bytes) -> None:
    (run / INFO).write_bytes(content)
    with pytest.raises(InputError, match="damaged"):
        load_run(run)


@pytest.mark.parametrize(
    "frames", [FRAMES.astype(np.float32), FRAMES[:, :3], FRAMES[:0], FRAMES[0], FRAMES[..., :33]]
)
def test_calibration_frames_that_do_not_fit_are_refused(run: Path, frames: Any) -> None:
    save_file({"frames": np.ascontiguousarray(frames)}, run / CALIBRATION)
    with pytest.raises(InputError, match=r"expected uint8 of \(N, \*\(10, 2, 34, 34\)\)"):
        load_run(run).load_calibration()


@pytest.mark.parametrize("name", [RECIPE, INFO])
def test_a_file_that_the_system_does_not_let_read_is_not_called_damaged(
    run: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Root, as who tests may run, may read everything."""
    opened = files.open_plain

    def refuse(path: Path) -> BufferedReader:
        if path.name == name:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return opened(path)

    monkeypatch.setattr(files, "open_plain", refuse)
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(Permission denied\); check"):
        load_run(run)
