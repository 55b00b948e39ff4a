"""Folders that commands read: checks before the work, with the option to mend."""

from pathlib import Path
from typing import Any

from tmkt.errors import InputError
from tmkt.parts import put_back


def need_data(data: Path | None, command: str, option: str = "--data") -> Path:
    """Return the recordings' folder; raise InputError if it is not given or missing. `option`: what
    it was given by.
    """
    if data is None:
        raise InputError(
            f"{command}: no --data given, expected the folder of the event recordings; add"
            " --data DIR"
        )
    put_back(data)
    if not data.is_dir():
        raise InputError(f"{data}: no such folder, expected the event recordings; check {option}")
    return data


def need_test(test: Path | None) -> Path | None:
    """Return the folder of the recordings to test on, if one is given; InputError if missing."""
    if test is not None and not test.is_dir():
        raise InputError(f"{test}: no such folder, expected recordings to test on; check --test")
    return test


def training_folders(
    name: str,
    recipe: Any,
    command: str,
    *,
    data: Path | None,
    static: Path | None,
    test: Path | None,
) -> tuple[Path | None, Path | None, Path | None]:
    """Give the folders of the recordings, the images and the recordings to test on: those of the
    options, else those that the recipe called `name` has as its [paths]; InputError if missing.
    """
    from tmkt.recipe import load_paths
    from tmkt.train import RECIPES

    said = load_paths(name, RECIPES)
    for option, given, folder in (
        ("--data", data, said.data),
        ("--static", static, said.static),
        ("--test", test, said.test),
    ):
        if given is None and folder is not None:
            put_back(folder)
            if not folder.is_dir():
                raise InputError(
                    f"{folder}: no such folder, named by [paths] of {name}; mend it there, or add"
                    f" {option} DIR"
                )
    return (
        need_data_of(recipe, data or said.data, command),
        static or said.static,
        need_test(test or said.test),
    )


def need_data_of(recipe: Any, data: Path | None, command: str) -> Path | None:
    """Do as `need_data`; but return None for a recipe that learns from images alone, if none is
    given.
    """
    if recipe.data.images_alone and data is None:
        return None
    return need_data(data, command)
