"""Places that commands write to: checks before the work, so that nothing of value is replaced.

A command replaces what it can make again: a report by a report, a bundle by one of the same kind,
simulated recordings by the same. Anything else it replaces with --force only.
"""

import errno
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer

from tmkt import console
from tmkt.errors import InputError

ForceOption = Annotated[
    bool, typer.Option("--force", help="Replace what is there, even if it is of another kind.")
]
PAGE_MARK = b'<meta name="generator" content="tmkt">'  # in the head of base.html
HEAD_BYTES = 4096


def need_place(path: Path) -> None:
    """Raise InputError before the work if a file cannot be written to `path`."""
    from tempfile import TemporaryFile

    from tmkt.files import replaceable

    if path.is_dir():
        raise InputError(f"{path}: is a folder, expected the name of a file to write; add one")
    try:
        target = replaceable(path)
        if target is None:
            if not os.access(path, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            TemporaryFile(dir=target.parent).close()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}); free space or choose another"
            " place"
        ) from None


def need_page_place(path: Path, force: bool) -> None:
    """Raise InputError before the work if a page cannot be written to `path`, or if a file there is
    no page of tmkt.
    """
    need_place(path)
    if force or not path.is_file():
        return
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if head and PAGE_MARK not in head:
        raise InputError(
            f"{path}: exists and is no report of tmkt, expected a free place; add --force to"
            " replace it, or choose another --out"
        )


def need_free_place(path: Path, force: bool, other: str = "name") -> None:
    """Raise InputError before the work if a file would be replaced, with the advice to choose
    another `other`.
    """
    if not force and path.is_file() and path.stat().st_size:
        raise InputError(
            f"{path}: exists, expected a free place; add --force to replace it, or choose another"
            f" {other}"
        )


def need_bundle_place(out: Path, dataset: str, of_run: bool, force: bool) -> None:
    """Raise InputError before the work if a bundle at `out` should not be replaced.

    A bundle of the same data set and origin (a run, or a .nir file) is replaced, and a damaged one.
    A bundle of another kind, and one with files that no export wrote, needs `force`. What is no
    bundle at all is never replaced (tmkt.files.writing_folder).
    """
    from tmkt import bundle

    path = out / bundle.MANIFEST
    if force or not path.is_file():
        return
    files: set[str] = {bundle.MANIFEST, *bundle.FILES}
    found = ""
    with suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError):
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files |= set(manifest["files"])
        origin = manifest["origin"]
        was_of_run = "nir_sha256" not in origin
        if origin["dataset"] != dataset:
            found = f"a bundle for {origin['dataset']}, the new one is for {dataset}"
        elif was_of_run != of_run:
            kinds = ("a .nir file", "a run")
            found = f"a bundle of {kinds[was_of_run]}, the new one is of {kinds[of_run]}"
    others = sorted(entry.name for entry in out.iterdir() if entry.name not in files)
    if others and not found:
        found = f"{others[0]!r}, which no export wrote"
    if found:
        raise InputError(
            f"{out}: holds {found}; add --force to replace the folder, or choose another --out"
        )
    console.note(f"{out}: replaces the bundle that is there")
