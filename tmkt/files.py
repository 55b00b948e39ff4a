"""Writing files and folders so that a final name never holds half of one."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tmkt.errors import InputError


def _no_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
    )


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Gives a name beside `path` to write a file under; renames it to `path` when the block ends
    well.

    Raises InputError where the disk is full or not writable; `path` then holds what it held before.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield beside
        with open(beside, "rb+") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError as error:
        raise _no_write(path, error) from error
    finally:
        with suppress(OSError):
            beside.unlink(missing_ok=True)


@contextmanager
def writing_folder(path: Path, marker: str) -> Iterator[Path]:
    """Gives a new folder beside `path` to fill; puts it in the place of `path` when the block ends
    well.

    A folder that already stands at `path` is replaced only if it is empty or holds a file called
    `marker` (so: is of the same kind); anything else raises InputError.
    """
    if path.exists() and not (
        path.is_dir() and ((path / marker).is_file() or not any(path.iterdir()))
    ):
        raise InputError(
            f"{path}: exists and holds no {marker}; it is not replaced, choose another --out or"
            " remove it"
        )
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    old = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beside.mkdir()
        yield beside
        if path.exists():
            path.rename(old)
        beside.rename(path)
    except OSError as error:
        if old.exists() and not path.exists():
            old.rename(path)
        raise _no_write(path, error) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)
