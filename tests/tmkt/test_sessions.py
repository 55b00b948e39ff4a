"""Own recordings in sessions: no split tears one apart, and another session's are tested whole."""

import json
from pathlib import Path
from typing import Any

import pytest
from example_sessions import bar, write_npz, write_session

from tmkt.datasets.protocols import TEST_FOLDER, split_recordings
from tmkt.datasets.registry import dataset
from tmkt.datasets.seen import recordings_of
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.recipe import DataRecipe, load_paths, load_recipe

RECIPE = """\
[paths]
data = "recordings/monday"
test = "recordings/tuesday"

[data]
name = "folders"
bins = 3
bin_us = 20000

[network]
channels = [4]
strides = [2]
pools = [1]

[method]
name = "target-only"

[train]
steps = 20
batch = 6
shift = 0
threads = 1
"""


def recordings(root: Path) -> list[Recording]:
    return dataset("folders").find_recordings(root)


def data(**keys: Any) -> DataRecipe:
    return DataRecipe(name="folders", bin_us=1, **keys)


def test_a_session_is_never_on_both_sides_of_a_split(tmp_path: Path) -> None:
    for session in ("a", "b", "c"):
        for name in ("left", "right"):
            for i in range(3):
                write_npz(bar(3, i), tmp_path / name / session / f"{i}.npz")
    found = recordings(tmp_path)
    assert len(found) == 18
    assert {r.instance for r in found} == {f"{c}/{s}" for c in ("left", "right") for s in "abc"}
    for seed in range(5):
        split = split_recordings(dataset("folders"), found, data(train_share=0.5), seed)
        assert len(split.train) + len(split.test) == 18
        assert not {r.instance for r in split.train} & {r.instance for r in split.test}


def test_the_folder_above_the_classes_is_not_taken_for_one_class_with_sessions(
    tmp_path: Path,
) -> None:
    write_session(tmp_path / "events", ["left", "right"], 1, 0)
    with pytest.raises(
        InputError, match=r"one folder, events, and in it left, right.*give .*events"
    ):
        recordings(tmp_path)


def test_all_recordings_of_a_test_folder_are_tested_and_all_others_train(tmp_path: Path) -> None:
    found = recordings(write_session(tmp_path / "1", ["left", "right"], 4, 1))
    tested = dataset("folders", ["left", "right"]).find_recordings(
        write_session(tmp_path / "2", ["right"], 3, 2)
    )
    split = split_recordings(dataset("folders"), found, data(validation=1), 0, tested)
    assert (split.protocol, split.test) == (TEST_FOLDER, tested)
    assert len(split.train) == 6
    assert len(split.validation) == 2
    assert {r.path for r in (*split.train, *split.validation)} == {r.path for r in found}
    few = split_recordings(dataset("folders"), found, data(shots=1), 0, tested)
    assert (len(few.train), len(few.test)) == (2, 3)
    with pytest.raises(InputError, match="is trained on and tested"):
        split_recordings(dataset("folders"), found, data(), 0, [*tested, found[0]])


def test_a_recipe_names_its_folders_relative_to_itself(tmp_path: Path) -> None:
    file = tmp_path / "here" / "recipe.toml"
    file.parent.mkdir()
    file.write_text(RECIPE)
    paths = load_paths(str(file), tmp_path)
    assert paths.data == file.parent / "recordings" / "monday"
    assert paths.static is None
    assert load_recipe(str(file), tmp_path).data.name == "folders"
    with pytest.raises(InputError, match="use --data, --static or --test"):
        load_recipe(str(file), tmp_path, ["paths.data=x"])
    file.write_text(RECIPE.replace("test =", "tests ="))
    with pytest.raises(InputError, match=r"\[paths\] tests: .*; give data, static or test"):
        load_paths(str(file), tmp_path)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, tmkt: Any) -> Path:
    """A folder with a recipe, three sessions, a run and its bundle."""
    root = tmp_path_factory.mktemp("sessions")
    write_session(root / "recordings" / "monday", ["left", "mid", "right"], 4, 1)
    write_session(root / "recordings" / "tuesday", ["left", "right"], 3, 2)
    write_session(root / "recordings" / "friday", ["mid"], 5, 3)
    (root / "mine.toml").write_text(RECIPE)
    done = tmkt("train", "mine.toml", cwd=root)
    assert done.code == 0, done.err
    assert (
        "Float network on 6 recordings that were not trained on (only left, right, of 3" in done.err
    )
    done = tmkt("export", "runs/mine", "--target", "onnx", "--out", "bundle", cwd=root)
    assert done.code == 0, done.err
    return root


def test_a_recipe_with_paths_trains_alike_wherever_it_lies(
    trained: Path, tmp_path: Path, tmkt: Any
) -> None:
    write_session(tmp_path / "else" / "recordings" / "monday", ["left", "mid", "right"], 4, 1)
    write_session(tmp_path / "else" / "recordings" / "tuesday", ["left", "right"], 3, 2)
    recipe = tmp_path / "else" / "mine.toml"
    recipe.write_text(RECIPE)
    done = tmkt("train", recipe, "--out", tmp_path / "run", cwd=tmp_path)
    assert done.code == 0, done.err
    for name in ("recipe.toml", "run.json", "model.safetensors", "metrics.jsonl"):
        there = trained / "runs" / "mine" / name
        assert (tmp_path / "run" / name).read_bytes() == there.read_bytes(), name


@pytest.mark.parametrize(
    ("session", "split", "count"),
    [("tuesday", "test", 6), ("friday", "test", 5), ("monday", "train", 12)],
)
def test_another_session_is_tested_whole_though_its_names_are_those_of_the_training(
    trained: Path, session: str, split: str, count: int
) -> None:
    manifest = json.loads((trained / "bundle" / "manifest.json").read_text())
    chosen = recordings_of(manifest, trained / "recordings" / session, split, None)
    assert len(chosen) == count


def test_an_evaluation_says_over_which_classes_it_is(trained: Path, tmkt: Any) -> None:
    done = tmkt("evaluate", "bundle", "--data", "recordings/tuesday", cwd=trained)
    assert done.code == 0, done.err
    assert "left, right (of 3)" in done.out


def test_what_was_trained_on_is_not_tested_in_another_format_either(
    trained: Path, tmp_path: Path, tmkt: Any
) -> None:
    out = tmp_path / "left" / "0.bin"
    out.parent.mkdir()
    recording = trained / "recordings" / "monday" / "left" / "0.npz"
    assert tmkt("data", "convert", recording, out).code == 0
    (tmp_path / "camera.toml").write_text("width = 16\nheight = 12\n")
    manifest = json.loads((trained / "bundle" / "manifest.json").read_text())
    with pytest.raises(InputError, match="show what was trained"):
        recordings_of(manifest, tmp_path, "test", None)


def test_the_recipe_says_the_cameras_size_where_the_recordings_do_not(
    tmp_path: Path, tmkt: Any
) -> None:
    for c, name in enumerate(("left", "right")):
        for i in range(3):
            write_npz(bar(3 + 8 * c, i), tmp_path / "data" / name / f"{i}.npz", with_size=False)
    text = RECIPE.replace("recordings/monday", "data").replace('test = "recordings/tuesday"\n', "")
    (tmp_path / "mine.toml").write_text(text)
    done = tmkt("train", "mine.toml", cwd=tmp_path)
    assert done.code == 2
    assert "does not say its camera's size" in done.err
    size = 'name = "folders"\ncamera_width = 16\ncamera_height = 12'
    (tmp_path / "mine.toml").write_text(text.replace('name = "folders"', size))
    for words in (
        ("train", "mine.toml"),
        ("export", "runs/mine", "--target", "onnx", "--out", "bundle"),
        ("evaluate", "bundle", "--data", "data"),
    ):
        done = tmkt(*words, cwd=tmp_path)
        assert done.code == 0, done.err
    write_npz(bar(3, 0), tmp_path / "data" / "left" / "0.npz")
    with pytest.raises(
        InputError, match=r"a sensor of 16x12, expected 17x12 as data\.camera_width"
    ):
        dataset("folders", (), (12, 17)).find_recordings(tmp_path / "data")
