"""Filters of events: noise of the sensor, bursts, hot pixels and lamps, in event time and bounded
memory.

A filter is written as a name with settings, "background:dt_us=5000,k=2"; several work one after the
other. The result does not depend on how a stream is cut into chunks.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, cannot_read, nearest
from tmkt.events import filter_kernels as kernels
from tmkt.events.types import Events
from tmkt.files import open_plain

MOST_US = 10**9  # of any time in a setting
MASK_BYTES = 2**24  # of a file of hot pixels


@dataclass(frozen=True)
class Filter:
    """A filter of KINDS with all of its settings; `file`: the hot pixels, instead of learning."""

    name: str
    settings: dict[str, int]
    file: Path | None = None

    def __str__(self) -> str:
        """Write it as it is read."""
        words = [f"file={self.file}"] if self.file else []
        words += [f"{key}={value}" for key, value in self.settings.items()]
        return f"{self.name}:{','.join(words)}"


# Each kind's settings: default, least and most.
KINDS: dict[str, dict[str, tuple[int, int, int]]] = {
    # Delbruck, "Frame-free dynamic digital vision", 2008 (k = 1); with k, the STCF of Guo and
    # Delbruck, IEEE TPAMI 45(1), 2023. The defaults are ours.
    "background": {"dt_us": (10_000, 1, MOST_US), "k": (1, 1, 8)},
    # jAER's RefractoryFilter, which counts from the last event; here from the last one kept.
    "refractory": {"pause_us": (1_000, 1, MOST_US)},
    # Ours: a pixel is hot for a window if it had `least` events in the one before, and `factor`
    # times the median of its neighbours.
    "hot": {
        "window_us": (1_000_000, 1_000, MOST_US),
        "least": (50, 1, 10**9),
        "factor": (10, 1, 10**6),
    },
    # Metavision's anti-flicker: periods between turns from off to on. A lamp's light changes at
    # twice the frequency of the mains, 100 or 120 Hz.
    "flicker": {"least_hz": (90, 1, 10**5), "most_hz": (130, 1, 10**5), "periods": (4, 1, 250)},
}


def parse_filter(text: str) -> Filter:
    """Read a filter, "NAME" or "NAME:key=value,key=value". InputError for what is not known."""
    name, _, rest = text.partition(":")
    if name not in KINDS:
        raise InputError(
            f"filter {name[:60]!r}: not known, expected one of"
            f" {', '.join(KINDS)}{nearest(name, list(KINDS))}"
        )
    known = KINDS[name]
    settings = {key: default for key, (default, _, _) in known.items()}
    file = None
    for word in filter(None, rest.split(",")):
        key, _, value = word.partition("=")
        if name == "hot" and key == "file" and value:
            file, settings = Path(value), {}
            continue
        if key not in known or file:
            keys = [*known, *(["file"] if name == "hot" else [])]
            raise InputError(
                f"filter {name}: setting {word[:60]!r}, expected {', '.join(keys)} with =;"
                f" as in {name}:{next(iter(known))}={settings.get(next(iter(known)), 0)}"
            )
        _, least, most = known[key]
        if not value.isascii() or not value.isdigit() or not least <= int(value[:20]) <= most:
            raise InputError(
                f"filter {name}: {key} = {value[:60]!r}, expected a whole number,"
                f" {least}..{most}; change it"
            )
        settings[key] = int(value)
    if name == "flicker" and settings["least_hz"] > settings["most_hz"]:
        raise InputError(
            f"filter flicker: least_hz = {settings['least_hz']}, expected at most most_hz ="
            f" {settings['most_hz']}; change one"
        )
    return Filter(name, settings, file)


def network_filters(texts: Sequence[str]) -> tuple[str, ...]:
    """Write filters that belong to a network, with all of their settings.

    InputError for what is not known, and for a list of hot pixels, which belongs to one camera.
    """
    filters = [parse_filter(text) for text in texts]
    for one in filters:
        if one.file is not None:
            raise InputError(
                f"filter {one}: a list of one camera's pixels, expected a filter for any camera;"
                " give it to tmkt stream --filter, or leave file= out to learn them"
            )
    return tuple(map(str, filters))


class FilterChain:
    """Filters at work on one stream, one after the other. `dropped`: events of each, in order."""

    def __init__(self, filters: Sequence[Filter], sensor: tuple[int, int]) -> None:
        self.dropped = [0] * len(filters)
        self._filters = list(filters)
        self._steps = [_step(one, sensor) for one in filters]

    def apply(self, events: Events) -> Events:
        """Give the events that all filters keep."""
        for i, step in enumerate(self._steps):
            columns = (events.t, events.x, events.y, events.p)
            out: tuple[Any, ...] = tuple(np.empty_like(column) for column in columns)
            kept = kernels.pick(columns, step(columns), out)
            self.dropped[i] += len(events) - kept
            t, x, y, p = (column[:kept] for column in out)
            events = Events(t, x, y, p, events.sensor)
        return events

    def over(self, chunks: Iterable[Events]) -> Iterator[Events]:
        """Filter chunk after chunk."""
        for events in chunks:
            yield self.apply(events)

    def to_json(self) -> list[dict[str, Any]]:
        """Return what each filter dropped."""
        return [
            {"filter": str(one), "dropped": n}
            for one, n in zip(self._filters, self.dropped, strict=True)
        ]


Columns = tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.uint16], NDArray[np.uint8]]
Step = Callable[[Columns], NDArray[np.bool_]]  # which events to keep


def _step(one: Filter, sensor: tuple[int, int]) -> Step:
    """Prepare a filter's state for a sensor (height, width)."""
    height, width = sensor
    if one.file is not None:
        mask = read_hot_pixels(one.file, sensor)
        return lambda columns: mask[columns[2], columns[1]] == 0
    settings = list(one.settings.values())
    loop: Callable[..., None]
    state: Any
    if one.name == "background":
        loop, state = kernels.background, np.full((height + 2, width + 2), kernels.NEVER)
    elif one.name == "refractory":
        loop, state = kernels.refractory, np.full(sensor, kernels.NEVER)
    elif one.name == "hot":
        counts = np.zeros((height + 2, width + 2), np.int64)
        state = (np.full(1, kernels.NEVER), counts, np.zeros(sensor, np.uint8))
        loop = kernels.hot
    else:
        least_hz, most_hz, periods = settings
        settings = [10**6 // most_hz, -(-(10**6) // least_hz), periods]
        zeros = np.zeros(sensor, np.uint8)
        loop, state = kernels.flicker, (np.full(sensor, kernels.NEVER), zeros, zeros.copy())

    def step(columns: Columns) -> NDArray[np.bool_]:
        keep = np.empty(len(columns[0]), np.bool_)
        loop(columns, keep, state, *settings)
        return keep

    return step


def find_hot_pixels(
    chunks: Iterable[Events], sensor: tuple[int, int], least: int = 50, factor: int = 10
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Find the hot pixels of a recording, best a dark one: uint8 [height, width], and the events of
    each pixel, int64. The rule is that of the filter, with the whole recording as the window.
    """
    counts = np.zeros((sensor[0] + 2, sensor[1] + 2), np.int64)
    for events in chunks:
        np.add.at(counts, (events.y.astype(np.int64) + 1, events.x.astype(np.int64) + 1), 1)
    seen, found = counts[1:-1, 1:-1].copy(), np.zeros(sensor, np.uint8)
    kernels.judge(counts, found, least, factor)
    return found, seen


def read_hot_pixels(path: Path, sensor: tuple[int, int]) -> NDArray[np.uint8]:
    """Read a list of pixels, a line "x,y" each; a first line may name the columns.

    InputError for a file that cannot be read, for other lines, and for pixels off the sensor
    (height, width).
    """
    try:
        with open_plain(path) as file:
            content = file.read(MASK_BYTES + 1)
    except OSError as error:
        raise cannot_read(path, error) from None
    if len(content) > MASK_BYTES:
        raise InputError(f"{path}: more than {MASK_BYTES} bytes, expected a list of hot pixels")
    mask = np.zeros(sensor, np.uint8)
    for number, line in enumerate(content.decode("ascii", "replace").splitlines(), 1):
        words = line.split(",")[:2]
        if number == 1 and words == ["x", "y"]:
            continue
        if len(words) < 2 or not all(word.strip().isdigit() for word in words):
            raise InputError(
                f"{path}, line {number}: {line[:40]!r}, expected x,y in pixels; write it by tmkt"
                " data hot-pixels"
            )
        x, y = int(words[0][:9]), int(words[1][:9])
        if x >= sensor[1] or y >= sensor[0]:
            raise InputError(
                f"{path}, line {number}: pixel {x},{y}, expected one of a sensor of {sensor[1]} x"
                f" {sensor[0]}; take the list of this camera"
            )
        mask[y, x] = 1
    return mask
