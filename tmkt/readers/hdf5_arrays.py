"""Opening of untrusted HDF5 files that are read whole, as files of spikes are."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tmkt.errors import InputError, cannot_read, one_line
from tmkt.hdf5 import check_hdf5
from tmkt.readers.hdf5 import import_h5py
from tmkt.readers.numpy_files import BROKEN


@contextmanager
def opened_hdf5(
    path: Path, max_bytes: int, damaged: Callable[[str], InputError]
) -> Iterator[tuple[Any, Any]]:
    """Give h5py and the open file, of which all data sets unpack to at most `max_bytes`.

    InputError for a file that cannot be read, and `damaged(why)` for one that is damaged, wherever
    in the block that shows.
    """
    h5py = import_h5py(str(path))
    try:
        check_hdf5(path, max_bytes)
        with h5py.File(path, "r") as file:
            yield h5py, file
    except OSError as error:
        if error.errno:
            raise cannot_read(path, error) from None
        raise damaged(f"damaged ({one_line(error)})") from None
    except BROKEN as error:
        raise damaged(f"damaged ({one_line(error)})") from None
