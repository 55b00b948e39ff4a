"""MATLAB files (level 5) of events, as CEP-DVS has them: vectors x, y, p and ts.

They are read for data sets only and are not detected among recordings of unknown origin: SciPy's
`loadmat` holds all of a file in memory, and some damaged files crash it (measured).
"""

import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError

LARGEST = 2**28  # bytes of a file: CEP-DVS's recordings have far less


def read_mat(path: Path) -> tuple[NDArray[Any], ...]:
    """Read t (microseconds), x, y, p (0 or 1; -1 in the file is 0), not yet checked.

    That `ts` counts microseconds is our reading: the data set's page does not say it. Raises
    InputError for anything else.
    """
    try:
        from scipy.io import loadmat
        from scipy.io.matlab import MatReadError
    except ImportError:
        raise InputError(
            f"{path}: reading .mat files needs scipy, which is not installed; install it with: pip"
            " install 'tmkt[data]'"
        ) from None
    try:
        if path.stat().st_size > LARGEST:
            raise InputError(
                f"{path}: {path.stat().st_size} bytes, expected a recording below {LARGEST}; fetch"
                " the file again"
            )
        # The archive's checksums of compressed variables do not hold (Knowledge Transfer's loader
        # passes over them as well).
        content = loadmat(
            path, variable_names=["x", "y", "p", "ts"], verify_compressed_data_integrity=False
        )
    except (
        OSError,
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        NotImplementedError,
        MatReadError,
        MemoryError,
        OverflowError,
        zlib.error,
    ) as error:
        raise InputError(
            f"{path}: cannot be read ({str(error)[:80] or type(error).__name__}); fetch the file"
            " again"
        ) from None
    missing = [name for name in ("x", "y", "p", "ts") if name not in content]
    if missing:
        raise InputError(
            f"{path}: holds no {', '.join(missing)}, expected x, y, p and ts, one value an event;"
            " fetch the file again"
        )
    columns = [np.asarray(content[name]) for name in ("ts", "x", "y", "p")]
    numbers = all(column.dtype.kind in "iufb" for column in columns)
    one_length = len({column.size for column in columns}) == 1
    if not (numbers and one_length):
        found = ", ".join(f"{column.dtype} {column.shape}" for column in columns)
        raise InputError(
            f"{path}: columns of {found}, expected numbers of one length; fetch the file again"
        )
    if any(column.dtype.kind == "f" and not np.isfinite(column).all() for column in columns):
        raise InputError(
            f"{path}: holds values that are no numbers, expected whole ones; fetch the file again"
        )
    t, x, y, p = (column.reshape(-1).astype(np.int64) for column in columns)
    return t, x, y, np.where(p == -1, 0, p)
