"""What an event is."""

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
