"""Frames of the class `nothing`: simulated noise, windows around pauses between recordings, and
recordings of things of no class.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.decoded import Rows
from tmkt.datasets.reading import filters_of, read_recording
from tmkt.datasets.splits import spread
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.events.noise import draw_nothing
from tmkt.events.types import Events, View
from tmkt.readers.detect import RECORDINGS, recordings_among

NOTHING = "nothing"  # the class's name
MOST_WINDOWS = 400  # of a folder of other things; ours


def noise_frames(
    count: int, contract: InputContract, view: View | None, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Draw recordings of nothing, as a network sees those of a camera with this view: uint8
    [count, bins, 2, height, width].
    """
    sensor, span_us = _sensor(contract, view), contract.bins * contract.bin_us
    frames = np.zeros((count, contract.bins, *contract.shape), np.uint8)
    for i in range(count):
        events = filters_of(contract, sensor).apply(draw_nothing(sensor, span_us, rng))
        frames[i] = _binned(events, contract, view)
    return frames


def pause_frames(count: int, recordings: Rows, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Draw windows around pauses: the end of one of these recordings, still bins, and the beginning
    of another, each less than half of a window: uint8 [count, bins, 2, height, width].

    Windows of a stream, which know of no beginning, see that (ours).
    """
    bins = recordings.shape[1]
    frames = np.zeros((count, *recordings.shape[1:]), np.uint8)
    for frame in frames:
        ended, begun = recordings[rng.integers(len(recordings), size=2)]
        end, begin = rng.integers((bins - 1) // 2 + 1, size=2)
        frame[:end] = ended[bins - end :]
        frame[bins - begin :] = begun[:begin]
    return frames


def other_frames(folder: Path, contract: InputContract, view: View | None) -> NDArray[np.uint8]:
    """Read the recordings of a folder, cut into windows as long as a recording: uint8 [N, bins, 2,
    height, width], at most MOST_WINDOWS, spread over all.

    A window without an event is left out. Raises InputError for a folder without recordings, for
    one that cannot be read, and for another sensor than the view's.
    """
    paths = recordings_among(
        sorted(path for path in folder.rglob("*") if path.suffix.lower() in RECORDINGS)
    )
    if not paths:
        what = "holds no recordings" if folder.is_dir() else "no such folder"
        raise InputError(
            f"data.background = {str(folder)!r}: {what}, expected recordings of other things; give"
            " another folder, or generated"
        )
    sensor, span_us = _sensor(contract, view), contract.bins * contract.bin_us
    spans: list[tuple[Path, int]] = []
    for path in paths:
        t = _read(path, contract, sensor).t
        spans += [(path, int(number)) for number in np.unique((t - t[:1]) // span_us)]
    chosen = [spans[i] for i in spread(len(spans), MOST_WINDOWS)]
    frames = np.zeros((len(chosen), contract.bins, *contract.shape), np.uint8)
    events, of = None, None
    for i, (path, number) in enumerate(chosen):
        if events is None or of != path:
            events, of = _read(path, contract, sensor), path
        first_us = events.t[0] + number * span_us
        own = slice(*np.searchsorted(events.t, (first_us, first_us + span_us)))
        part = Events(events.t[own], events.x[own], events.y[own], events.p[own], sensor)
        frames[i] = _binned(part, contract, view)
    return frames


def _read(path: Path, contract: InputContract, sensor: tuple[int, int]) -> Events:
    recording = Recording(path, 0, path.stem, View(sensor))
    return filters_of(contract, sensor).apply(read_recording(recording, sensor))


def _sensor(contract: InputContract, view: View | None) -> tuple[int, int]:
    return view.sensor if view else contract.sensor


def _binned(events: Events, contract: InputContract, view: View | None) -> NDArray[np.uint8]:
    """Count events into frames; a view that each recording fills shows nothing of no events."""
    if not len(events):
        return np.zeros((contract.bins, *contract.shape), np.uint8)
    return events_to_frames(events, contract, view)
