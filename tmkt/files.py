"""Opening of plain files, and atomic writing of files and folders: a final name never holds half
of one.
"""

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path

from tmkt.errors import InputError


def user_cache() -> Path | None:
    """Give the folder of the user's caches, $XDG_CACHE_HOME or ~/.cache.

    None where nothing says where the home is: no $HOME, and a user whom the system does not know
    (`docker run -u 12345`).
    """
    said = os.environ.get("XDG_CACHE_HOME")
    try:
        return Path(said) if said else Path.home() / ".cache"
    except RuntimeError:
        return None


def open_plain(path: Path) -> BufferedReader:
    """Open a file to read.

    Raises OSError for anything but a plain file: a pipe would be waited for, a device may not end.
    """
    # Without O_NONBLOCK, which Windows lacks, opening a pipe would wait for its writer.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    descriptor = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "is not a file", str(path))
    return os.fdopen(descriptor, "rb")


def read_text(path: Path, most: int = 2**24) -> str:
    """Read a text file of at most `most` bytes.

    Raises OSError as `open_plain` does and for a larger file, UnicodeDecodeError for other content
    than UTF-8.
    """
    with open_plain(path) as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"more than {most} bytes", str(path))
    return content.decode("utf-8")


def _no_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
    )


def _may_replace(folder: Path, marker: str) -> bool:
    return folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` for a new file; rename it to `path` when the block ends well.

    Raises InputError if the disk is full or not writable; `path` then holds what it held before.
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
    """Give a new folder beside `path` to fill; rename it to `path` when the block ends well.

    A folder that already stands at `path` is replaced only if it is empty or holds a file called
    `marker`, so is of the same kind. Raises InputError for any other, and if the disk is full or
    not writable.
    """
    if path.exists() and not _may_replace(path, marker):
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
