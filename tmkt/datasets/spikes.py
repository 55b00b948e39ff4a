"""Spike trains of any sensor, `<name>.npz` or `.h5`, as `tmkt/readers/spike_trains.py` reads them:
for networks that read channels, not a camera.

A file's i-th recording is the instance `<name>-<i>`.
"""

from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.types import Dataset, Recording, in_order
from tmkt.errors import InputError, cannot_read
from tmkt.events.channels import ChannelContract, spikes_to_frames, trains_to_frames
from tmkt.events.coverage import Extent
from tmkt.readers.spike_trains import SUFFIXES, SpikeFile, read_spike_file

NAME = "spikes"


def spikes(classes: tuple[str, ...], camera: tuple[int, int] | None = None) -> Dataset:  # noqa: ARG001 - all data sets of folders take it
    """Give the data set "spikes". With `classes`, labels beyond them are refused."""
    return Dataset(
        name=NAME,
        title="your own spike trains",
        classes=classes,
        view=None,
        find_recordings=partial(_recordings, classes),
        load_images=None,
        paired=False,
        find_classes=class_names,
    )


def class_names(root: Path) -> tuple[str, ...]:
    """Give the classes that the files name; else "0", "1", ... up to the largest label."""
    files = _files(root)
    named = {file.classes for file in files if file.classes}
    if len(named) > 1:
        raise InputError(
            f"{root}: files with classes {' and '.join(map(str, sorted(named)))[:200]}, expected"
            " the same in all; keep data sets apart"
        )
    if named:
        return next(iter(named))
    largest = max((int(file.labels.max(initial=0)) for file in files), default=0)
    return tuple(map(str, range(largest + 1)))


def count_spikes(
    recording: Recording, contract: ChannelContract
) -> tuple[NDArray[np.uint8], Extent]:
    """Read a recording as a network takes it, counts uint8 [bins, *shape], and how much of it the
    bins leave out. Raises InputError for a recording of other channels.

    A row of a train is a bin, whatever the bin's length.
    """
    file, number = _read(recording.path), recording.number
    if file.trains is not None:
        train = file.trains[number]
        if train.shape[1] != contract.channels:
            found = f"recordings of {train.shape[1]} channels"
            raise _misfit(recording.path, found, contract)
        total, cut = int(train.sum()), int(train[contract.bins :].sum())
        extent = Extent(total, cut, len(train) * contract.bin_us)
        return trains_to_frames(train, contract), extent
    listed = file.lists[number]
    t_us, channel = listed.t_us, listed.channel
    if len(channel) and not 0 <= channel.min() <= channel.max() < contract.channels:
        found = f"recording {number} with channels {channel.min()} to {channel.max()}"
        raise _misfit(recording.path, found, contract)
    if len(t_us) and t_us.min() < 0:
        raise InputError(
            f"{recording.path}: recording {number} with a time of {t_us.min()} us, expected times"
            " from 0 on; write the file again"
        )
    cut = int(np.count_nonzero(t_us >= contract.bins * contract.bin_us))
    return spikes_to_frames(t_us, channel, contract), Extent(
        len(t_us), cut, int(t_us.max(initial=0))
    )


def _misfit(path: Path, found: str, contract: ChannelContract) -> InputError:
    return InputError(
        f"{path}: {found}, expected 0..{contract.channels - 1}, {contract.channels} channels as"
        " the network has; choose other recordings"
    )


def _recordings(classes: tuple[str, ...], root: Path) -> list[Recording]:
    names = classes or class_names(root)
    found = []
    for file in _files(root):
        largest = int(file.labels.max(initial=0))
        if largest >= len(names):
            raise InputError(
                f"{file.path}: a label of {largest}, expected 0..{len(names) - 1}, a class of"
                f" {', '.join(names)[:100]}; choose the data it was made for"
            )
        found += [
            Recording(file.path, int(label), f"{file.path.stem}-{i}", in_spike_file=True)
            for i, label in enumerate(file.labels)
        ]
    return in_order(found)


def _files(root: Path) -> list[SpikeFile]:
    paths = sorted(path for path in root.iterdir() if path.suffix in SUFFIXES)
    stems = [path.stem for path in paths]
    twice = next((path for path in paths if stems.count(path.stem) > 1), None)
    if not paths or twice:
        found = f"two files called {twice.stem}" if twice else "no spike trains"
        raise InputError(
            f"{root}: holds {found}, expected files *{', *'.join(SUFFIXES)} of different names;"
            " check --data"
        )
    return [_read(path) for path in paths]


def _read(path: Path) -> SpikeFile:
    try:
        stat = path.stat()
    except OSError as error:
        raise cannot_read(path, error) from None
    return _read_once(path, stat.st_mtime_ns, stat.st_size)


@lru_cache(maxsize=4)
def _read_once(path: Path, _changed: int, _size: int) -> SpikeFile:
    """Read a file that holds many recordings; recordings of one file follow one another."""
    return read_spike_file(path)
