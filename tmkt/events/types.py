"""Events of a recording, and the part of a camera's pixels that is looked at."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Events:
    """The events of one recording, in the order in which the sensor sent them.

    `t` int64 microseconds, `x` and `y` uint16 pixels (y grows downwards), `p` uint8 (0 = off,
    darker; 1 = on, brighter), all of one length and contiguous; `sensor` is (height, width).
    """

    t: NDArray[np.int64]
    x: NDArray[np.uint16]
    y: NDArray[np.uint16]
    p: NDArray[np.uint8]
    sensor: tuple[int, int]

    def __len__(self) -> int:
        return len(self.t)


@dataclass(frozen=True)
class View:
    """Part of a camera's pixels that a network looks at. `sensor` is (height, width), the bound of
    the coordinates.

    `region` is (top, left, height, width), None for the whole sensor. `fills` is for sets whose
    recordings differ in size: each recording is looked at within the bounds of its own events, and
    stretched over the network's input as an image is when it is resized.
    """

    sensor: tuple[int, int]
    region: tuple[int, int, int, int] | None = None
    fills: bool = False

    @property
    def size(self) -> tuple[int, int] | None:
        """Return (height, width) of what is looked at; None where it differs from recording to
        recording.
        """
        if self.fills:
            return None
        return self.region[2:] if self.region else self.sensor

    def region_of(self, events: Events) -> tuple[int, int, int, int]:
        """Return (top, left, height, width) of what is looked at in a recording."""
        if not self.fills:
            return self.region or (0, 0, *self.sensor)
        top, left = int(events.y.min()), int(events.x.min())
        return top, left, int(events.y.max()) - top + 1, int(events.x.max()) - left + 1
