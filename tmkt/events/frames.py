"""Frames of a whole recording, as a network takes them."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.counting import count_bins
from tmkt.events.sites import Sites, one_to_one, view_sites
from tmkt.events.types import Events, View

MAX_FRAME_BYTES = 2**32  # of one recording; ours


@dataclass(frozen=True)
class InputContract:
    """Input that a network for event cameras expects: `bins` frames of `bin_us` microseconds each,
    from a recording's first event on.

    Frames are uint8 [bins, 2, height, width]: counts of events, channel 0 = off, 1 = on, saturating
    at `max_count` (1..255; 1 = binary spikes). Events after the last bin are not seen by the
    network. `sensor` is (height, width). `filters` work on the camera's events before they are
    counted, as `tmkt.events.filters` writes them.
    """

    sensor: tuple[int, int]
    bins: int
    bin_us: int
    max_count: int
    filters: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of one frame."""
        return (2, *self.sensor)

    @property
    def frame_bytes(self) -> int:
        """Bytes of the frames of one recording."""
        return self.bins * 2 * self.sensor[0] * self.sensor[1]

    def check_size(self) -> None:
        """Raise InputError if the frames of one recording take more than MAX_FRAME_BYTES."""
        what = f"{self.bins} bins of {self.sensor[1]}x{self.sensor[0]} pixels"
        need_memory(what, self.frame_bytes)


def need_memory(what: str, frame_bytes: int) -> None:
    """Raise InputError if the frames of one recording take more than MAX_FRAME_BYTES."""
    if frame_bytes > MAX_FRAME_BYTES:
        raise InputError(
            f"frames of {what}: found {frame_bytes} bytes a recording, expected at most"
            f" {MAX_FRAME_BYTES}; use fewer bins or a smaller input"
        )


def events_to_frames(
    events: Events, contract: InputContract, view: View | None = None
) -> NDArray[np.uint8]:
    """Count a recording's events into frames as `chunks_to_frames` does.

    Raises ValueError as it does.
    """
    return chunks_to_frames([events], contract, view)


def chunks_to_frames(
    chunks: Iterable[Events], contract: InputContract, view: View | None = None
) -> NDArray[np.uint8]:
    """Count a recording's events into frames: uint8 [bins, 2, height, width], bin = floor((t -
    t_first) / bin_us), in integers. The chunks have one sensor.

    The first bin begins with the first event, whether it meets a site or not, as in a stream. The
    events must have been checked against their sensor (readers do). `view` is the part of the
    camera that is looked at; without one, the events' sensor must be the contract's: ValueError.
    A view that each recording fills needs the recording in one chunk.
    """
    contract.check_size()
    frames = np.zeros((contract.bins, *contract.shape), np.uint8)
    start_us, sites = None, None
    for events in chunks:
        if sites is None:
            sites = _sites(events, contract, view)
        if start_us is None and len(events):
            start_us = int(events.t[0])
        if start_us is not None:
            count_bins(
                (events.t, events.x, events.y, events.p),
                start_us,
                contract.bin_us,
                (sites.rows, sites.columns),
                sites.one_to_one,
                contract.max_count,
                frames,
            )
    return frames


def _sites(events: Events, contract: InputContract, view: View | None) -> Sites:
    if view is None:
        if events.sensor != contract.sensor:
            raise ValueError(
                f"events of a {events.sensor} sensor cannot fill frames of {contract.sensor}"
            )
        return one_to_one(contract.sensor)
    return view_sites(view, contract.sensor, events)
