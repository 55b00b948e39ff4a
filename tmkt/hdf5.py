"""HDF5 files from strangers: looked over before anything of them is read."""

import mmap
from pathlib import Path
from struct import unpack_from
from typing import IO, Any

MAX_DEPTH = 16  # of groups in groups: a file may hold itself
# ours: an empty one costs a file little, but not its reader; 2000 nodes of NIR have no more
MAX_ITEMS = 40_000
_HEAP, _HEAP_HEADER, _OBJECT_HEADER = b"GCOL", 16, 16  # HDF5 File Format Specification 3.0, III.E


def check_hdf5(path: Path, max_bytes: int) -> None:
    """Raises ValueError for a file that would take more than `max_bytes` when its data sets are
    unpacked (all together, or one chunk), that reads other files, nests too deeply, or would hang
    libhdf5; ValueError or OSError where it is not HDF5, or damaged in what is looked at.
    """
    import h5py

    with path.open("rb") as file:
        check_heaps(file)
    try:
        with h5py.File(path, "r") as file:
            _check_group(h5py, file, [max_bytes, MAX_ITEMS], 0)
    except (
        KeyError,
        RuntimeError,
        TypeError,
        AttributeError,
        OverflowError,
    ) as error:  # h5py's, of damaged files
        raise ValueError(f"{type(error).__name__}: {error}") from None


def _check_group(h5py: Any, group: Any, left: list[int], depth: int) -> None:
    """Takes the group's data sets from the bytes and items that are `left`."""
    if depth > MAX_DEPTH:
        raise ValueError(f"groups are nested more than {MAX_DEPTH} deep")
    for name in group:
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise ValueError(f"{name!r} is a link to elsewhere")
        item = group[name]
        left[1] -= 1
        if left[1] < 0:
            raise ValueError(f"holds more than {MAX_ITEMS} items")
        if isinstance(item, h5py.Group):
            _check_group(h5py, item, left, depth + 1)
        elif isinstance(item, h5py.Dataset):
            if item.external or item.is_virtual:
                raise ValueError(f"{name!r} lies in another file")
            chunk = item.dtype.itemsize
            for side in item.chunks or ():
                chunk *= side
            left[0] -= max(item.nbytes, chunk)
            if left[0] < 0:
                raise ValueError(f"{name!r} of shape {item.shape} unpacks to more than is allowed")


def check_heaps(file: IO[bytes]) -> None:
    """Walks every heap of strings as libhdf5 would; ValueError where an object is empty or reaches
    beyond the heap, OSError for what is no file.

    libhdf5 1.14 and 2.0 never return from a heap that holds an empty free space (measured: damaged
    files). The file is mapped, not read into memory; its position stays.
    """
    with mmap.mmap(
        file.fileno(), 0, access=mmap.ACCESS_READ
    ) as content:  # ValueError if it is empty
        at = content.find(_HEAP)
        while at >= 0:
            if len(content) >= at + _HEAP_HEADER and content[at + 4] == 1:
                end = at + unpack_from("<Q", content, at + 8)[0]
                position = at + _HEAP_HEADER
                while position + _OBJECT_HEADER <= min(end, len(content)):
                    index, size = unpack_from("<H6xQ", content, position)
                    needed = (
                        size if index == 0 else _OBJECT_HEADER + -(-size // 8) * 8
                    )  # index 0: free space, its header counted
                    if needed == 0:
                        raise ValueError(f"damaged heap of strings at byte {position}")
                    position += needed
            at = content.find(_HEAP, at + 1)
