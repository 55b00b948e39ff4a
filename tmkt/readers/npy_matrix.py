"""tonic's `.npy` of DVS128 Gesture: one row an event of x, y, polarity and milliseconds."""

from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, one_line
from tmkt.readers.numpy_files import Header, read_header
from tmkt.readers.source import Raw

COLUMNS = 4
MOST_ROWS = 10**8
NUMBERS = "iuf"  # kinds of types
LIMITS = (("x", 65535), ("y", 65535), ("polarity", 255))  # of columns


def is_matrix(file: IO[bytes], name: str) -> bool:
    """Tell if a `.npy` file holds one row an event in place of fields. Its position changes.

    Raises InputError as `read_header` does.
    """
    file.seek(0)
    header = read_header(file, name)
    return header.dtype.names is None and len(header.shape) == 2


def matrix_chunks(file: IO[bytes], name: str, chunk: int) -> Iterator[Raw]:
    """Read the rows from the file's start, `chunk` at a time, not yet checked.

    Raises InputError for a file of anything else.
    """
    file.seek(0)
    header = read_header(file, name)
    rows = _rows(file, header, name)
    for start in range(0, len(rows), chunk):
        part = np.asarray(rows[start : start + chunk])
        if part.dtype.kind == "f" and not np.isfinite(part).all():
            raise InputError(f"{name}: holds values that are no numbers; fetch the file again")
        x, y, p = (_whole(part[:, i], what, most, name) for i, (what, most) in enumerate(LIMITS))
        t = np.round(part[:, 3] * 1000).astype(np.int64)
        yield Raw(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8))


def _whole(column: NDArray[Any], what: str, most: int, name: str) -> NDArray[np.int64]:
    values = column.astype(np.int64)
    if not (values.min() >= 0 and values.max() <= most):
        raise InputError(
            f"{name}: {what} from {values.min()} to {values.max()}, expected 0 to {most}; fetch the"
            " file again"
        )
    return values


def _rows(file: IO[bytes], header: Header, name: str) -> NDArray[Any]:
    """Map the rows, in either order of the axes: nothing is read yet."""
    shape, columns_first, dtype = header
    sound = len(shape) == 2 and shape[1] == COLUMNS and 0 < shape[0] <= MOST_ROWS
    if not sound or dtype.kind not in NUMBERS:
        raise InputError(
            f"{name}: an array of {dtype} {shape}, expected rows of x, y, polarity and"
            " milliseconds; fetch the file again"
        )
    try:
        return np.memmap(
            file,
            dtype,
            "r",
            offset=file.tell(),
            shape=shape,
            order="F" if columns_first else "C",
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"{name}: cannot be read ({one_line(error)}); fetch the file again"
        ) from None
