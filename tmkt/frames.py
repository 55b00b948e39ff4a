"""From events to the frames that a network takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.events import Events
from tmkt.kernels import kernel


@dataclass(frozen=True)
class InputContract:
    """How a recording becomes the input of a network: `bins` frames of `bin_us` microseconds each, from its first event on.

    Frames are uint8 [bins, 2, height, width]: counts of events, channel 0 = off, 1 = on, saturating at `max_count` (1..255; 1 =
    binary spikes). Events after the last bin are not seen by the network. `sensor` is (height, width).
    """

    sensor: tuple[int, int]
    bins: int
    bin_us: int
    max_count: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one frame."""
        return (2, *self.sensor)


@kernel
def _bin(
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
    bin_us: int,
    bins: int,
    height: int,
    width: int,
    max_count: int,
    out: NDArray[np.uint8],
) -> int:
    late = 0
    start = end = t[0] if t.size else 0
    base = np.int64(0)
    plane = np.int64(height) * width
    for i in range(t.size):
        if t[i] < start or t[i] >= end:  # walks bin edges: one division per bin, not per event; unsorted stamps work too
            b = (t[i] - t[0]) // bin_us
            if b < 0 or b >= bins:
                late += 1
                continue
            start = t[0] + b * bin_us
            end = start + bin_us
            base = b * 2 * plane
        at = base + np.int64(p[i]) * plane + np.int64(y[i]) * width + np.int64(x[i])
        if out[at] < max_count:
            out[at] += 1
    return late


def events_to_frames(events: Events, contract: InputContract) -> NDArray[np.uint8]:
    """Bins a recording: uint8 [bins, 2, height, width], bin = floor((t - t_first) / bin_us), in integers.

    The events must have been checked against the sensor (readers do); their sensor must be that of the contract.
    """
    if events.sensor != contract.sensor:
        raise ValueError(f"events of a {events.sensor} sensor cannot fill frames of {contract.sensor}")
    out = np.zeros((contract.bins, *contract.shape), np.uint8)
    height, width = contract.sensor
    _bin(events.t, events.x, events.y, events.p, contract.bin_us, contract.bins, height, width, contract.max_count, out.reshape(-1))
    return out
