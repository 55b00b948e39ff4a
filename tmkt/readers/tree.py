"""Conversion of a folder of recordings: the files in it, and where each goes."""

from pathlib import Path
from typing import NamedTuple

from tmkt.errors import InputError
from tmkt.readers.camera_file import CAMERA
from tmkt.readers.detect import recordings_among
from tmkt.readers.writers import ENDINGS, WRITERS

NAMELESS = ("atis",)  # formats whose files do not say their sensor


class Plan(NamedTuple):
    """Plan of a conversion: files and where they go, the format, the number of other files."""

    files: list[tuple[Path, Path]]
    format: str
    others: int


def plan(folder: Path, out: Path, to: str | None) -> Plan:
    """Find the recordings in a folder and its folders, and where each goes in `out`.

    Raises InputError for a format that is not written, for no recordings, for two that would become
    one file, and for an `out` that is the folder itself.
    """
    if to not in WRITERS:
        found = "no --to" if to is None else f"--to {to!r}"
        raise InputError(f"{folder}: a folder and {found}, expected --to {', '.join(WRITERS)}")
    if out.resolve() == folder.resolve() or out.is_file():
        raise InputError(f"{out}: is no free folder, expected another one than {folder}")
    files = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and out.resolve() not in path.resolve().parents
        and path.name != CAMERA
    ]
    found_here = recordings_among(files)
    if not found_here:
        raise InputError(f"{folder}: holds no recordings; give a folder that does")
    goal: dict[Path, Path] = {}
    for path in found_here:
        target = out / path.relative_to(folder).with_suffix(ENDINGS[to])
        if target in goal:
            raise InputError(
                f"{path}: would become {target} as {goal[target].name} would; rename one of them"
            )
        goal[target] = path
    pairs = [(path, target) for target, path in goal.items()]
    return Plan(pairs, to, len(files) - len(found_here))


def needs_camera(format: str) -> bool:
    """Tell if files of a format do not say their sensor, so that a camera.toml has to."""
    return format in NAMELESS
