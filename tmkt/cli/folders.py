"""Folders that commands read: checks before the work, with the option to mend."""

from pathlib import Path
from typing import Any

from tmkt.errors import InputError
from tmkt.parts import put_back


def need_data(data: Path | None, command: str) -> Path:
    """Return the recordings' folder; raise InputError if it is not given or missing."""
    if data is None:
        raise InputError(
            f"{command}: no --data given, expected the folder of the event recordings; add"
            " --data DIR"
        )
    put_back(data)
    if not data.is_dir():
        raise InputError(f"{data}: no such folder, expected the event recordings; check --data")
    return data


def need_test(test: Path | None) -> Path | None:
    """Return the folder of the recordings to test on, if one is given; InputError if missing."""
    if test is not None and not test.is_dir():
        raise InputError(f"{test}: no such folder, expected recordings to test on; check --test")
    return test


def need_data_of(recipe: Any, data: Path | None, command: str) -> Path | None:
    """Do as `need_data`; but return None for a recipe that learns from images alone, if none is
    given.
    """
    if recipe.data.images_alone and data is None:
        return None
    return need_data(data, command)
