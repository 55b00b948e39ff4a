"""Files of spike trains with labels: one file holds many recordings (docs/datasets.md).

NumPy's `.npz`, or HDF5. Either `spikes` [N, T, ...] counts spikes by recording, time step and
channel, or the spikes are listed: in `.npz` as the columns `recording`, `t` and `channel`, in HDF5
as `spikes/times` and `spikes/units`, an array a recording, which is the layout of the Spiking
Heidelberg Digits. Times are microseconds if they are integers, seconds if they are not. `labels`
[N] are whole numbers, and `classes` (in HDF5 also `extra/keys`) may name them.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.hdf5_arrays import opened_hdf5
from tmkt.readers.numpy_files import read_npz

MAX_BYTES = 2**31  # of all arrays of a file when unpacked; ours
SUFFIXES = (".npz", ".h5", ".hdf5")
LAYOUTS = (
    "expected labels, and spikes [N, T, channels] or lists of spikes (.npz: recording, t, channel;"
    " HDF5: spikes/times, spikes/units); docs/datasets.md"
)
Trains = NDArray[np.uint8]


@dataclass(frozen=True)
class Spikes:
    """Spikes of one recording: `t_us` int64 (microseconds) and `channel` int64, one each."""

    t_us: NDArray[np.int64]
    channel: NDArray[np.int64]


@dataclass(frozen=True)
class SpikeFile:
    """Recordings of a file. Either `trains` uint8 [N, T, channels] or `lists`, one a recording.

    `labels` int64 [N]; `classes`: their names, empty if the file does not say them.
    """

    path: Path
    labels: NDArray[np.int64]
    classes: tuple[str, ...]
    trains: Trains | None = None
    lists: tuple[Spikes, ...] = ()


def read_spike_file(path: Path) -> SpikeFile:
    """Read a file of spike trains. Raises InputError for one that is damaged, holds anything else,
    or unpacks to more than MAX_BYTES; nothing is unpickled.
    """
    arrays = read_npz(path, MAX_BYTES) if path.suffix == ".npz" else _hdf5_arrays(path)
    if "labels" not in arrays:
        raise _refused(path, f"holds {', '.join(arrays)[:80] or 'nothing'}", LAYOUTS)
    labels = _whole(path, "labels", arrays["labels"], 1)
    if labels.size and labels.min() < 0:
        raise _refused(path, f"a label of {labels.min()}", "whole numbers from 0 on")
    classes = tuple(_name(entry) for entry in arrays.get("classes", ()))
    if classes and labels.size and labels.max() >= len(classes):
        raise _refused(
            path, f"a label of {labels.max()}", f"at most {len(classes) - 1}, as classes say"
        )
    if "spikes" in arrays:
        return SpikeFile(path, labels, classes, trains=_trains(path, arrays["spikes"], labels))
    if "times" in arrays:
        return SpikeFile(path, labels, classes, lists=_by_recording(path, arrays, labels))
    missing = [name for name in ("recording", "t", "channel") if name not in arrays]
    if missing:
        raise _refused(path, f"no {', '.join(missing)} among {', '.join(arrays)[:80]}", LAYOUTS)
    return SpikeFile(path, labels, classes, lists=_from_columns(path, arrays, labels))


def _trains(path: Path, spikes: NDArray[Any], labels: NDArray[np.int64]) -> Trains:
    if spikes.ndim < 3 or len(spikes) != len(labels) or spikes.dtype.kind not in "uib":
        found = f"spikes {spikes.dtype} {spikes.shape} for {len(labels)} labels"
        raise _refused(path, found, "whole numbers [N, T, channels], a label each")
    if spikes.size and (spikes.min() < 0 or spikes.max() > 255):
        raise _refused(path, f"counts {spikes.min()} to {spikes.max()}", "counts 0..255")
    return np.ascontiguousarray(spikes, np.uint8).reshape(*spikes.shape[:2], -1)


def _from_columns(
    path: Path, arrays: dict[str, NDArray[Any]], labels: NDArray[np.int64]
) -> tuple[Spikes, ...]:
    recording, channel = (_whole(path, name, arrays[name], 1) for name in ("recording", "channel"))
    t_us = _microseconds(path, "t", arrays["t"])
    if not len(recording) == len(channel) == len(t_us):
        found = f"{len(recording)} recording, {len(t_us)} t, {len(channel)} channel"
        raise _refused(path, found, "one of each a spike")
    if recording.size and not 0 <= recording.min() <= recording.max() < len(labels):
        found = f"recording {recording.min()} to {recording.max()}"
        raise _refused(path, found, f"0..{len(labels) - 1}, a place in labels")
    order = np.argsort(recording, kind="stable")
    ends = np.cumsum(np.bincount(recording, minlength=len(labels)))
    parts = np.split(order, ends[:-1])
    return tuple(Spikes(t_us[part], channel[part]) for part in parts)


def _by_recording(
    path: Path, arrays: dict[str, NDArray[Any]], labels: NDArray[np.int64]
) -> tuple[Spikes, ...]:
    times, units = arrays["times"], arrays["units"]
    if not len(times) == len(units) == len(labels):
        found = f"{len(times)} times, {len(units)} units, {len(labels)} labels"
        raise _refused(path, found, "one of each a recording")
    lists = []
    for i, (time, unit) in enumerate(zip(times, units, strict=True)):
        t_us = _microseconds(path, f"times of recording {i}", time)
        channel = _whole(path, f"units of recording {i}", unit, 1)
        if len(t_us) != len(channel):
            found = f"recording {i} with {len(t_us)} times and {len(channel)} units"
            raise _refused(path, found, "one of each a spike")
        lists.append(Spikes(t_us, channel))
    return tuple(lists)


def _microseconds(path: Path, what: str, values: NDArray[Any]) -> NDArray[np.int64]:
    """Convert times: integers are microseconds, others seconds."""
    values = np.asarray(values)
    if values.dtype.kind != "f":
        return _whole(path, what, values, 1)
    seconds = values.astype(np.float64)
    if seconds.ndim != 1 or not np.all(np.abs(seconds) < 2**40):  # false for NaN
        raise _refused(path, f"{what} of shape {seconds.shape}, or not finite", "seconds, a row")
    return np.floor(seconds * 1e6 + 0.5).astype(np.int64)


def _whole(path: Path, what: str, values: NDArray[Any], axes: int) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.dtype.kind not in "uib" or values.ndim != axes:
        raise _refused(path, f"{what} {values.dtype} {values.shape}", f"whole numbers, {axes} axis")
    return values.astype(np.int64)


def _name(entry: Any) -> str:
    return entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry)


def _hdf5_arrays(path: Path) -> dict[str, NDArray[Any]]:
    damaged = partial(_refused, path, expected="an HDF5 file")
    with opened_hdf5(path, MAX_BYTES, damaged) as (h5py, file):
        places = {
            "labels": "labels",
            "spikes": "spikes",
            "times": "spikes/times",
            "units": "spikes/units",
            "classes": "classes" if "classes" in file else "extra/keys",
        }
        return {
            name: np.asarray(file[place][()])
            for name, place in places.items()
            if place in file and isinstance(file[place], h5py.Dataset)
        }


def _refused(path: Path, found: str, expected: str) -> InputError:
    if not expected.startswith("expected"):
        expected = f"expected {expected}"
    return InputError(f"{path}: {found}, {expected}; write the file again")
