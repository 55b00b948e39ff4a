"""TOML files and settings from strangers: one line, whatever they hold."""

import os
from pathlib import Path

import pytest

from tmkt.datasets.registry import dataset
from tmkt.deploy.fit.device import load_device
from tmkt.errors import InputError
from tmkt.recipe import load_recipe
from tmkt.runs import load_run_recipe
from tmkt.toml import MAX_BYTES, MAX_DEPTH, parse_toml
from tmkt.train import RECIPES

HOSTILE = {
    "arrays": "a = " + "[" * 5000 + "]" * 5000,
    "tables": "a = " + "{b=" * 5000 + "1" + "}" * 5000,
    "dots": ".".join("a" * 5000) + " = 1",
    "digits": "a = " + "9" * 5000,
    "hexadecimal": "a = 0x" + "f" * 5000,
    "64 bits": f"a = {2**63}",
    "in a table": "[train]\nsteps = " + "9" * 5000,
    "date": "a = 2026-99-99",
    "bytes": "\udcff",
}


@pytest.mark.parametrize("what", HOSTILE)
def test_files_and_settings_that_no_program_should_parse_are_refused_in_one_line(
    tmp_path: Path, what: str
) -> None:
    content = HOSTILE[what].encode(errors="surrogateescape")
    recipe, camera = tmp_path / "recipe.toml", tmp_path / "camera.toml"
    recipe.write_bytes(content)
    camera.write_bytes(content)
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.bin").write_bytes(bytes(20))
    for read in (
        lambda: load_recipe(str(recipe), RECIPES),
        lambda: load_run_recipe(tmp_path),
        lambda: load_device(str(recipe)),
        lambda: dataset("folders", ("class",)).find_recordings(tmp_path),
    ):
        with pytest.raises(InputError) as caught:
            read()
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 300
    if what != "bytes":
        value = HOSTILE[what].partition("= ")[2]
        with pytest.raises(InputError, match="--set") as caught:
            load_recipe("nmnist-fewshot", RECIPES, [f"data.nothing={value}"])
        assert "\n" not in str(caught.value)


def test_a_setting_of_impossible_size_is_named(tmp_path: Path) -> None:
    for value, found in (("9" * 5000, "integer"), ("[" * 5000, "nested")):
        with pytest.raises(InputError, match=f"--set 'train.steps=.*{found}"):
            load_recipe("nmnist-fewshot", RECIPES, [f"train.steps={value}"])
    (tmp_path / "large.toml").write_text("#" * (MAX_BYTES + 1))
    with pytest.raises(InputError, match=f"more than {MAX_BYTES} bytes"):
        load_recipe(str(tmp_path / "large.toml"), RECIPES)


def test_what_is_within_the_limits_is_read() -> None:
    assert parse_toml(f"a = {-(2**63)}")["a"] == -(2**63)
    deepest = "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1)
    assert parse_toml(f"a = {deepest}")
    with pytest.raises(ValueError, match="nested deeper"):
        parse_toml(f"a = [[{deepest}]]")


def test_a_pipe_that_is_named_as_the_camera_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "camera.toml")
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "a.bin").write_bytes(bytes(20))
    with pytest.raises(InputError, match="is not a file"):
        dataset("folders", ("class",)).find_recordings(tmp_path)
