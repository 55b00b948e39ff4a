"""Cache of decoded data in memory-mapped files: data that takes minutes to read is read once.

A file is named by everything that shapes the data. Its header holds a checksum and a digest of the
size and date of every source. A source that changed and a damaged cache are noticed when the file
is opened, and it is made anew.
"""

import hashlib
import json
import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tmkt.errors import InputError
from tmkt.files import user_cache, writing

VERSION = 1  # of the file and of how everything is decoded: raise it where either changes
# Of the sources; less than that is read faster than anyone would notice.
WORTH_BYTES, WORTH_FILES = 2**26, 4000
HEADER = 4096  # bytes: JSON, padded with spaces, so that the data begins on a page
PIECE = 2**24  # bytes at a time
VARIABLE = "TMKT_CACHE"


def folder() -> Path | None:
    """Give the cache's folder: $TMKT_CACHE, else $XDG_CACHE_HOME/tmkt, else ~/.cache/tmkt.

    None where $TMKT_CACHE is empty, or `user_cache` is not known: nothing is kept.
    """
    said = os.environ.get(VARIABLE)
    if said is not None:
        return Path(said) if said else None
    place = user_cache()
    return None if place is None else place / "tmkt"


def cached(
    sources: Sequence[Path],
    shaped_by: dict[str, Any],
    shape: tuple[int, ...],
    dtype: DTypeLike,
    fill: Callable[[NDArray[Any]], None],
) -> NDArray[Any]:
    """Take an array from the cache, or let `fill` make it from the files `sources`.

    `shaped_by` is everything else that shapes the data, as JSON. A cached array is read-only and
    memory-mapped. Small arrays are not cached, and none where the cache cannot be written. Raises
    what `fill` raises, and InputError for a source that is not there.
    """
    place = folder()
    stats = [_stat(path) for path in dict.fromkeys(sources)]
    if place is None or (sum(size for size, _ in stats) < WORTH_BYTES and len(stats) < WORTH_FILES):
        return _make(shape, dtype, fill)
    names = _digest([str(path.absolute()) for path in sources])
    key = {
        "version": VERSION,
        "shape": list(shape),
        "dtype": np.dtype(dtype).str,
        "sources": names,
        **shaped_by,
    }
    path = place / f"{_digest(key)[:32]}.frames"
    found = _open(path, shape, dtype, _digest(stats))
    if found is not None:
        return found
    try:
        with writing(path) as beside:
            beside.touch()
            _write(beside, shape, dtype, fill, _digest(stats))
    except InputError as error:
        if not isinstance(
            error.__cause__, OSError
        ):  # not the cache's disk: a source that cannot be read
            raise
        return _make(shape, dtype, fill)
    written = _open(path, shape, dtype, _digest(stats))
    return _make(shape, dtype, fill) if written is None else written


def _make(
    shape: tuple[int, ...], dtype: DTypeLike, fill: Callable[[NDArray[Any]], None]
) -> NDArray[Any]:
    out = np.zeros(shape, dtype)
    fill(out)
    return out


def _stat(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from None
    return stat.st_size, stat.st_mtime_ns


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _write(
    path: Path,
    shape: tuple[int, ...],
    dtype: DTypeLike,
    fill: Callable[[NDArray[Any]], None],
    sources: str,
) -> None:
    size = HEADER + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    with open(path, "r+b") as file:
        if hasattr(os, "posix_fallocate"):
            # A full disk says so here; written to through memory, it would end the process.
            os.posix_fallocate(file.fileno(), 0, size)
        else:
            file.truncate(size)
    data = np.memmap(path, dtype, "r+", HEADER, shape)
    fill(data)
    data.flush()
    del data
    header = json.dumps({"sources": sources, "crc32": _checksum(path)}).encode().ljust(HEADER)
    with open(path, "r+b") as file:
        file.write(header)


def _checksum(path: Path) -> int:
    found = 0
    with open(path, "rb") as file:
        file.seek(HEADER)
        while piece := file.read(PIECE):
            found = zlib.crc32(piece, found)
    return found


def _open(
    path: Path, shape: tuple[int, ...], dtype: DTypeLike, sources: str
) -> NDArray[Any] | None:
    """Open a cached array; None where there is none, its sources have changed or it is damaged."""
    try:
        if (
            path.stat().st_size
            != HEADER + int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        ):
            return None
        with open(path, "rb") as file:
            header = json.loads(file.read(HEADER))
        if header != {"sources": sources, "crc32": _checksum(path)}:
            return None
        return np.memmap(path, dtype, "r", HEADER, shape)
    except (OSError, ValueError):
        return None
