"""Reads recordings of any data set as events and as frames.

Recordings are read chunk by chunk, in bounded memory. Those that are needed whole may have at most
`tmkt.readers.strict.MOST_EVENTS` events.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.spikes import count_spikes
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract, Contract
from tmkt.events.coverage import Extent, ExtentMeter
from tmkt.events.filters import FilterChain, parse_filter
from tmkt.events.frames import InputContract, chunks_to_frames, events_to_frames
from tmkt.events.types import Events
from tmkt.files import open_plain
from tmkt.readers import Counters, open_events
from tmkt.readers.aedat3 import read_aedat3
from tmkt.readers.atis import CHUNK, bin_chunks
from tmkt.readers.files import Input, Options
from tmkt.readers.mat import open_mat
from tmkt.readers.npy_matrix import is_matrix, matrix_chunks
from tmkt.readers.strict import collect, strict


def recording_chunks(recording: Recording, sensor: tuple[int, int]) -> Iterator[Events]:
    """Read the events of a recording, chunk by chunk.

    `sensor` (height, width) bounds the coordinates where the recording has no view. Raises
    InputError for a file that cannot be read or is damaged, and for a recording without events.
    """
    sensor = recording.view.sensor if recording.view else sensor
    if recording.span_us is None:
        yield from _file_chunks(recording, sensor)
    else:
        yield _part(recording, recording.span_us, sensor)


def read_recording(recording: Recording, sensor: tuple[int, int]) -> Events:
    """Read all events of a recording. Raises InputError as `recording_chunks` and `collect` do."""
    sensor = recording.view.sensor if recording.view else sensor
    return collect(recording_chunks(recording, sensor), sensor, recording.path)


def seen_chunks(recording: Recording, contract: InputContract) -> Iterator[Events]:
    """Read the events that a network sees, chunk by chunk: those that its filters keep.

    Nothing may be left. Raises InputError as `recording_chunks` does.
    """
    chunks = recording_chunks(recording, contract.sensor)
    if not contract.filters:
        return chunks
    sensor = recording.view.sensor if recording.view else contract.sensor
    return filters_of(contract, sensor).over(chunks)


def filters_of(contract: InputContract, sensor: tuple[int, int]) -> FilterChain:
    """Give a network's filters for a camera of this sensor (height, width), as they are before its
    first event.
    """
    return FilterChain([parse_filter(text) for text in contract.filters], sensor)


def _part(recording: Recording, span_us: tuple[int, int], sensor: tuple[int, int]) -> Events:
    path = recording.path
    try:
        stat = path.stat()
    except OSError as error:
        raise _unreadable(path, error) from None
    events = _read_shared(path, sensor, stat.st_mtime_ns, stat.st_size)
    begin, end = np.searchsorted(events.t, span_us)
    part = Events(
        events.t[begin:end], events.x[begin:end], events.y[begin:end], events.p[begin:end], sensor
    )
    if not len(part):
        first, last = span_us
        raise InputError(
            f"{path}: no events from {first} to {last} us, where its list of parts says there are;"
            " fetch both files again"
        )
    return part


@lru_cache(maxsize=1)
def _read_shared(path: Path, sensor: tuple[int, int], _changed: int, _size: int) -> Events:
    """Read a file that holds several recordings.

    They follow one another in order of instance, so it is enough to keep the last file.
    """
    return collect(_file_chunks(Recording(path, 0, ""), sensor), sensor, path)


def _file_chunks(recording: Recording, sensor: tuple[int, int]) -> Iterator[Events]:
    path = recording.path
    if path.suffix == ".bin":
        yield from bin_chunks(path, sensor, CHUNK)
        return
    try:
        with open_plain(path) as file:
            name = str(path)
            if path.suffix == ".mat":
                options = Options(chunk=CHUNK, time_unit=recording.time_unit)
                opened = open_mat(Input(file, name, options, Counters()))
                yield from strict(opened.raw, sensor, path)
                return
            begin = file.read(10)
            if path.suffix == ".npy" and begin.startswith(b"\x93NUMPY") and is_matrix(file, name):
                yield from strict(matrix_chunks(file, name, CHUNK), sensor, path)
                return
            sorted_first = path.suffix == ".aedat" and begin == b"#!AER-DAT3"
    except OSError as error:
        raise _unreadable(path, error) from None
    if sorted_first:
        yield read_aedat3(path, sensor)
    else:
        yield from _known_chunks(recording, sensor)


def _known_chunks(recording: Recording, sensor: tuple[int, int]) -> Iterator[Events]:
    """Read any format that `tmkt.readers` knows. A file of another sensor than the data set's is
    refused.
    """
    path = recording.path
    source = open_events(
        path, chunk=CHUNK, columns=recording.columns, time_unit=recording.time_unit
    )
    try:
        if source.sensor is not None and source.sensor != sensor:
            found, expected = (f"{width}x{height}" for height, width in (source.sensor, sensor))
            raise InputError(
                f"{path}: recorded with a sensor of {found}, expected {expected} as the other"
                " recordings; keep sensors apart"
            )
        yield from source.chunks(sensor)
    finally:
        source.close()


def _unreadable(path: Path, error: OSError) -> InputError:
    return InputError(
        f"{path}: cannot be read ({error.strerror or error}), expected a recording; check the path"
    )


def count_frames(recording: Recording, contract: Contract) -> NDArray[np.uint8]:
    """Read a recording as a network takes it: integer counts uint8 [bins, *contract.shape].

    Raises InputError as `recording_chunks` does.
    """
    return count_with_extent(recording, contract)[0]


def count_with_extent(recording: Recording, contract: Contract) -> tuple[NDArray[np.uint8], Extent]:
    """Read a recording as `count_frames` does, and how much of it the bins leave out."""
    if isinstance(contract, ChannelContract):
        return count_spikes(recording, contract)
    view, meter = recording.view, ExtentMeter(contract)
    chunks = meter.watch(seen_chunks(recording, contract))
    if view and view.fills:  # all events decide what is looked at
        sensor = view.sensor
        frames = events_to_frames(collect(chunks, sensor, recording.path), contract, view)
    else:
        frames = chunks_to_frames(chunks, contract, view)
    return frames, meter.extent


class Binned(NamedTuple):
    """Recordings in bins: frames uint8 [N, bins, *shape], labels int64 [N], and the
    extent of each.
    """

    frames: NDArray[np.uint8]
    labels: NDArray[np.int64]
    extents: list[Extent]


def load_frames(
    recordings: Sequence[Recording],
    contract: Contract,
    progress: Callable[[int], None] | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read frames and labels as `load_binned` does."""
    binned = load_binned(recordings, contract, progress)
    return binned.frames, binned.labels


def load_binned(
    recordings: Sequence[Recording],
    contract: Contract,
    progress: Callable[[int], None] | None = None,
) -> Binned:
    """Read recordings and bin them.

    `progress` is called with the number of recordings done, after each. Raises InputError for an
    empty list and as `recording_chunks` does.
    """
    if not recordings:
        raise InputError(
            "no recordings to read, expected at least one; choose another --data or --split"
        )
    contract.check_size()
    frames = np.empty((len(recordings), contract.bins, *contract.shape), np.uint8)
    extents = []
    for i, recording in enumerate(recordings):
        frames[i], extent = count_with_extent(recording, contract)
        extents.append(extent)
        if progress:
            progress(i + 1)
    labels = np.array([recording.label for recording in recordings], np.int64)
    return Binned(frames, labels, extents)
