"""Tests of training on images alone, before a simulated camera."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_datasets import write_colour
from safetensors.torch import load_file

from tmkt.datasets.images import read_value
from tmkt.datasets.splits import from_ranges
from tmkt.errors import InputError
from tmkt.export.export import export_run
from tmkt.recipe import Recipe, parse_recipe
from tmkt.runs import CHECKPOINT, INFO, METRICS, MODEL, Run
from tmkt.train.source import load_source
from tmkt.train.trainer import train

IMAGES = {"ant": 12, "bee": 5, "cat": 3, "no class": 4}  # images of each class
TINY: dict[str, dict[str, Any]] = {
    "data": {
        "name": "images",
        "width": 12,
        "height": 12,
        "bins": 3,
        "bin_us": 20000,
        "leave_out": ["no class"],
        "train_share": 0.7,
        "validation": 1,
    },
    "network": {"channels": [4, 8], "strides": [1, 1], "pools": [2, 2]},
    "static": {"encoding": "simulated"},
    "method": {"name": "static-only", "label_smoothing": 0.1},
    "train": {"steps": 8, "batch": 6, "warmup_steps": 2, "threads": 1, "ema": 0.9, "flip": 0.5},
}


def recipe(**changes: dict[str, object]) -> Recipe:
    return parse_recipe({name: {**TINY[name], **changes.get(name, {})} for name in TINY}, "test")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photographs")
    for c, (name, count) in enumerate(IMAGES.items()):
        for i in range(count):
            path = root / name / f"image_{i:04d}{('.jpg', '.png')[i % 2]}"
            write_colour(path, (20 + i, 30 - i), 100 * c + i)
    return root


@pytest.fixture(scope="module")
def whole(photographs: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(recipe(), None, photographs, tmp_path_factory.mktemp("runs") / "whole")


def test_a_run_tells_its_classes_and_that_it_was_tested_on_simulated_recordings(whole: Run) -> None:
    assert whole.info["classes"] == ["ant", "bee", "cat"]
    assert whole.info["recordings"]["train"] == 0
    assert whole.info["trained_on"] == []
    test = whole.info["test"]
    assert (test["samples"], test["recordings"]) == (4 + 1 + 1, "simulated from held-out images")
    rows = [json.loads(row) for row in (whole.path / METRICS).read_text().splitlines()]
    assert rows[-1]["epoch"]
    assert 0.0 <= rows[-1]["validation"] <= 1.0
    assert set(rows[-1]) >= {"loss", "loss_static"}


def test_images_that_train_validate_and_are_tested_are_different_ones(
    photographs: Path, whole: Run
) -> None:
    source = load_source(recipe(), None, photographs)
    assert source.images is not None
    trained, validated = set(source.images.instances), set(source.validated_on)
    assert not trained & validated
    assert (len(trained), len(validated), len(source.test_frames)) == (7 + 3 + 1, 3, 6)
    assert len(trained) + len(validated) + len(source.test_frames) == sum(IMAGES.values()) - 4
    assert from_ranges(whole.info["images_trained_on"]) == trained | validated
    assert np.bincount(source.test_labels).tolist() == [4, 1, 1]


def test_two_images_with_one_name_are_on_one_side_of_the_split(
    photographs: Path, tmp_path: Path
) -> None:
    shutil.copytree(photographs, tmp_path / "twice")
    for path in sorted((tmp_path / "twice").glob("*/*.jpg")):
        shutil.copy(path, path.with_suffix(".jpeg"))
    source = load_source(recipe(), None, tmp_path / "twice")
    assert source.images is not None
    tested = {
        f"{path.parent.name}/{path.stem}" for path in (tmp_path / "twice").glob("[abc]*/*")
    } - {*source.images.instances, *source.validated_on}
    assert len(tested) == 6 < len(source.test_frames)


def test_held_out_recordings_show_the_images_by_a_camera_of_their_own_and_repeat(
    photographs: Path,
) -> None:
    first, again = (load_source(recipe(), None, photographs) for _ in range(2))
    assert first.fingerprint() == again.fingerprint()
    frames = np.asarray(first.test_frames)
    assert frames.dtype == np.uint8
    assert frames.shape == (6, 3, 2, 12, 12)
    assert (frames == np.asarray(again.test_frames)).all()
    assert all(frame.any() for frame in frames)
    other = load_source(recipe(static={"threshold": 0.4}), None, photographs)
    assert np.asarray(other.test_frames).sum() < frames.sum()  # the recipe's camera was used
    calibration, labels = first.calibration(100)
    assert first.images is not None
    assert len(calibration) == len(first.images)
    assert labels.tolist() == first.images.labels.tolist()


def test_a_share_of_the_images_and_some_of_the_classes_keep_the_rest_as_it_is(
    photographs: Path,
) -> None:
    all_of_them = load_source(recipe(), None, photographs)
    half = load_source(recipe(data={"images_share": 0.5}), None, photographs)
    assert half.images is not None
    assert all_of_them.images is not None
    assert set(half.images.instances) < set(all_of_them.images.instances)
    assert np.bincount(half.images.labels).tolist() == [4, 2, 1]
    assert (np.asarray(half.test_frames) == np.asarray(all_of_them.test_frames)).all()
    two = load_source(recipe(data={"classes_used": 2}), None, photographs)
    assert len(two.classes) == 2
    assert set(two.classes) < set(all_of_them.classes)
    assert set(two.test_labels.tolist()) == {0, 1}


def test_a_training_that_was_stopped_goes_on_to_the_same_bytes(
    photographs: Path, whole: Run, tmp_path: Path
) -> None:
    def stop(done: int, *_: object) -> None:
        if done == 5:
            raise KeyboardInterrupt

    out = tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("tmkt.train.trainer.CHECKPOINT_EVERY", 3)
        train(recipe(), None, photographs, out, progress=stop)
    train(recipe(), None, photographs, out, resume=True)
    for name in (MODEL, METRICS, INFO, CHECKPOINT):
        assert (out / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_run_is_exported_from_its_own_simulated_calibration_recordings(
    whole: Run, tmp_path: Path
) -> None:
    bundle = export_run(whole, tmp_path / "bundle", [], 8, whole.load_calibration(), True)
    assert bundle.manifest["origin"]["dataset"] == "images"
    assert len(whole.load_calibration()) == 11


def test_a_run_goes_on_as_integers_with_and_without_its_images(
    photographs: Path, whole: Run, tmp_path: Path
) -> None:
    from tmkt.train.qat.training import qat_recipe

    chosen = qat_recipe(whole, "8", ["train.steps=2"])
    with_images = train(chosen, None, photographs, tmp_path / "a", start=whole)
    assert with_images.info["test"]["samples"] == 6
    alone = train(chosen, None, None, tmp_path / "b", start=whole)
    assert alone.info["test"]["samples"] == 0
    (tmp_path / "other").mkdir()
    shutil.copytree(photographs / "ant", tmp_path / "other" / "ant")
    shutil.copytree(photographs / "bee", tmp_path / "other" / "bee")
    shutil.copytree(photographs / "bee", tmp_path / "other" / "cat")
    shutil.copytree(photographs / "bee", tmp_path / "other" / "no class")
    with pytest.raises(InputError, match="its training images are others"):
        train(chosen, None, tmp_path / "other", tmp_path / "c", start=whole)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"data": {"leave_out": ["no clas"]}}, "no class 'no clas'.*did you mean 'no class'"),
        ({"data": {"leave_out": [], "classes_used": 5}}, "more than the 4 classes"),
        ({"data": {"leave_out": ["ant", "bee", "cat"]}}, "1 class to learn"),
        ({"data": {"validation": 3}}, "class 'bee': 4 images to take 3|class 'cat': 2 images"),
    ],
)
def test_what_cannot_be_split_is_one_line(
    photographs: Path, changes: dict[str, dict[str, object]], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        load_source(recipe(**changes), None, photographs)


def test_folders_and_files_that_cannot_be_read_are_one_line(
    photographs: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"no folder given.*--static DIR"):
        load_source(recipe(), None, None)
    with pytest.raises(InputError, match="no such folder"):
        load_source(recipe(), None, tmp_path / "missing")
    with pytest.raises(InputError, match="holds no images"):
        load_source(recipe(), None, tmp_path)
    with pytest.raises(InputError, match="learns from images alone; leave --data out"):
        load_source(recipe(), photographs, photographs)
    shutil.copytree(photographs, tmp_path / "images")
    (tmp_path / "images" / "dog").mkdir()
    shutil.copy(photographs / "ant" / "image_0000.jpg", tmp_path / "images" / "dog")
    with pytest.raises(InputError, match="class 'dog': 1 image, expected at least 2"):
        load_source(recipe(), None, tmp_path / "images")
    (tmp_path / "images" / "dog" / "cut.jpg").write_bytes(b"\xff\xd8 no image")
    with pytest.raises(InputError, match=r"cut\.jpg: no image that is known"):
        load_source(recipe(), None, tmp_path / "images")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"method": {"name": "mix"}}, "only data set images"),
        ({"data": {"name": "nmnist", "leave_out": []}}, "static-only learns from images alone"),
        ({"static": {"encoding": "grey"}}, "static.encoding=simulated"),
        ({"data": {"width": 0, "height": 0}}, "set data.width and data.height"),
        ({"data": {"shots": 2}}, "are for recordings"),
        ({"data": {"name": "nmnist"}}, "are for data set images"),
    ],
)
def test_recipes_that_contradict_themselves_are_refused(
    changes: dict[str, dict[str, object]], complaint: str
) -> None:
    with pytest.raises(InputError, match=complaint):
        recipe(**changes)


def test_the_shipped_recipes_leave_out_caltechs_background_and_its_second_faces(
    tmp_path: Path, shared_data: Path
) -> None:
    from tmkt.recipe import load_recipe
    from tmkt.train import RECIPES

    source = shared_data / "caltech101" / "101_ObjectCategories"
    names = ["BACKGROUND_Google", "Faces", "Faces_easy", "ant"]
    for name in names:
        (tmp_path / name).mkdir()
        for path in sorted((source / name).glob("*.jpg"))[:4]:
            shutil.copy(path, tmp_path / name)
    for shipped in ("backbone-s", "backbone-m"):
        found = load_source(load_recipe(shipped, RECIPES), None, tmp_path)
        assert found.classes == ("Faces_easy", "ant")
        assert found.sensor == (36, 36)
    assert found.images is not None
    shown = found.images.instances[0]
    assert (found.images.images[0] == read_value(tmp_path / f"{shown}.jpg", (36, 36))).all()


def test_images_that_the_start_was_trained_on_are_not_tested(photographs: Path, whole: Run) -> None:
    alone = load_source(recipe(train={"seed": 1}), None, photographs)
    source = load_source(recipe(train={"seed": 1, "init": str(whole.path)}), None, photographs)
    assert alone.images is not None
    every = {f"{p.parent.name}/{p.stem}" for p in photographs.glob("[abc]*/*")}
    tested = every - {*alone.images.instances, *alone.validated_on}
    seen = from_ranges(whole.info["images_trained_on"])
    assert len(alone.test_frames) == len(tested)
    assert len(source.test_frames) == len(tested - seen) < len(tested)
    assert seen <= source.seen()


def test_a_head_learns_alone_from_images_alone(
    photographs: Path, whole: Run, tmp_path: Path
) -> None:
    changes = {"init": str(whole.path), "freeze": True, "init_statistics": "blend", "steps": 4}
    said: list[str] = []
    run = train(recipe(train=changes), None, photographs, tmp_path / "run", report=said.append)
    assert "from the features of 24 images (" in said[0]
    weights = [load_file(folder / MODEL) for folder in (run.path, whole.path)]
    moved = {name for name, tensor in weights[0].items() if not tensor.equal(weights[1][name])}
    assert {name for name in moved if "running" not in name} == {"head.weight", "head.bias"}
    assert "blocks.0.bn.running_mean" in moved
