"""The strict check of a data set's recordings: nothing is repaired, as it is in `check.py`.

Recordings pass it chunk by chunk, in bounded memory. Those that are needed whole are collected up
to MOST_EVENTS.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.source import Raw

MOST_EVENTS = 2**25  # of a recording that is read whole: 0.7 GB, at 21 bytes an event at the peak


class _Faults:
    """Faults of a recording, counted chunk by chunk."""

    def __init__(self, sensor: tuple[int, int], source: object) -> None:
        self._sensor, self._source = sensor, source
        self._events = self._outside = self._wrong = self._negative = self._backward = 0
        self._x = self._y = self._step_us = 0
        self._last: int | None = None

    def add(self, raw: Raw) -> bool:
        """Count a chunk's faults; tell if the recording has none so far."""
        t, x, y, p = raw
        if len(t):
            height, width = self._sensor
            self._events += len(t)
            self._outside += int(np.count_nonzero((x >= width) | (y >= height)))
            self._x, self._y = max(self._x, int(x.max())), max(self._y, int(y.max()))
            self._wrong += int(np.count_nonzero(p > 1))
            self._negative += int(np.count_nonzero(t < 0))
            before = t[0] if self._last is None else self._last
            back = np.concatenate([[before], t[:-1]]) - t
            self._backward += int(np.count_nonzero(back > 0))
            self._step_us = max(self._step_us, int(back.max()))
            self._last = int(t[-1])
        return not (self._outside or self._wrong or self._negative or self._backward)

    def refuse(self) -> None:
        """Raise InputError for the first kind of fault, and for a recording without events."""
        source, total = self._source, self._events
        height, width = self._sensor
        if total == 0:
            raise InputError(f"{source}: holds no events, expected at least one; remove the file")
        if self._outside:
            raise InputError(
                f"{source}: {self._outside} of {total} events lie outside the sensor (x up to"
                f" {self._x}, y up to {self._y}), expected x < {width} and y < {height}; choose"
                " the data set that this recording belongs to, or remove the file"
            )
        if self._wrong:
            raise InputError(
                f"{source}: {self._wrong} of {total} events have a polarity above 1, expected 0 or"
                " 1; fetch the file again or remove it"
            )
        if self._negative:
            raise InputError(
                f"{source}: {self._negative} of {total} time stamps are negative; fetch the file"
                " again or remove it"
            )
        if self._backward:
            raise InputError(
                f"{source}: {self._backward} of {total} time stamps go backwards (by up to"
                f" {self._step_us} us), expected none; the file is damaged, fetch it again or"
                " remove it"
            )


def strict(chunks: Iterable[Raw], sensor: tuple[int, int], source: object) -> Iterator[Events]:
    """Pass on the chunks of a recording that a network may be fed with. `source` is named in the
    error.

    From the first fault on nothing is passed on, the faults are counted. At the end InputError is
    raised for no events at all, coordinates outside the sensor, a polarity other than 0 and 1,
    negative stamps and stamps that go backwards.
    """
    faults = _Faults(sensor, source)
    for raw in chunks:
        if faults.add(raw):
            yield Events(*raw, sensor)
    faults.refuse()


def check_events(events: Events, source: object) -> None:
    """Refuse a whole recording as `strict` does."""
    faults = _Faults(events.sensor, source)
    faults.add(Raw(events.t, events.x, events.y, events.p))
    faults.refuse()


def collect(chunks: Iterable[Events], sensor: tuple[int, int], source: object) -> Events:
    """Join the chunks of a recording.

    Raises InputError as soon as there are more than MOST_EVENTS, and for none.
    """
    t, x, y, p = (list[NDArray[Any]]() for _ in range(4))
    total = 0
    for events in chunks:
        total += len(events)
        if total > MOST_EVENTS:
            raise InputError(
                f"{source}: more than {MOST_EVENTS} events, expected a recording that fits the"
                " memory; cut it into parts"
            )
        t.append(events.t)
        x.append(events.x)
        y.append(events.y)
        p.append(events.p)
    if total == 0:
        raise InputError(f"{source}: holds no events, expected at least one; remove the file")
    return Events(_join(t), _join(x), _join(y), _join(p), sensor)


def _join(parts: list[NDArray[Any]]) -> NDArray[Any]:
    """Join a column's parts and forget them, so that no more than one column is held twice."""
    joined = parts[0] if len(parts) == 1 else np.concatenate(parts)
    parts.clear()
    return joined
