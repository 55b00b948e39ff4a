"""Recipes as text for people: the keys that matter, each with its comment."""

import inspect
import json
import re
import tomllib
from dataclasses import asdict
from textwrap import wrap
from typing import Any, Literal, NamedTuple, get_args, get_origin

import tomli_w
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from tmkt.recipe.file import SECTION_OF_PATHS, parse_recipe
from tmkt.recipe.paths import RecipePaths
from tmkt.recipe.schema import Recipe

WIDTH = 80  # characters of a line
NO_PATHS = RecipePaths()
_FIELD = re.compile(r"    (\w+): [^#]*(?:# (.*))?$")
_KEY = re.compile(r"(\w+)\s*=")


class Remarks(NamedTuple):
    """Comments of a recipe's file: lines above a key, section or (under "") the whole, and what
    stands behind a key. Keys are named section.key.
    """

    above: dict[str, list[str]]
    behind: dict[str, str]


def commented(
    recipe: Recipe, text: str = "", paths: RecipePaths = NO_PATHS, *, every: bool = False
) -> str:
    """Write a recipe as TOML with comments: the keys that differ from the defaults, or `every` one.

    `text`: the recipe's file, whose comments stay. A key without one gets that of the schema. What
    is written is a recipe that decides the same training.
    """
    remarks, shown = _remarks(text), recipe.model_dump() if every else differing(recipe)
    lines = _above(remarks, "")
    for section, values in shown.items():
        fields = _fields(section)
        lines += ["", *_above(remarks, section), f"[{section}]"]
        for key, value in values.items():
            name = f"{section}.{key}"
            above, behind = _above(remarks, name), remarks.behind.get(name, "")
            if not above and not behind:
                behind = _comment(section, key, fields[key])
            lines += [*above, *_line(key, value, behind)]
    folders = {key: str(path) for key, path in asdict(paths).items() if path is not None}
    if folders:
        lines += ["", f"[{SECTION_OF_PATHS}]", tomli_w.dumps(folders)]
    return "\n".join(lines).strip("\n") + "\n"


def differing(recipe: Recipe) -> dict[str, dict[str, Any]]:
    """Choose the keys that a recipe has to give: those that differ from the defaults, and those
    whose default depends on them.
    """
    whole = recipe.model_dump()
    kept = {
        section: {
            key: value for key, value in values.items() if _default(_fields(section)[key]) != value
        }
        for section, values in whole.items()
    }
    found = parse_recipe(kept, "recipe").model_dump()
    return {
        section: {
            key: value
            for key, value in values.items()
            if key in kept[section] or found[section][key] != value
        }
        for section, values in whole.items()
        if kept[section] or found[section] != values
    }


def _above(remarks: Remarks, name: str) -> list[str]:
    text = " ".join(line.lstrip("# ") for line in remarks.above.get(name, ()))
    return [f"# {part}" for part in wrap(text, WIDTH - 2)]


def _section(name: str) -> type[BaseModel]:
    section = Recipe.model_fields[name].annotation
    assert isinstance(section, type)
    assert issubclass(section, BaseModel)
    return section


def _fields(section: str) -> dict[str, FieldInfo]:
    return _section(section).model_fields


def _default(field: FieldInfo) -> Any:
    return field.get_default(call_default_factory=True)  # of a key that must be given: undefined


def _comment(section: str, key: str, field: FieldInfo) -> str:
    """Give the schema's comment on a key, which stands in its source, and the values to choose."""
    text = _source_comments(section).get(key, "")
    if get_origin(field.annotation) is not Literal:
        return text
    choices = " | ".join(str(value) for value in get_args(field.annotation))
    return f"{choices}{'; ' if text else ''}{text}"


def _source_comments(section: str) -> dict[str, str]:
    found, above = {}, list[str]()
    for line in inspect.getsource(_section(section)).splitlines():
        if line.startswith("    # "):
            above.append(line[6:])
            continue
        if field := _FIELD.match(line):
            found[field[1]] = field[2] or " ".join(above)
        above.clear()
    return found


def _remarks(text: str) -> Remarks:
    above: dict[str, list[str]] = {}
    behind: dict[str, str] = {}
    section, waiting = "", list[str]()
    for line in map(str.strip, text.splitlines()):
        if line.startswith("#"):
            waiting.append(line)
            continue
        if not line:
            if not section and waiting:
                above[""] = [*above.get("", ()), *waiting]
                waiting = []
            continue
        if header := re.match(r"\[(\w+)\]", line):
            section = name = header[1]
        elif key := _KEY.match(line):
            name = f"{section}.{key[1]}"
            behind[name] = _behind(line)
        else:
            continue
        if waiting:
            above[name], waiting = waiting, []
    return Remarks(above, behind)


def _behind(line: str) -> str:
    """Give the comment behind a key's value; a # may also stand in a string."""
    for mark in re.finditer("#", line):
        try:
            tomllib.loads(line[: mark.start()])
        except tomllib.TOMLDecodeError:
            continue
        return line[mark.end() :].strip()
    return ""


def _line(key: str, value: Any, comment: str) -> list[str]:
    if isinstance(value, list):
        given = f"{key} = {json.dumps(value)}"
    else:
        given = tomli_w.dumps({key: value}).rstrip("\n")
    if not comment:
        return [given]
    if len(given) + len(comment) + 4 <= WIDTH:
        return [f"{given}  # {comment}"]
    return [*(f"# {part}" for part in wrap(comment, WIDTH - 2)), given]
