"""Tests of the training data: recordings and images from data sets on disk."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from example_datasets import (
    write_caltech101,
    write_cifar10_binary,
    write_cifar10dvs,
    write_gesture_tonic,
    write_ncaltech101,
)

from tmkt.datasets.ncaltech101 import CLASSES
from tmkt.errors import InputError
from tmkt.recipe import Recipe, parse_recipe
from tmkt.train.data import load_training_data
from tmkt.train.samples import draw_batch
from tmkt.train.trainer import train

TRAIN = {"steps": 1, "batch": 4, "threads": 1}


def recipe(name: str, **data: object) -> Recipe:
    network = {"channels": [4], "strides": [2], "pools": [1]}
    values = {"name": name, "bins": 3, "bin_us": 100_000, **data}
    return parse_recipe(
        {"data": values, "network": network, "method": {"name": "tmkt"}, "train": TRAIN}, "test"
    )


@pytest.fixture(scope="module")
def caltech(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Write all 101 classes with six recordings and images each."""
    root = tmp_path_factory.mktemp("caltech")
    write_ncaltech101(root / "events", list(CLASSES), 6)
    write_caltech101(root / "images", list(CLASSES), 6)
    return root / "events", root / "images"


def test_a_training_sees_nothing_of_what_validates_or_is_tested(caltech: tuple[Path, Path]) -> None:
    chosen = recipe("ncaltech101", shots=1, validation=1, height=12, width=16)
    data = load_training_data(chosen, *caltech, True)
    assert data.images is not None
    assert (
        len(data.frames),
        len(data.validation_frames),
        len(data.test_frames),
        len(data.images),
    ) == (101, 101, 404, 101)
    assert data.frames.shape == (101, 3, 2, 12, 16)
    assert data.protocol == "instance-disjoint"
    assert set(data.images.instances) == set(data.trained_on)
    assert not set(data.validated_on) & set(data.trained_on)
    assert data.seen() == {*data.trained_on, *data.validated_on}
    assert sorted(data.labels.tolist()) == list(range(101))
    batch = draw_batch(data, chosen, np.random.default_rng(0), torch.device("cpu"))
    assert batch.events.shape == (3, 4, 2, 12, 16)


def test_the_published_split_keeps_its_leak_and_its_name(caltech: tuple[Path, Path]) -> None:
    data = load_training_data(
        recipe("ncaltech101", protocol="paper", height=8, width=8), *caltech, True
    )
    assert data.protocol == "paper"
    assert data.images is not None
    assert (len(data.frames), len(data.test_frames), len(data.images)) == (505, 101, 606)


def test_without_a_validation_part_it_is_empty(caltech: tuple[Path, Path]) -> None:
    data = load_training_data(
        recipe("ncaltech101", train_share=0.5, height=8, width=8), caltech[0], None, False
    )
    assert (
        len(data.frames),
        len(data.validation_frames),
        len(data.validation_labels),
        len(data.test_frames),
    ) == (303, 0, 0, 303)
    assert data.images is None
    assert data.seen() == set()


def test_float_frames_reach_the_training_as_floats(caltech: tuple[Path, Path]) -> None:
    data = load_training_data(
        recipe("ncaltech101", shots=1, height=8, width=8, frames="float"), caltech[0], None, False
    )
    assert data.frames.dtype == np.float32
    assert data.calibration(5)[0].shape == (5, 3, 2, 8, 8)


def test_the_fingerprint_tells_one_training_set_from_another(caltech: tuple[Path, Path]) -> None:
    chosen: dict[str, Any] = {"shots": 1, "width": 8, "height": 8}
    prints = {
        load_training_data(
            recipe("ncaltech101", **{**chosen, **other}), caltech[0], None, False
        ).fingerprint()
        for other in ({}, {"shots": 2}, {"validation": 1}, {"max_count": 2}, {"width": 9})
    }
    assert len(prints) == 5
    again = load_training_data(
        recipe("ncaltech101", **chosen), caltech[0], None, False
    ).fingerprint()
    assert again in prints


def test_calibration_is_spread_over_the_training_recordings(caltech: tuple[Path, Path]) -> None:
    data = load_training_data(
        recipe("ncaltech101", shots=3, height=8, width=8), caltech[0], None, False
    )
    assert np.array_equal(data.calibration(1000)[0], np.asarray(data.frames))
    frames, labels = data.calibration(3)
    assert np.array_equal(frames, data.frames[np.array([0, 101, 202])])
    assert np.array_equal(labels, data.labels[np.array([0, 101, 202])])


def test_images_that_may_show_what_is_tested_need_the_leak_named(tmp_path: Path) -> None:
    write_cifar10dvs(tmp_path / "events", 6)
    write_cifar10_binary(tmp_path / "images", 40)
    with pytest.raises(InputError, match=r"data\.protocol=paper"):
        load_training_data(
            recipe("cifar10dvs", downsample=8), tmp_path / "events", tmp_path / "images", True
        )
    data = load_training_data(
        recipe("cifar10dvs", downsample=8, protocol="paper"),
        tmp_path / "events",
        tmp_path / "images",
        True,
    )
    assert data.images is not None
    assert data.images.images.shape == (240, 16, 16)
    assert (
        load_training_data(
            recipe("cifar10dvs", downsample=8), tmp_path / "events", None, False
        ).images
        is None
    )


def test_people_of_the_test_are_not_seen_in_training_and_there_are_no_images(
    tmp_path: Path,
) -> None:
    write_gesture_tonic(tmp_path, [1, 2, 3, 24])
    data = load_training_data(
        recipe("dvsgesture", shots=2, validation=1, downsample=4), tmp_path, None, False
    )
    assert (len(data.trained_on), len(data.validated_on)) == (2, 1)
    assert (len(data.frames), len(data.validation_frames), len(data.test_frames)) == (22, 11, 11)
    with pytest.raises(InputError, match="has no images"):
        load_training_data(recipe("dvsgesture", shots=2, downsample=4), tmp_path, None, True)


@pytest.fixture(scope="module")
def scissors_alone(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Copy real recordings of two objects, and photographs of one of them."""
    root, biolab = tmp_path_factory.mktemp("objects"), shared_data / "biolab"
    for name in ("box", "scissors"):
        (root / "events" / name).mkdir(parents=True)
        for file in sorted((biolab / "events" / "s1" / name).glob("*.npz"))[:3]:
            shutil.copy(file, root / "events" / name)
    shutil.copy(biolab / "events" / "s1" / "camera.toml", root / "events")
    (root / "images" / "scissors").mkdir(parents=True)
    for file in sorted((biolab / "images" / "scissors").glob("*.jpg"))[:3]:
        shutil.copy(file, root / "images" / "scissors")
    return [root / "events", root / "images"]


def objects(encoding: str, method: str = "joint") -> Recipe:
    values = {"name": "folders", "bins": 3, "bin_us": 30_000, "downsample": 8, "shots": 2}
    network = {"channels": [4], "strides": [2], "pools": [1]}
    sections = {"data": values, "network": network, "method": {"name": method}, "train": TRAIN}
    return parse_recipe({**sections, "static": {"encoding": encoding}}, "test")


def test_recordings_take_the_place_of_images_that_a_class_has_none_of(
    scissors_alone: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    chosen = objects("simulated")
    data = load_training_data(chosen, *scissors_alone, True)
    assert "no images to train on of class box; recordings take their place" in " ".join(
        capsys.readouterr().err.split()
    )
    batch = draw_batch(data, chosen, np.random.default_rng(0), torch.device("cpu"))
    shown = [torch.equal(batch.static[:, i], batch.events[:, i]) for i in range(4)]
    assert shown == [data.classes[label] == "box" for label in batch.labels]


@pytest.mark.parametrize("method", ["joint", "mix", "tmkt", "ckd", "adapt"])
def test_every_method_trains_with_images_of_some_classes(
    scissors_alone: list[Path], tmp_path: Path, method: str
) -> None:
    chosen = objects("simulated", method)
    data = load_training_data(chosen, *scissors_alone, True)
    run = train(chosen, data, None, tmp_path / "run")
    assert run.load_network() is not None


def test_grey_images_must_show_every_class(scissors_alone: list[Path]) -> None:
    with pytest.raises(
        InputError, match=r"no images to train on of class 'box'.*static.encoding = 'simulated'"
    ):
        load_training_data(objects("grey"), *scissors_alone, True)
