"""Input of networks that read channels instead of a camera: spike trains and lists of spikes."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from tmkt.events.frames import InputContract, need_memory


@dataclass(frozen=True)
class ChannelContract:
    """Input that a network of channels expects: `bins` time steps of `bin_us` microseconds each,
    from time 0 on.

    Frames are uint8 [bins, *shape]: counts of spikes, saturating at `max_count` (1..255). `shape`
    is (N,) for N channels, or (C, H, W). Channels [C, N] are a map of one row, (C, 1, N). Spikes
    after the last step are not seen by the network.
    """

    shape: tuple[int, ...]
    bins: int
    bin_us: int
    max_count: int

    @property
    def channels(self) -> int:
        """Number of channels: sites of the shape, numbered in C, H, W order."""
        return prod(self.shape)

    @property
    def frame_bytes(self) -> int:
        """Bytes of the frames of one recording."""
        return self.bins * self.channels

    def check_size(self) -> None:
        """Raise InputError if the frames of one recording take too much memory."""
        need_memory(f"{self.bins} bins of {self.channels} channels", self.frame_bytes)


Contract = InputContract | ChannelContract


def trains_to_frames(trains: NDArray[np.uint8], contract: ChannelContract) -> NDArray[np.uint8]:
    """Fit trains uint8 [T, channels], a row a time step, into frames uint8 [bins, *shape].

    What is behind the last bin is left out, and what is missing is silent; counts saturate.
    """
    frames = np.zeros((contract.bins, contract.channels), np.uint8)
    kept = trains[: contract.bins]
    frames[: len(kept)] = np.minimum(kept, contract.max_count)
    return frames.reshape(contract.bins, *contract.shape)


def spikes_to_frames(
    t_us: NDArray[np.int64], channel: NDArray[np.int64], contract: ChannelContract
) -> NDArray[np.uint8]:
    """Count spikes, a time in microseconds and a channel each, into frames uint8 [bins, *shape].

    bin = floor(t / bin_us). Stamps need not be in order; channels must be the contract's.
    """
    index = t_us // contract.bin_us
    inside = (index >= 0) & (index < contract.bins)
    sites = index[inside] * contract.channels + channel[inside]
    counts = np.bincount(sites, minlength=contract.bins * contract.channels)
    frames = np.minimum(counts, contract.max_count).astype(np.uint8)
    return frames.reshape(contract.bins, *contract.shape)
