"""Section [paths] of a recipe: the folders that a training reads where no option names others.

It is no part of what decides a training: a run does not record it, so that a run may be moved and
equal recordings give equal runs wherever they lie.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from tmkt.errors import InputError, explain
from tmkt.recipe.file import SECTION_OF_PATHS, read_values, recipe_path


@dataclass(frozen=True)
class RecipePaths:
    """Folders of the recordings, of the images and of the recordings to test on; None: not said."""

    data: Path | None = None
    static: Path | None = None
    test: Path | None = None


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    data: str = ""
    static: str = ""
    test: str = ""


def load_paths(name: str, folder: Path) -> RecipePaths:
    """Read the folders that a recipe names (see `recipe_path`), relative to the recipe's file.

    Raises InputError for an unknown key and for a value that is no text, and as `read_values` does.
    """
    path = recipe_path(name, folder)
    said: Any = read_values(name, folder).get(SECTION_OF_PATHS, {})
    try:
        paths = _Said.model_validate(said)
    except ValidationError as error:
        raise InputError(
            f"{path}: [{SECTION_OF_PATHS}] {explain(error)}; give data, static or test, folders"
            " relative to the recipe"
        ) from None
    return RecipePaths(
        *(path.parent / value if value else None for value in paths.model_dump().values())
    )
