"""Survey of a user's own recordings and images: everything that a proposal rests on."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.folders import (
    class_names,
    class_of,
    image_files,
    instance_of,
    recording_files,
)
from tmkt.datasets.images import ImageFacts, look_at_image, need_folder
from tmkt.datasets.reading import recording_chunks
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.types import Events, View
from tmkt.readers import open_events
from tmkt.readers.camera_file import Camera, read_camera
from tmkt.readers.source import LARGEST_SIDE
from tmkt.readers.statistics import Statistics

Size = tuple[int, int]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class RecordingFacts:
    """A recording that can be read: its class, its instance, its file's format, the camera's
    (height, width) if the file says it, and its statistics.
    """

    path: Path
    class_name: str
    instance: str
    format: str
    sensor: Size | None
    statistics: Statistics

    @property
    def duration_us(self) -> int:
        """Time from the first event to the last."""
        return (self.statistics.last_us or 0) - (self.statistics.first_us or 0)


@dataclass(frozen=True)
class Unreadable:
    """A file that cannot be read, and why."""

    path: Path
    error: str


@dataclass
class PixelCounts:
    """Events of each pixel over all recordings, int64 [height, width], as far as events reach."""

    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))

    def add(self, events: Events) -> None:
        """Count the next chunk, which is not empty."""
        height, width = int(events.y.max()) + 1, int(events.x.max()) + 1
        place = events.y.astype(np.int64) * width + events.x
        self.merge(np.bincount(place, minlength=height * width).reshape(height, width))

    def merge(self, counts: NDArray[np.int64]) -> None:
        """Add the counts of other events, which may reach farther."""
        height, width = counts.shape
        rows, columns = self.counts.shape
        if height > rows or width > columns:
            grown = np.zeros((max(height, rows), max(width, columns)), np.int64)
            grown[:rows, :columns] = self.counts
            self.counts = grown
        self.counts[:height, :width] += counts


@dataclass(frozen=True)
class RecordingsSurvey:
    """Recordings of a folder and its classes. `said`: (height, width) by its camera.toml.

    `folders` are all class folders, those without recordings included; `pixels` the events of each
    pixel.
    """

    root: Path
    folders: tuple[str, ...]
    recordings: tuple[RecordingFacts, ...]
    unreadable: tuple[Unreadable, ...]
    said: Size | None
    pixels: NDArray[np.int64]

    @cached_property
    def _by_class(self) -> dict[str, list[RecordingFacts]]:
        found: dict[str, list[RecordingFacts]] = {}
        for recording in self.recordings:
            found.setdefault(recording.class_name, []).append(recording)
        return found

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Classes with a recording that can be read, sorted."""
        return tuple(sorted(self._by_class))

    def of(self, class_name: str) -> list[RecordingFacts]:
        """List the recordings of a class."""
        return self._by_class.get(class_name, [])

    def instances(self, class_name: str) -> int:
        """Count the instances of a class: its sessions, or recordings outside of any."""
        return len({r.instance for r in self.of(class_name)})


@dataclass(frozen=True)
class ImagesSurvey:
    """Images of a folder, each with its class."""

    root: Path
    images: tuple[tuple[str, ImageFacts], ...]
    unreadable: tuple[Unreadable, ...]

    @cached_property
    def per_class(self) -> Counter[str]:
        """Number of images that can be read, by class."""
        return Counter(name for name, _ in self.images)


def survey_recordings(root: Path, progress: Progress | None = None) -> RecordingsSurvey:
    """Read every recording of a folder in the layout of the data set "folders".

    A file that cannot be read is named, and the rest goes on. Raises InputError where there are no
    recordings at all, or none that can be read.
    """
    class_names(root)  # refuses a folder in another layout
    paths = recording_files(root)
    camera = read_camera(root)
    facts: list[RecordingFacts] = []
    unreadable: list[Unreadable] = []
    pixels = PixelCounts()
    for done, path in enumerate(paths, 1):
        try:
            facts.append(_look_at(path, root, camera, pixels))
        except InputError as error:
            unreadable.append(Unreadable(path, str(error)))
        if progress:
            progress(done, len(paths))
    if not facts:
        raise InputError(
            f"{root}: none of {len(paths)} recordings can be read, expected some; the first:"
            f" {unreadable[0].error}"
        )
    folders = {class_of(path, root) for path in paths}
    folders |= {f.name for f in root.iterdir() if f.is_dir() and not f.name.startswith(".")}
    return RecordingsSurvey(
        root,
        tuple(sorted(folders)),
        recordings=tuple(facts),
        unreadable=tuple(unreadable),
        said=camera.sensor,
        pixels=pixels.counts,
    )


def _look_at(path: Path, root: Path, camera: Camera, pixels: PixelCounts) -> RecordingFacts:
    """Read a recording as a training does; its pixels are counted only if all of it is sound."""
    format, sensor = _header(path, camera)
    # As in a training: a file of another sensor than camera.toml's is refused.
    sensor = camera.sensor or sensor
    statistics, counted = Statistics(), PixelCounts()
    view = View(sensor) if sensor else None
    instance = instance_of(path, root)
    recording = Recording(
        path,
        0,
        instance=instance,
        view=view,
        span_us=None,
        columns=camera.columns,
        time_unit=camera.time_unit,
    )
    for events in recording_chunks(recording, (LARGEST_SIDE, LARGEST_SIDE)):
        if len(events):
            statistics.add(events)
            counted.add(events)
    pixels.merge(counted.counts)
    return RecordingFacts(
        path,
        class_of(path, root),
        instance=instance,
        format=format,
        sensor=sensor,
        statistics=statistics,
    )


def _header(path: Path, camera: Camera) -> tuple[str, Size | None]:
    """Give a file's format and its camera's size, None where it does not say it."""
    try:
        source = open_events(path, columns=camera.columns, time_unit=camera.time_unit)
    except InputError:
        if path.suffix == ".npy":
            return "npy", None  # a matrix, which only data sets read
        raise
    source.close()
    return source.format, source.sensor


def survey_images(root: Path, progress: Progress | None = None) -> ImagesSurvey:
    """Look at every image of a folder in the layout of the data set "folders".

    Raises InputError where there are none.
    """
    folder = need_folder(root, "<class>/<name>.png")
    paths = image_files(folder)
    if not paths:
        raise InputError(f"{root}: holds no images, expected <class>/<name>.png; check --static")
    found: list[tuple[str, ImageFacts]] = []
    unreadable: list[Unreadable] = []
    for done, path in enumerate(paths, 1):
        try:
            found.append((class_of(path, folder), look_at_image(path)))
        except InputError as error:
            unreadable.append(Unreadable(path, str(error)))
        if progress:
            progress(done, len(paths))
    return ImagesSurvey(folder, tuple(found), tuple(unreadable))


def hot_pixels(counts: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Find pixels (x, y) that send far more events than their surroundings.

    An edge that moves over the camera meets neighbouring pixels alike, and a hot pixel stands
    alone: it has more than 5 times the most of its eight neighbours and the mean of all pixels with
    events, and at least 50. Both numbers are our choice.
    """
    padded = np.pad(counts, 1)
    height, width = counts.shape
    around = np.stack(
        [
            padded[1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if (dy, dx) != (0, 0)
        ]
    )
    alone = counts > 5 * around.max(axis=0)
    mean = counts.sum() / max(np.count_nonzero(counts), 1)
    hot = alone & (counts >= 50) & (counts > 5 * mean)
    return [(int(x), int(y)) for y, x in np.argwhere(hot)]


def events_of(recordings: Sequence[RecordingFacts]) -> int:
    """Count the events of recordings."""
    return sum(r.statistics.events for r in recordings)
