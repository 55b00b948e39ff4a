"""From events to the frames that a network takes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events
from tmkt.kernels import kernel


@dataclass(frozen=True)
class InputContract:
    """How a recording becomes the input of a network: `bins` frames of `bin_us` microseconds each,
    from its first event on.

    Frames are uint8 [bins, 2, height, width]: counts of events, channel 0 = off, 1 = on, saturating
    at `max_count` (1..255; 1 = binary spikes). Events after the last bin are not seen by the
    network. `sensor` is (height, width).
    """

    sensor: tuple[int, int]
    bins: int
    bin_us: int
    max_count: int

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one frame."""
        return (2, *self.sensor)


TOGETHER = 8  # stamps compared without a branch between them
# addresses computed ahead of the counting, so that the processor can wait for many counters at
# once: a sixth faster at VGA (measured)
BLOCK = 512


@kernel
def _count(at: NDArray[np.uint32], n: int, max_count: int, frame: NDArray[np.uint8]) -> None:
    """Adds one at each of the first n addresses, up to `max_count`; without a branch, which events
    would make unpredictable.
    """
    most = np.uint8(max_count)
    for i in range(n):
        count = frame[at[i]]
        frame[at[i]] = count + np.uint8(count < most)


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
    """Fills `out`, flat [bins, 2, height, width]; gives the number of events outside all bins."""
    outside = 0
    size = 2 * height * width
    plane, row = np.uint32(height * width), np.uint32(width)
    at = np.empty(BLOCK, np.uint32)
    i = 0
    while i < t.size:
        b = (
            t[i] - t[0]
        ) // bin_us  # a division for each run of events in one bin; stamps need not be in order
        start = t[0] + b * bin_us
        end, most = i + 1, min(t.size, i + BLOCK)
        while end + TOGETHER <= most:
            same = True
            for k in range(TOGETHER):
                same &= bool(
                    np.uint64(t[end + k] - start) < np.uint64(bin_us)
                )  # unsigned: before `start` is too large as well
            if not same:
                break
            end += TOGETHER
        while end < most and np.uint64(t[end] - start) < np.uint64(bin_us):
            end += 1
        if 0 <= b < bins:
            for k in range(end - i):
                at[k] = (
                    np.uint32(p[i + k]) * plane + np.uint32(y[i + k]) * row + np.uint32(x[i + k])
                )
            _count(at, end - i, max_count, out[b * size : (b + 1) * size])
        else:
            outside += end - i
        i = end
    return outside


def events_to_frames(events: Events, contract: InputContract) -> NDArray[np.uint8]:
    """Bins a recording: uint8 [bins, 2, height, width], bin = floor((t - t_first) / bin_us), in
    integers.

    The events must have been checked against the sensor (readers do); their sensor must be that of
    the contract.
    """
    if events.sensor != contract.sensor:
        raise ValueError(
            f"events of a {events.sensor} sensor cannot fill frames of {contract.sensor}"
        )
    out = np.zeros((contract.bins, *contract.shape), np.uint8)
    height, width = contract.sensor
    _bin(
        events.t,
        events.x,
        events.y,
        events.p,
        contract.bin_us,
        contract.bins,
        height,
        width,
        contract.max_count,
        out.reshape(-1),
    )
    return out
