"""Frames of a whole data set for training: decoded once, then memory-mapped."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.cache import cached
from tmkt.datasets.float_frames import papers_frames
from tmkt.datasets.reading import count_with_extent, read_recording
from tmkt.datasets.registry import dataset
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.coverage import Coverage, Extent, coverage_of
from tmkt.events.filters import network_filters
from tmkt.events.frames import InputContract
from tmkt.events.types import View
from tmkt.recipe import DataRecipe


class Rows:
    """Rows of an array that may lie on disk, in a given order; read when they are asked for.

    `more`: rows in memory, numbered behind those of the array.
    """

    def __init__(
        self, array: NDArray[Any], index: NDArray[np.int64], more: NDArray[Any] | None = None
    ) -> None:
        self._array, self._index, self._more = array, index, more
        self.shape = (len(index), *array.shape[1:])
        self.dtype = array.dtype

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, rows: slice | NDArray[np.int64] | list[int]) -> NDArray[Any]:
        at = self._index[rows]
        if self._more is None:
            return np.asarray(self._array[at])
        out = np.empty((len(at), *self.shape[1:]), self.dtype)
        own = at < len(self._array)
        out[own] = self._array[at[own]]
        out[~own] = self._more[at[~own] - len(self._array)]
        return out

    def with_more(self, rows: NDArray[Any]) -> "Rows":
        """Put further rows behind these, which stay where they are."""
        index = len(self._array) + np.arange(len(rows))
        return Rows(self._array, np.concatenate([self._index, index]), rows)

    def each(self) -> Iterator[NDArray[Any]]:
        """Read the rows one by one."""
        return (self[i : i + 1][0] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError("rows are copied where they are made an array")
        return np.asarray(self[:], dtype)


def input_contract(data: DataRecipe, recordings: Sequence[Recording]) -> InputContract:
    """Give the input of a recipe's network. Raises InputError as `network_sensor` does, and for
    spike trains, which are of no camera.
    """
    if any(recording.in_spike_file for recording in recordings):
        raise InputError(
            f"data set {data.name!r}: spike trains of channels, expected recordings of an event"
            " camera to train on; train elsewhere and bring the network: tmkt export FILE.nir"
            " --dataset spikes"
        )
    sizes = {recording.view.size for recording in recordings if recording.view}
    sensor = network_sensor(data, next(iter(sizes)) if len(sizes) == 1 else None)
    return contract_of(data, sensor)


def contract_of(data: DataRecipe, sensor: tuple[int, int]) -> InputContract:
    """Give the input of a recipe's network of this sensor (height, width). Raises InputError for
    filters that are not known.
    """
    filters = network_filters(data.filters)
    return InputContract(sensor, data.bins, data.bin_us, data.max_count, filters)


def network_sensor(data: DataRecipe, size: tuple[int, int] | None) -> tuple[int, int]:
    """Give (height, width) of the network's input: the recipe's, or the recordings' `size` divided
    by `data.downsample`.

    `size` None: the recordings differ in size, or their size is not known. Raises InputError where
    that decides, and for a sensor larger than theirs.
    """
    if data.sensor:
        height, width = data.sensor
        if size and (height > size[0] or width > size[1]):
            raise InputError(
                f"data.width = {width}, data.height = {height}: larger than the recordings'"
                f" {size[1]}x{size[0]}, expected at most that; lower them or leave them out"
            )
        return height, width
    if size is None:
        raise InputError(
            f"data set {data.name!r}: its recordings have no size in common, expected data.width"
            " and data.height, as in data.width=48 data.height=48; set them"
        )
    sensor = size[0] // data.downsample, size[1] // data.downsample
    if not all(sensor):
        raise InputError(
            f"data.downsample = {data.downsample}: leaves nothing of {size[1]}x{size[0]} pixels;"
            " lower it"
        )
    return sensor


def known_shape(data: DataRecipe, root: Path | None = None) -> tuple[tuple[int, int], int]:
    """Give the network's sensor (height, width) and number of classes, that of noise included,
    without reading recordings.

    `root` is the folder of a user's own, whose classes and camera only it tells. Raises InputError
    where it is needed.
    """
    source = dataset(data.name, camera=data.camera)
    more = int(data.background != "none")
    if not source.classes and root is not None:
        found = source.find_recordings(root)
        return input_contract(data, found).sensor, len(source.class_names(root)) + more
    if not source.classes:
        raise InputError(
            f"data set {data.name!r}: its folders decide the number of classes; train first, then"
            " give the run, or name the folder in the recipe: [paths] data"
        )
    sensor = network_sensor(data, source.view.size if source.view else None)
    return sensor, len(source.classes) + more


class Decoded(NamedTuple):
    """Frames of recordings, [N, bins, 2, height, width], and how much of these the bins leave out;
    None for float frames, whose bins cover each recording.
    """

    frames: NDArray[Any]
    coverage: Coverage | None


def decoded_frames(
    recordings: Sequence[Recording],
    data: DataRecipe,
    contract: InputContract,
    progress: Callable[[int], None] | None = None,
) -> Decoded:
    """Decode recordings into frames, in their order: uint8 counts, or float32 where `data.frames`
    says so.

    Large sets come from the cache, memory-mapped and read-only. `progress` is told how many
    recordings are done, where they are decoded. Raises InputError for a recording that cannot be
    read, and for no recordings.
    """
    if not recordings:
        raise InputError("no recordings to read, expected at least one; choose another --data")
    decode = _float_frames if data.frames == "float" else _count_frames
    shape = (contract.bins, *contract.shape)
    # The extents lie beside the frames, so that the cache keeps both.
    row = np.dtype(
        [
            ("extent", np.int64, len(Extent._fields)),
            ("frames", np.float32 if data.frames == "float" else np.uint8, shape),
        ]
    )

    def fill(out: NDArray[Any]) -> None:
        for i, recording in enumerate(recordings):
            out["frames"][i], out["extent"][i] = decode(recording, data, contract)
            if progress:
                progress(i + 1)

    what = [_form(recording) for recording in recordings]
    shaped_by = {
        "frames": data.frames,
        "data_set": data.name,
        "bin_us": contract.bin_us,
        "max_count": contract.max_count,
        "recordings": what,
        "row": [list(shape), list(Extent._fields)],
        **({"filters": list(contract.filters)} if contract.filters else {}),
    }
    rows = cached([r.path for r in recordings], shaped_by, (len(recordings),), row, fill)
    extents = [Extent(*extent) for extent in rows["extent"].tolist()]
    return Decoded(
        rows["frames"], None if data.frames == "float" else coverage_of(extents, contract)
    )


def _form(recording: Recording) -> list[object]:
    """List what decides a recording's frames, beside its file and the input."""
    said = recording.columns, recording.time_unit
    return [repr(recording.view), recording.span_us, *(said if any(said) else ())]


def _count_frames(
    recording: Recording,
    data: DataRecipe,  # noqa: ARG001
    contract: InputContract,
) -> tuple[NDArray[np.uint8], Extent]:
    return count_with_extent(recording, contract)


def _float_frames(
    recording: Recording, data: DataRecipe, contract: InputContract
) -> tuple[NDArray[np.float32], Extent]:
    events = read_recording(recording, contract.sensor)
    view = recording.view or View(contract.sensor)
    frames = papers_frames(
        events, view, contract.bins, contract.sensor, peak=data.name == "nomniglot"
    )
    return frames, Extent(len(events), 0, int(events.t[-1] - events.t[0]))
