"""`tmkt init`: from a folder of recordings to a recipe that trains."""

import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest
from example_sessions import write_session

from tmkt import cli
from tmkt.errors import InputError

STEPS = ("--set", "train.steps=10", "--set", "train.batch=8")


def some_of(source: Path, out: Path, each: int, suffix: str) -> Path:
    """Copy the first files of every class, and the camera's size."""
    for folder in sorted(path for path in source.iterdir() if path.is_dir()):
        (out / folder.name).mkdir(parents=True)
        for path in sorted(folder.glob(f"*{suffix}"))[:each]:
            shutil.copy(path, out / folder.name)
    if (source / "camera.toml").exists():
        shutil.copy(source / "camera.toml", out)
    return out


def test_poker_cards_come_from_a_folder_to_a_report(
    shared_data: Path, tmp_path: Path, tmkt: Any
) -> None:
    some_of(shared_data / "pokerdvs" / "events", tmp_path / "cards", 6, ".npz")
    some_of(shared_data / "pokerdvs" / "images", tmp_path / "glyphs", 4, ".png")
    words = ("init", "cards", "--static", "glyphs", "--minutes", "0.01", "--json")
    done = tmkt(*words, cwd=tmp_path)
    assert done.code == 0, done.err
    found = done.json
    assert [entry["name"] for entry in found["classes"]] == ["club", "diamond", "heart", "spade"]
    assert found["chosen"]["method"]["name"] == "adapt"
    assert found["refusal"] is None
    assert found["seconds_a_step"] > 0
    assert found["next"] == "tmkt train recipe.toml"
    written = (tmp_path / "recipe.toml").read_bytes()
    done = tmkt("init", "cards", cwd=tmp_path)
    assert done.code == 2
    assert "recipe.toml: exists, expected a free place; add --force" in done.err
    assert (tmp_path / "recipe.toml").read_bytes() == written
    for step in (
        ("train", "recipe.toml", *STEPS),
        ("export", "runs/recipe", "--target", "onnx", "--out", "bundle"),
        ("evaluate", "bundle", "--data", "cards"),
        ("report", "bundle", "--run", "runs/recipe", "--data", "cards", "--out", "cards.html"),
    ):
        done = tmkt(*step, cwd=tmp_path)
        assert done.code == 0, done.err


def test_objects_of_one_session_are_tested_in_another(
    shared_data: Path, tmp_path: Path, tmkt: Any
) -> None:
    biolab = shared_data / "biolab"
    some_of(biolab / "events" / "s1", tmp_path / "events" / "s1", 5, ".npz")
    some_of(biolab / "events" / "s0", tmp_path / "events" / "s0", 5, ".npz")
    some_of(biolab / "images", tmp_path / "images", 2, ".jpg")
    words = ("init", "events/s1", "--test", "events/s0", "--static", "images", "--minutes", "0.01")
    done = tmkt(*words, cwd=tmp_path)
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "events/s0 lacks cutter, mug, pencil and 1 more: the accuracy is over box," in said
    assert "no images of box, cutter, mouse and 1 more: the images are not used" in said
    assert "images of stapler, which was not recorded" in said
    assert max(map(len, done.out.splitlines())) <= 80
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert recipe["paths"] == {"data": "events/s1", "test": "events/s0"}
    assert recipe["data"]["downsample"] == 4
    done = tmkt("train", "recipe.toml", *STEPS, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "15 recordings that were not trained on (only box, mouse, scissors, of 7" in done.err
    done = tmkt("export", "runs/recipe", "--target", "onnx", "--out", "bundle", cwd=tmp_path)
    assert done.code == 0, done.err
    done = tmkt("evaluate", "bundle", "--data", "events/s0", "--json", cwd=tmp_path)
    assert (done.json["samples"], done.json["classes_tested"]) == (15, ["box", "mouse", "scissors"])


def test_photographs_of_some_objects_are_taken_where_recordings_are_fewest(
    shared_data: Path, tmp_path: Path, tmkt: Any
) -> None:
    biolab = shared_data / "biolab"
    some_of(biolab / "events" / "s1", tmp_path / "events", 5, ".npz")
    some_of(biolab / "images", tmp_path / "images", 2, ".jpg")
    shutil.rmtree(tmp_path / "images" / "stapler")
    done = tmkt("init", "events", "--static", "images", "--minutes", "0.01", cwd=tmp_path)
    assert done.code == 0, done.err
    said = " ".join(done.out.split())
    assert "no images of box, cutter, mouse and 1 more: their recordings take the place" in said
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert recipe["paths"] == {"data": "events", "static": "images"}
    assert recipe["static"]["encoding"] == "simulated"
    done = tmkt("train", "recipe.toml", *STEPS, cwd=tmp_path)
    assert done.code == 0, done.err
    assert "no images to train on of class box, cutter, mouse, pencil" in " ".join(done.err.split())


def test_what_training_refuses_is_said_and_the_recipe_is_written_all_the_same(
    tmp_path: Path, tmkt: Any
) -> None:
    data = write_session(tmp_path / "data", ["left", "right"], 3, 0)
    (data / "left" / "0.npz").write_bytes(b"PK\3\4 damaged .npy")
    done = tmkt("init", "data", "--out", "mine.toml", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "REFUSED BY TRAINING: 1 recordings cannot be read: data/left/0.npz" in done.out
    assert "training refuses the data as they are: " in done.err
    assert (tmp_path / "mine.toml").is_file()
    (data / "left" / "0.npz").unlink()
    assert tmkt("train", "mine.toml", *STEPS, cwd=tmp_path).code == 0


def test_simulated_recordings_become_text_and_text_a_run(tmp_path: Path, tmkt: Any) -> None:
    for step in (
        ("data", "simulate", "simulated", "--per-class", "2"),
        ("data", "convert", "simulated/Train", "own", "--to", "csv"),
        ("init", "own", "--minutes", "0.01"),
        ("train", "recipe.toml", *STEPS),
    ):
        done = tmkt(*step, cwd=tmp_path)
        assert done.code == 0, done.err
    assert (tmp_path / "own" / "3").is_dir()
    recipe = tomllib.loads((tmp_path / "recipe.toml").read_text())
    assert recipe["paths"] == {"data": "own"}
    assert "10 recordings that were not trained on" in done.err
    (tmp_path / "own").rename(tmp_path / "moved")
    for command in ("train", "tune"):
        done = tmkt(command, "recipe.toml", "--out", "again", cwd=tmp_path)
        assert (done.code, done.err) == (
            2,
            "tmkt: own: no such folder, named by [paths] of recipe.toml; mend it there, or add"
            " --data DIR\n",
        )
    done = tmkt("train", "recipes.toml", cwd=tmp_path)
    assert done.code == 2
    assert "recipes.toml: no such file, expected a recipe; tmkt init DIR writes one" in done.err


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("nowhere",), "nowhere: no such folder, expected the event recordings; check its name"),
        (("empty",), "empty: holds no recordings, expected"),
        (("data", "--test", "nowhere"), "nowhere: no such folder"),
        (("data", "--device", "loihi9"), "loihi9"),
        (("empty", "--device", "loihi9"), "loihi9"),  # known before a recording is read
        (("data", "--out", "."), "is a folder"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], expected: str
) -> None:
    write_session(tmp_path / "data", ["left"], 1, 0)
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=expected):
        cli.app(["init", *words], standalone_mode=False)
    assert not (tmp_path / "recipe.toml").exists()
