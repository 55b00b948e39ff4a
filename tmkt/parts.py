"""Unfinished files and folders, and what killed processes leave of them.

A new file or folder lies beside its final name, as `.NAME.MACHINE-PROCESS.part`, until it is whole.
A folder that is being replaced lies there as `.NAME.MACHINE-PROCESS.old`. A killed process leaves
them; the next one that writes to the same folder removes them or puts them back.
"""

import hashlib
import os
import platform
import re
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tmkt import console

# Version 0.1 left out the machine.
_BESIDE = re.compile(r"\.(.+)\.(?:([0-9a-f]{8})-)?([0-9]{1,10})\.(part|old)")
# Of another machine or container only the age is known. No writing takes that long (our choice).
LONGEST_WRITING_S = 86_400
REPLACING_S = 5.0  # between the two renames of a folder: microseconds where nothing is wrong

_in_use: set[Path] = set()  # this process's own parts


def put_back(path: Path) -> None:
    """Put back the folder at `path` where a process was killed while it replaced it.

    Waits while a living process, or one of another machine, may be replacing it.
    """
    path = Path(os.path.realpath(path))
    end = time.monotonic() + REPLACING_S
    while not path.exists():
        aside = _aside(path)
        if not aside:
            return
        late = time.monotonic() > end
        for part in aside:
            if part.abandoned() or late:
                _restore(part.path, path)
        if late:
            return
        time.sleep(0.01)


def is_replaced(path: Path) -> bool:
    """Tell whether a process is replacing the folder at `path`, or has just done so."""
    path = Path(os.path.realpath(path))
    return path.exists() or bool(_aside(path)) or path.exists()


def _aside(path: Path) -> "list[_Part]":
    return [part for part in _parts(path.parent) if part.name == path.name and part.is_old]


def remove_leftovers(folder: Path, name: str = "") -> None:
    """Remove what killed processes left in a folder, and put back a folder that they moved away.

    `name` is the file or folder that is written next. Without a machine in its name a part might be
    somebody else's, so only those of `name` go. Without `name` no other process writes to the
    folder, and all go.
    """
    for part in _parts(folder):
        if name and part.name != name and not part.machine:
            continue
        if part.in_use() or (name and not part.abandoned()):
            continue
        final = folder / part.name
        if part.is_old and not final.exists():
            _restore(part.path, final)
        elif part.path.is_dir() and not part.path.is_symlink():
            shutil.rmtree(part.path, ignore_errors=True)
        else:
            with suppress(OSError):
                part.path.unlink(missing_ok=True)


def is_part(path: Path) -> bool:
    """Tell whether a path is one that `writing` or `writing_folder` has not finished."""
    return _BESIDE.fullmatch(path.name) is not None


class _Part(NamedTuple):
    path: Path
    name: str  # final name
    machine: str
    process: int
    is_old: bool

    def in_use(self) -> bool:
        return self.path.absolute() in _in_use

    def abandoned(self) -> bool:
        """Tell whether the process that made it is gone."""
        if self.in_use():
            return False
        if self.machine in ("", machine()) and (
            self.process == os.getpid() or not _is_alive(self.process)
        ):
            return True
        with suppress(OSError):
            return time.time() - self.path.lstat().st_mtime > LONGEST_WRITING_S
        return False


def _parts(folder: Path) -> Iterator[_Part]:
    try:
        names = [
            name
            for name in os.listdir(folder)
            if name[0] == "." and name.endswith((".part", ".old"))
        ]
    except OSError:  # nothing is there, or it may not be listed
        return
    for name in names:
        if found := _BESIDE.fullmatch(name):
            final, made_on, process, kind = found.groups("")
            yield _Part(folder / name, final, made_on, int(process), kind == "old")


def part_path(path: Path, kind: str) -> Path:
    """Give the name of a `part` or of an `old` folder beside `path`; it counts as in use."""
    beside = path.with_name(f".{path.name}.{machine()}-{os.getpid()}.{kind}")
    _in_use.add(beside.absolute())
    return beside


def forget_part(*paths: Path) -> None:
    """Say that parts of `part_path` are no longer in use."""
    _in_use.difference_update(path.absolute() for path in paths)


@cache
def machine() -> str:
    """Make a short name of the machine, and of the container: each counts processes on its own."""
    numbering = ""
    with suppress(OSError):
        numbering = os.readlink("/proc/self/ns/pid")
    return hashlib.sha256(f"{platform.node()} {numbering}".encode()).hexdigest()[:8]


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":  # there os.kill ends the process
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _restore(old: Path, path: Path) -> None:
    with suppress(OSError):  # another process was quicker
        old.rename(path)
        console.note(
            f"{path}: a command was killed while it replaced this folder; the old one is back"
        )
