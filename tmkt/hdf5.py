"""Validate untrusted HDF5 files before libhdf5 opens them."""

import mmap
from dataclasses import dataclass
from pathlib import Path
from struct import unpack_from
from typing import IO, Any

MAX_DEPTH = 16  # of groups in groups: a file may hold itself
# ours: an empty one costs a file little, but not its reader; 2000 nodes of NIR have no more
MAX_ITEMS = 40_000
_HEAP, _HEAP_HEADER, _OBJECT_HEADER = b"GCOL", 16, 16  # HDF5 File Format Specification 3.0, III.E
_FREE_SPACE = 0  # index of an object of a heap whose size counts its header


@dataclass
class _Budget:
    """Bytes and items that a file may still take."""

    bytes: int
    items: int


def check_hdf5(path: Path, max_bytes: int) -> None:
    """Refuse a file that would take too much memory, read other files, or hang libhdf5.

    Raises ValueError if the data sets take more than `max_bytes` when unpacked (all together, or
    one chunk), if the file points into other files, nests too deeply, or would hang libhdf5;
    ValueError or OSError if it is not HDF5, or damaged in the parts that are looked at.
    """
    import h5py

    with path.open("rb") as file:
        check_heaps(file)
    try:
        with h5py.File(path, "r") as file:
            _check_group(h5py, file, _Budget(max_bytes, MAX_ITEMS), depth=0)
    except (KeyError, RuntimeError, TypeError, AttributeError, OverflowError) as error:
        # h5py raises them for damaged files.
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _check_group(h5py: Any, group: Any, left: _Budget, depth: int) -> None:
    """Check a group's items and take them from the budget that is left."""
    if depth > MAX_DEPTH:
        raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link to elsewhere")
        item = group[name]
        left.items -= 1
        if left.items < 0:
            raise ValueError(f"holds more than {MAX_ITEMS} items")
        if isinstance(item, h5py.Group):
            _check_group(h5py, item, left, depth + 1)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{name!r} lies in another file")
            chunk = item.dtype.itemsize
            for side in item.chunks or ():
                chunk *= side
            left.bytes -= max(item.nbytes, chunk)
            if left.bytes < 0:
                raise ValueError(f"{name!r} of shape {item.shape} unpacks to more than is allowed")


def check_heaps(file: IO[bytes]) -> None:
    """Walk every heap of strings as libhdf5 would.

    Raises ValueError for an object without size and OSError for a file that cannot be mapped.
    libhdf5 1.14 and 2.0 never return from a heap that holds an empty free space (measured: damaged
    files). The file is mapped, not read into memory; its position stays.
    """
    # mmap raises ValueError for an empty file.
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = content.find(_HEAP)
        while at >= 0:
            if len(content) >= at + _HEAP_HEADER and content[at + 4] == 1:
                end = at + unpack_from("<Q", content, at + 8)[0]
                position = at + _HEAP_HEADER
                while position + _OBJECT_HEADER <= min(end, len(content)):
                    index, size = unpack_from("<H6xQ", content, position)
                    padded = -(-size // 8) * 8
                    needed = size if index == _FREE_SPACE else _OBJECT_HEADER + padded
                    if needed == 0:
                        raise ValueError(f"damaged heap of strings at byte {position}")
                    position += needed
            at = content.find(_HEAP, at + 1)
