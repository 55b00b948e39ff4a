"""Text of a proposed recipe: TOML with the reason of each key in a comment above it."""

import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from textwrap import wrap

import tomli_w

from tmkt.console import printable
from tmkt.proposal.proposal import Key

COLUMNS = 100
ORDER = ("paths", "data", "network", "static", "method", "train")  # of the sections


def path_keys(out: Path, data: Path, static: Path | None, test: Path | None) -> list[Key]:
    """Give the section [paths]: folders relative to the recipe at `out`."""
    said = {"data": data, "static": static, "test": test}
    why = "relative to this file; --data, --static and --test override them"
    return [
        Key("paths", name, relative(folder, out), why if name == "data" else "")
        for name, folder in said.items()
        if folder is not None
    ]


def relative(folder: Path, recipe: Path) -> str:
    """Write a folder's path relative to that of a recipe's file; absolute on another drive.

    Links stay as they were typed, unless ".." from the recipe's folder leads elsewhere.
    """
    there = _from(os.path.abspath(folder), os.path.abspath(recipe.parent))
    if os.path.realpath(recipe.parent / there) == os.path.realpath(folder):
        return there
    return _from(os.path.realpath(folder), os.path.realpath(recipe.parent))


def _from(target: str, base: str) -> str:
    try:
        return Path(os.path.relpath(target, base)).as_posix()
    except ValueError:  # Windows: another drive
        return Path(target).as_posix()


def recipe_text(title: str, keys: Sequence[Key]) -> str:
    """Write a recipe as TOML. Names of files and classes in comments have no control characters."""
    blocks = [_comment(title)]
    ordered = sorted(keys, key=lambda key: ORDER.index(key.section))
    for section, inside in groupby(ordered, key=lambda key: key.section):
        lines = [f"[{section}]"]
        for key in inside:
            if key.why:
                lines.append(_comment(key.why))
            lines.append(tomli_w.dumps({key.name: key.value}, multiline_strings=False).strip())
        blocks.append("\n".join(_one_line(line) for line in lines))
    return "\n\n".join(blocks) + "\n"


def _comment(text: str) -> str:
    lines = wrap(printable(" ".join(text.split())), COLUMNS - 2, break_long_words=False)
    return "\n".join(f"# {line}" for line in lines)


def _one_line(line: str) -> str:
    """Join an array that tomli_w spreads over several lines."""
    if line.startswith("#") or "[\n" not in line:
        return line
    return " ".join(line.split()).replace("[ ", "[").replace(", ]", "]").replace(",]", "]")
