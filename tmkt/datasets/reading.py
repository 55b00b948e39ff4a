"""Reads recordings of any data set as events and as frames."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.dvsgesture import read_matrix
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.events.types import Events
from tmkt.readers import open_events
from tmkt.readers.aedat3 import read_aedat3
from tmkt.readers.atis import read_bin
from tmkt.readers.check import check_events
from tmkt.readers.mat import read_mat

CHUNK = 2**18  # events at a time


def read_recording(recording: Recording, sensor: tuple[int, int]) -> Events:
    """Read all events of a recording.

    `sensor` (height, width) bounds the coordinates where the recording has no view. Raises
    InputError for a file that cannot be read or is damaged, and for a recording without events.
    """
    sensor = recording.view.sensor if recording.view else sensor
    if recording.span_us is None:
        return _read_file(recording.path, sensor)
    try:
        stat = recording.path.stat()
    except OSError as error:
        raise InputError(
            f"{recording.path}: cannot be read ({error.strerror or error}), expected a recording;"
            " check the path"
        ) from None
    events = _read_shared(recording.path, sensor, stat.st_mtime_ns, stat.st_size)
    begin, end = np.searchsorted(events.t, recording.span_us)
    part = Events(
        events.t[begin:end], events.x[begin:end], events.y[begin:end], events.p[begin:end], sensor
    )
    if not len(part):
        first, last = recording.span_us
        raise InputError(
            f"{recording.path}: no events from {first} to {last} us, where its list of parts says"
            " there are; fetch both files again"
        )
    return part


@lru_cache(maxsize=1)
def _read_shared(path: Path, sensor: tuple[int, int], _changed: int, _size: int) -> Events:
    """Read a file that holds several recordings.

    They follow one another in order of instance, so it is enough to keep the last file.
    """
    return _read_file(path, sensor)


def _read_file(path: Path, sensor: tuple[int, int]) -> Events:
    if path.suffix == ".bin":
        return read_bin(path, sensor)
    if path.suffix == ".mat":
        return _checked(read_mat(path), path, sensor)
    if path.suffix == ".npy" and _is_matrix(path):
        return _checked(read_matrix(path), path, sensor)
    if path.suffix == ".aedat" and _begins(path, b"#!AER-DAT3"):
        return _checked(read_aedat3(path), path, sensor)
    return _read_known(path, sensor)


def _read_known(path: Path, sensor: tuple[int, int]) -> Events:
    """Read any format that `tmkt.readers` knows. A file of another sensor than the data set's is
    refused.
    """
    source = open_events(path, sensor=None, chunk=CHUNK)
    try:
        if source.sensor is not None and source.sensor != sensor:
            found, expected = (f"{width}x{height}" for height, width in (source.sensor, sensor))
            raise InputError(
                f"{path}: recorded with a sensor of {found}, expected {expected} as the other"
                " recordings; keep sensors apart"
            )
        parts = list(source.chunks(sensor))
    finally:
        source.close()
    t, x = np.concatenate([part.t for part in parts]), np.concatenate([part.x for part in parts])
    y, p = np.concatenate([part.y for part in parts]), np.concatenate([part.p for part in parts])
    return Events(t, x, y, p, sensor)


def _checked(columns: tuple[NDArray[Any], ...], path: Path, sensor: tuple[int, int]) -> Events:
    t, x, y, p = columns
    for what, values, most in (("x", x, 65535), ("y", y, 65535), ("polarity", p, 255)):
        if len(values) and not (values.min() >= 0 and values.max() <= most):
            raise InputError(
                f"{path}: {what} from {values.min()} to {values.max()}, expected 0 to {most}; fetch"
                " the file again"
            )
    events = Events(
        np.ascontiguousarray(t.astype(np.int64)),
        np.ascontiguousarray(x.astype(np.uint16)),
        np.ascontiguousarray(y.astype(np.uint16)),
        np.ascontiguousarray(p.astype(np.uint8)),
        sensor,
    )
    check_events(events, path)
    return events


def _begins(path: Path, magic: bytes) -> bool:
    try:
        with open(path, "rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False


def _is_matrix(path: Path) -> bool:
    """Tell if a .npy file holds one row an event in place of fields."""
    try:
        with open(path, "rb") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            shape, _, dtype = read(file)
    except (OSError, ValueError):
        return False
    return dtype.names is None and len(shape) == 2


def count_frames(recording: Recording, contract: InputContract) -> NDArray[np.uint8]:
    """Read a recording as a network takes it: integer counts uint8 [bins, 2, height, width].

    Raises InputError as `read_recording` does.
    """
    events = read_recording(recording, contract.sensor)
    return events_to_frames(events, contract, recording.view)


def load_frames(
    recordings: Sequence[Recording],
    contract: InputContract,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read recordings and bin them: frames uint8 [N, bins, 2, height, width], labels int64 [N].

    `progress` is called with the number of recordings done, after each. Raises InputError for an
    empty list and as `read_recording` does.
    """
    if not recordings:
        raise InputError(
            "no recordings to read, expected at least one; choose another --data or --split"
        )
    frames = np.empty((len(recordings), contract.bins, *contract.shape), np.uint8)
    for i, recording in enumerate(recordings):
        frames[i] = count_frames(recording, contract)
        if progress:
            progress(i + 1)
    return frames, np.array([recording.label for recording in recordings], np.int64)
