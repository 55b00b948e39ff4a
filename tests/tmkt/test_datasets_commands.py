"""tmkt data list and check."""

from pathlib import Path
from typing import Any

import pytest
from example_datasets import (
    write_caltech101,
    write_cepdvs,
    write_cifar10_binary,
    write_cifar10dvs,
    write_colour,
    write_ncaltech101,
)

from tmkt.datasets.check import check_data, detect, known_sets
from tmkt.datasets.check_images import check_images
from tmkt.datasets.registry import NAMES, dataset
from tmkt.errors import InputError

SOME = ["ant", "bass", "lotus"]


def checked(
    name: str, root: Path, static: Path | None = None, protocol: str = "instance-disjoint"
) -> dict[str, Any]:
    return check_data(dataset(name), root, static, protocol)


def a_users_folders(root: Path, classes: int = 2, each: int = 4) -> None:
    """Pairs of one name a class: small, whole and without a leak."""
    write_ncaltech101(root / "x", SOME[:classes], each)
    for path in (root / "x").glob("Caltech101/*/*.bin"):
        (root / "events" / path.parent.name).mkdir(parents=True, exist_ok=True)
        path.rename(root / "events" / path.parent.name / path.name)
        write_colour(
            root / "images" / path.parent.name / f"{path.stem}.png", (30, 40), len(path.parent.name)
        )
    (root / "events" / "camera.toml").write_text("width = 240\nheight = 180\n")


def test_a_whole_set_is_found_well(tmp_path: Path) -> None:
    a_users_folders(tmp_path)
    report = checked("folders", tmp_path / "events", tmp_path / "images")
    assert report["problems"] == []
    assert [(c["name"], c["recordings"], c["images"]) for c in report["classes"]] == [
        ("ant", 4, 4),
        ("bass", 4, 4),
    ]
    (protocol,) = report["protocols"]
    assert (protocol["train"], protocol["test"], protocol["images"]) == (6, 2, 6)
    assert protocol["shared_instances"] == protocol["tested_images"] == 0


def test_a_real_set_is_found_well_by_the_command(shared_data: Path, tmkt: Any) -> None:
    done = tmkt(
        "data", "check", shared_data / "nmnist", "--static", shared_data / "mnist", "--json"
    )
    assert done.code == 0
    assert done.json["data_set"] == "nmnist"
    assert (done.json["recordings"], done.json["images"], done.json["problems"]) == (
        500,
        60_000,
        [],
    )


def test_every_fault_is_named_and_fails_the_command(tmp_path: Path, tmkt: Any) -> None:
    a_users_folders(tmp_path, 3)
    events, images = tmp_path / "events", tmp_path / "images"
    damaged = events / "ant" / "image_0002.bin"
    damaged.write_bytes(damaged.read_bytes()[:-2])
    (events / "bass" / "again.bin").write_bytes((events / "bass" / "image_0001.bin").read_bytes())
    for path in (images / "lotus").iterdir():
        path.unlink()
    done = tmkt("data", "check", events, "--static", images, "--json")
    assert done.code == 1
    report = done.json
    assert [entry["path"] for entry in report["corrupt"]] == [str(damaged)]
    assert "truncated" in report["corrupt"][0]["error"]
    assert report["classes_without_images"] == ["lotus"]
    assert report["duplicates"] == [
        [str(events / "bass" / "again.bin"), str(events / "bass" / "image_0001.bin")]
    ]
    assert len(report["problems"]) == 3
    table = tmkt("data", "check", events, "--static", images)
    assert table.code == 1
    assert "cannot be read: " in table.out
    assert "FAILED: 1 recordings cannot be read; 1 classes have no images" in table.out


def test_classes_that_do_not_match_are_named(tmp_path: Path) -> None:
    write_cepdvs(tmp_path, ["fish", "trees"], 3)
    report = checked("cepdvs", tmp_path, tmp_path)
    assert len(report["classes_without_recordings"]) == 18
    assert report["label_conflicts"] == []
    other = tmp_path / "other"
    write_cepdvs(other, ["trees", "fish"], 3)
    assert checked("cepdvs", tmp_path, other)["label_conflicts"] == [
        f"cepdvs-{i}" for i in range(6)
    ]


def test_the_leak_of_a_published_split_is_counted(tmp_path: Path) -> None:
    write_ncaltech101(tmp_path / "events", SOME, 10)
    write_caltech101(tmp_path / "images", SOME, 10)
    report = checked("ncaltech101", tmp_path / "events", tmp_path / "images", "paper")
    ours, papers = report["protocols"]
    assert (ours["shared_instances"], ours["tested_images"]) == (0, 0)
    assert (papers["test"], papers["shared_instances"], papers["tested_images"]) == (3, 0, 3)
    assert "paper: tested things are trained on, 0 as recordings, 3 as images" in report["problems"]
    for number in (3, 5):
        (
            tmp_path / "images" / "101_ObjectCategories" / "ant" / f"image_000{number}.jpg"
        ).write_bytes(b"no image")
    report = checked("ncaltech101", tmp_path / "events", tmp_path / "images")
    (problem,) = [problem for problem in report["problems"] if problem.startswith("images: ")]
    assert "image_0003.jpg: no image that is known" in problem
    assert "2 of 30 images are such, as " in problem
    assert problem.endswith("image_0005.jpg")


def test_a_leak_that_nobody_can_rule_out_is_said(tmp_path: Path) -> None:
    write_cifar10dvs(tmp_path / "events", 6)
    write_cifar10_binary(tmp_path / "images", 5)
    report = checked("cifar10dvs", tmp_path / "events", tmp_path / "images")
    assert any(
        "which images were recorded is not published" in problem for problem in report["problems"]
    )
    assert (
        checked("cifar10dvs", tmp_path / "events", tmp_path / "images", "paper")["problems"] == []
    )


def test_a_folder_is_known_by_its_layout(tmp_path: Path, shared_data: Path) -> None:
    write_ncaltech101(tmp_path / "n", SOME, 1)
    write_cepdvs(tmp_path / "c", ["fish"], 1)
    a_users_folders(tmp_path / "f", 1, 1)
    assert detect(shared_data / "nmnist") == "nmnist"
    assert detect(tmp_path / "n") == "ncaltech101"
    assert detect(tmp_path / "c") == "cepdvs"
    assert detect(tmp_path / "f" / "events") == "folders"
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="in a layout that is known"):
        detect(tmp_path / "empty")
    with pytest.raises(InputError, match="no such folder"):
        detect(tmp_path / "nowhere")


def test_folders_of_images_alone_are_known_and_checked(tmp_path: Path) -> None:
    write_caltech101(tmp_path, SOME, 4)
    root = tmp_path / "101_ObjectCategories"
    assert detect(root) == "images"
    report = check_images(root)
    assert report["problems"] == []
    assert (report["recordings"], report["images"]) == (0, 12)
    assert [c["images"] for c in report["classes"]] == [4, 4, 4]
    (split,) = report["protocols"]
    assert (split["images"], split["test"], split["tested_images"]) == (9, 3, 0)
    known = next(row for row in known_sets([root]) if row["name"] == "images")
    assert (known["recordings"], known["images"]) == ([], [str(root)])

    twin = root / "ant" / "twin.jpg"
    twin.write_bytes((root / "bass" / "image_0001.jpg").read_bytes())
    (root / "ant" / "cut.png").write_bytes(b"no image")
    (root / "rare").mkdir()
    (root / "lotus" / "image_0001.jpg").rename(root / "rare" / "image_0001.jpg")
    report = check_images(root)
    assert report["duplicates"] == [[str(twin), str(root / "bass" / "image_0001.jpg")]]
    assert [entry["path"] for entry in report["corrupt"]] == [str(root / "ant" / "cut.png")]
    assert [problem.split(":")[0] for problem in report["problems"]] == [
        "1 images cannot be read",
        "1 pairs of images are the same file under two names",
        "instance-disjoint",
    ]
    assert "class 'rare': 1 image" in report["problems"][2]


def test_the_list_says_what_is_known_and_where_it_is(
    tmp_path: Path, shared_data: Path, tmkt: Any
) -> None:
    write_caltech101(tmp_path / "caltech101", SOME, 1)
    write_ncaltech101(tmp_path / "events", SOME, 2)
    rows = {row["name"]: row for row in known_sets([tmp_path, shared_data])}
    assert tuple(rows) == NAMES
    assert rows["ncaltech101"]["recordings"] == [
        {"path": str(tmp_path / "events"), "recordings": 6}
    ]
    mine = [path for path in rows["ncaltech101"]["images"] if path.startswith(str(tmp_path))]
    assert mine == [str(tmp_path), str(tmp_path / "caltech101")]  # shared data may hold them, too
    assert rows["nmnist"]["recordings"] == [
        {"path": str(shared_data / "nmnist"), "recordings": 500}
    ]
    assert rows["nmnist"]["images"] == [str(shared_data / "mnist")]
    done = tmkt("data", "list", tmp_path)
    assert done.code == 0
    assert "6 recordings" in done.out.replace("\n", " ")
    assert (
        tmkt("data", "list", tmp_path / "nowhere", "--json").json["data_sets"][0]["recordings"]
        == []
    )


def test_a_wrong_word_is_answered_with_the_known_ones(tmp_path: Path, tmkt: Any) -> None:
    for arguments, message in (
        (("check", tmp_path, "--name", "nmnst"), "did you mean 'nmnist'"),
        (("check", tmp_path, "--protocol", "papr"), "did you mean 'paper'"),
        (("fetch", "ncaltech"), "did you mean 'ncaltech101'"),
        (("fetch", "cepdvs"), "has no address that a program may fetch from"),
    ):
        done = tmkt("data", *arguments)
        assert done.code == 2
        assert message in done.err
        assert done.err.count("\n") == 1
