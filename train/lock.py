"""Locks of files: the system releases one when its process ends, however it ends."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from tmkt.errors import InputError

POLL_S = 0.05


# Whoever meets these can write no file there, locks or not.
UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)


class Locked(Exception):
    """A lock that another process holds."""


class NoLocks(InputError):
    """A file system without locks."""


@contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file. Without `wait`, raise Locked if another process has it.

    Raises NoLocks where the file system has none, InputError where it cannot be written.
    """
    lock = FileLock(path, fallback_to_soft=False, poll_interval=POLL_S)
    try:
        lock.acquire(blocking=wait)
    except Timeout:
        raise Locked from None
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in UNWRITABLE:
            raise InputError(
                f"{path.parent}: cannot be written ({error.strerror}); free space or choose another"
                " --out"
            ) from error
        raise NoLocks(
            f"{path.parent}: its file system has no locks ({error}), expected one that has; choose"
            " another --out"
        ) from None
    try:
        yield
    finally:
        lock.release()
