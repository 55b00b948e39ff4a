"""Reading recipes from TOML and from the command line, and writing them."""

import tomllib
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import ValidationError

from tmkt.errors import InputError, nearest
from tmkt.recipe.old_keys import SENSOR, renew_override, renewed
from tmkt.recipe.schema import Recipe, recipe_keys
from tmkt.toml import load_toml, parse_toml

SECTION_OF_PATHS = "paths"  # read by tmkt.recipe.paths


def recipe_path(name: str, folder: Path) -> Path:
    """Give a recipe's path: `name` itself if it ends in .toml, else that of `name` in `folder`."""
    return Path(name) if name.endswith(".toml") else folder / f"{name}.toml"


def load_recipe(name: str, folder: Path, overrides: list[str] | None = None) -> Recipe:
    """Read a recipe (see `recipe_path`) and apply `section.key=value` overrides.

    Raises InputError for an unknown recipe or key (naming the nearest known one) and for a value
    out of range.
    """
    values = read_values(name, folder)
    values.pop(SECTION_OF_PATHS, None)
    return with_settings(values, overrides, f"recipe {name!r}")


def read_values(name: str, folder: Path) -> dict[str, Any]:
    """Read a recipe (see `recipe_path`) as nested dictionaries, unchecked.

    Raises InputError for an unknown recipe and for a file that is not valid TOML.
    """
    path = recipe_path(name, folder)
    if not path.is_file() and name.endswith(".toml"):
        raise InputError(
            f"{path}: no such file, expected a recipe; tmkt init DIR writes one for your"
            " recordings, tmkt recipes list names those that come with tmkt"
        )
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.toml"))
        raise InputError(
            f"recipe {name!r}: not found, known are {', '.join(known)}{nearest(name, known)}"
        )
    try:
        return load_toml(path)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: not valid TOML ({error}); mend it") from None


def with_settings(values: dict[str, Any], overrides: list[str] | None, where: str) -> Recipe:
    """Make a recipe of nested dictionaries and `section.key=value` overrides.

    Errors name `where`.
    """
    values = renewed(values, where)
    for override in overrides or []:
        _apply(values, override)
    return parse_recipe(values, where)


def parse_recipe(values: dict[str, Any], where: str) -> Recipe:
    """Validate a recipe that is given as nested dictionaries; errors name `where`."""
    try:
        return Recipe.model_validate(renewed(values, where))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        if first["type"] == "extra_forbidden":
            raise InputError(
                f"{where}: unknown key {key!r}{nearest(key, list(recipe_keys()))}; see: tmkt"
                " recipes show NAME"
            ) from None
        found = (
            ""
            if first["type"] == "missing" or isinstance(first["input"], dict)
            else f", found {first['input']!r}"
        )
        place = f"key {key!r}: " if key else ""  # none: two sections contradict each other
        raise InputError(
            f"{where}: {place}{first['msg'].removeprefix('Value error, ')}{found}"
        ) from None


def _apply(values: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    section, dot, name = key.strip().partition(".")
    if not equals or not dot:
        raise InputError(f"--set {override!r}: expected section.key=value, as in train.steps=500")
    try:
        value = parse_toml(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string
    except ValueError as error:
        raise InputError(
            f"--set {override[:60]!r}: {error}, expected section.key=value, as in train.steps=500"
        ) from None
    if key.strip() == SENSOR:
        values.setdefault(section, {}).update(renew_override(value, override))
        return
    if section == SECTION_OF_PATHS:
        raise InputError(
            f"--set {override!r}: folders are given as options; use --data, --static or --test"
        )
    if key.strip() not in recipe_keys():
        raise InputError(
            f"--set {override!r}: unknown key {key.strip()!r}"
            f"{nearest(key.strip(), list(recipe_keys()))}; see: tmkt recipes show NAME"
        )
    values.setdefault(section, {})[name] = value


def dump_recipe(recipe: Recipe) -> str:
    """Write the recipe as TOML, every key resolved."""
    return tomli_w.dumps(recipe.model_dump())
