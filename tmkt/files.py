"""Opening of plain files, and atomic writing of files and folders: a final name never holds half
of one.
"""

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedReader
from pathlib import Path
from typing import IO

from tmkt.errors import InputError
from tmkt.parts import forget_part, part_path, put_back, remove_leftovers


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


@contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give a name beside `path` for a new file; rename it to `path` when the block ends well.

    A link stays, and the file that it points to is replaced. A FIFO, a device and an open file
    (/dev/stdout) stay, too: what was written is appended to them. Raises InputError if the disk is
    full or not writable; `path` then holds what it held before.
    """
    beside: Path | None = None
    try:
        target = replaceable(path)
        if target is None:
            with tempfile.TemporaryDirectory(prefix="tmkt-") as folder:
                yield Path(folder) / path.name
                with open(Path(folder) / path.name, "rb") as made, _open_in_place(path) as there:
                    shutil.copyfileobj(made, there)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, target.name)
        beside = part_path(target, "part")
        yield beside
        with open(beside, "rb+") as file:  # Windows flushes only what is open for writing
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError as error:
        raise _no_write(path, error) from error
    finally:
        if beside is not None:
            with suppress(OSError):
                beside.unlink(missing_ok=True)
            forget_part(beside)


def copy(source: Path, path: Path) -> None:
    """Copy a file as a whole; InputError if it cannot be read or written."""
    with writing(path) as beside:
        shutil.copyfile(source, beside)


def replaceable(path: Path) -> Path | None:
    """Follow links to the plain file that a new one replaces, which need not exist.

    None for what must stay where it is: a FIFO, a device, a file that a process holds open. Raises
    OSError for a path that cannot be looked at.
    """
    with suppress(FileNotFoundError):
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
            return None
    end = _follow(path)
    return None if end.is_symlink() else end


def _follow(path: Path) -> Path:
    """Follow links to their end, or to one in /proc: a file that a process holds open."""
    while path.is_symlink() and not os.path.realpath(path.parent).startswith("/proc/"):
        path = path.parent / os.readlink(path)
    return path


def _open_in_place(path: Path) -> IO[bytes]:
    """Open a FIFO, a device or an open file to append to it."""
    end = _follow(path)
    if os.path.realpath(end.parent) == f"/proc/{os.getpid()}/fd":
        return open(
            os.dup(int(end.name)), "ab"
        )  # the same place in the file for all that is written
    return open(path, "ab")


@contextmanager
def writing_folder(path: Path, marker: str) -> Iterator[Path]:
    """Give a new folder beside `path` to fill; rename it to `path` when the block ends well.

    A link stays, and the folder that it points to is replaced. A folder that already stands at
    `path` is replaced only if it is empty or holds a file called `marker`, so is of the same kind.
    Raises InputError for any other, and if the disk is full or not writable.
    """
    target = Path(os.path.realpath(path))
    put_back(target)
    if target.exists() and not _may_replace(target, marker):
        raise InputError(
            f"{path}: exists and holds no {marker}; it is not replaced, choose another --out or"
            " remove it"
        )
    beside, old = part_path(target, "part"), part_path(target, "old")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        remove_leftovers(target.parent, target.name)
        beside.mkdir()
        yield beside
        if target.exists():
            target.rename(old)
        beside.rename(target)
    except OSError as error:
        raise _no_write(path, error) from error
    finally:
        with suppress(OSError):
            if old.exists() and not target.exists():
                old.rename(target)
        shutil.rmtree(beside, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)
        forget_part(beside, old)


def _may_replace(folder: Path, marker: str) -> bool:
    return folder.is_dir() and ((folder / marker).is_file() or not any(folder.iterdir()))


def _no_write(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be written ({error.strerror or error}); free space or choose another place"
    )
