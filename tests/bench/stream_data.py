"""Streams whose truth is known, for the benchmarks of `tmkt stream`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.nmnist import SENSOR
from tmkt.datasets.types import Recording
from tmkt.events.types import Events
from tmkt.readers.atis import read_bin

GAP_US = 100_000  # between recordings
CHUNK = 65536  # events


@dataclass(frozen=True)
class KnownStream:
    """Recordings one after another, of which it is known when each begins and what it shows."""

    events: Events
    begins_us: NDArray[np.int64]
    labels: NDArray[np.int64]

    def chunks(self) -> Iterator[Events]:
        for i in range(0, len(self.events), CHUNK):
            yield Events(
                *(getattr(self.events, name)[i : i + CHUNK] for name in "txyp"), self.events.sensor
            )


def concatenate(recordings: Sequence[Recording], slot_us: int | None) -> KnownStream:
    """Put recordings one after another, in an order drawn once.

    Each begins at a multiple of `slot_us`, or GAP_US after the end of the one before.
    """
    parts, begins, now = [], [], 0
    order = np.random.default_rng(0).permutation(len(recordings))
    for i in order:
        one = read_bin(recordings[i].path, SENSOR)
        begins.append(now)
        parts.append((one.t - one.t[0] + now, one.x, one.y, one.p))
        end = int(parts[-1][0][-1])
        now = end + GAP_US if slot_us is None else now + slot_us * -(-(end + 1 - now) // slot_us)
    return KnownStream(
        Events(*(np.concatenate(a) for a in zip(*parts, strict=True)), SENSOR),
        np.array(begins),
        np.array([recordings[i].label for i in order]),
    )


def draw_noise(rate: float, seconds: float) -> Events:
    """Draw Poisson noise, the same for all pixels and polarities."""
    rng = np.random.default_rng(0)
    n = rng.poisson(rate * seconds * SENSOR[0] * SENSOR[1])
    t = np.sort(rng.integers(0, int(seconds * 1e6), n))
    return Events(
        t,
        rng.integers(0, SENSOR[1], n, np.uint16),
        rng.integers(0, SENSOR[0], n, np.uint16),
        rng.integers(0, 2, n, np.uint8),
        SENSOR,
    )
