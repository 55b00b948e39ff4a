"""The data set that is made of gesture recordings is one that a training reads."""

import runpy
import sys
from pathlib import Path

import pytest

from tmkt.datasets.folders import class_names
from tmkt.datasets.reading import read_recording
from tmkt.datasets.registry import dataset


def test_clips_and_images_are_of_the_same_gestures_and_of_other_moments(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = Path(__file__).with_name("gesture_clips.py")
    monkeypatch.setattr(
        sys,
        "argv",
        [str(script), "--data", str(shared_data / "dvsgesture"), "--out", str(tmp_path)],
    )
    runpy.run_path(str(script), run_name="__main__")
    source = dataset("folders", class_names(tmp_path / "events"))
    clips = source.find_recordings(tmp_path / "events")
    assert source.load_images is not None
    images = source.load_images(tmp_path / "images", (32, 32))
    assert {clip.label for clip in clips} == set(images.labels) == set(range(7))
    assert not {clip.instance for clip in clips} & set(images.instances)
    assert all(image.any() for image in images.images)
    for clip in clips[::20]:
        events = read_recording(clip, (128, 128))
        assert len(events) > 500
        assert events.t[-1] < 50_000
