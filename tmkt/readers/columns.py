"""Columns of NumPy, MATLAB and HDF5 files: names, types, units."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.files import TimeUnit
from tmkt.readers.source import Raw

NAMES = {
    "t": ("t", "ts", "timestamp", "timestamps", "time"),
    "x": ("x", "xs", "x_pos"),
    "y": ("y", "ys", "y_pos"),
    "p": ("p", "ps", "on", "polarity", "polarities", "pol"),
}
PER_UNIT = {"s": 1e6, "ms": 1e3, "us": 1.0, "ns": 1e-3}
LARGEST_ITEM = 256  # bytes of an event, or of a column's value: memory is allocated by it
NOWHERE = 65535  # beyond any sensor: the check drops it


def find_columns(names: list[str], source: str) -> dict[str, str]:
    """Give the names of the columns t, x, y and p. Raises InputError if one is missing."""
    found = {
        column: next((name for name in aliases if name in names), None)
        for column, aliases in NAMES.items()
    }
    missing = [column for column, name in found.items() if name is None]
    if missing:
        raise InputError(
            f"{source}: no column for {', '.join(missing)} among"
            f" {', '.join(names)[:80] or 'nothing'}; expected t, x, y and p, one value an event"
        )
    return {column: name for column, name in found.items() if name is not None}


def check_types(types: dict[str, np.dtype[Any]], unit: TimeUnit | None, source: str) -> None:
    """Raise InputError for columns that are not numbers and for float stamps without a unit."""
    for column, dtype in types.items():
        if dtype.kind not in "iubf":
            raise InputError(f"{source}: column {column} is of type {dtype}, expected numbers")
    if types["t"].kind == "f" and unit is None:
        raise InputError(
            f"{source}: stamps are of type {types['t']}, expected integers in microseconds; say"
            " --time-unit s, ms, us or ns"
        )


def to_raw(columns: dict[str, NDArray[Any]], unit: TimeUnit | None, offset_us: int = 0) -> Raw:
    """Convert columns t, x, y, p of any number type.

    Polarity -1 is off; other values than 0 and 1 stay bad. Stamps that no int64 holds become -1.
    """
    return Raw(
        _stamps(columns["t"], unit, offset_us),
        _coordinate(columns["x"]),
        _coordinate(columns["y"]),
        _polarity(columns["p"]),
    )


def _stamps(t: NDArray[Any], unit: TimeUnit | None, offset_us: int) -> NDArray[np.int64]:
    factor = PER_UNIT[unit or "us"]
    sound = (t >= 0) & (t <= 2**61 / max(factor, 1))  # false for NaN
    whole = np.where(sound, t, 0)
    if t.dtype.kind == "f":
        us = np.round(whole.astype(np.float64) * factor).astype(np.int64)
    elif factor < 1:
        us = whole.astype(np.int64) // round(1 / factor)
    else:
        us = whole.astype(np.int64) * int(factor)
    return np.where(sound, us + offset_us, -1)


def _coordinate(values: NDArray[Any]) -> NDArray[np.uint16]:
    return np.where((values >= 0) & (values < NOWHERE), values, NOWHERE).astype(np.uint16)


def _polarity(values: NDArray[Any]) -> NDArray[np.uint8]:
    if values.dtype.kind == "b":
        return values.astype(np.uint8)
    return np.select(
        [(values == 0) | (values == -1), values == 1], [np.uint8(0), np.uint8(1)], np.uint8(2)
    )
