"""Frames as recordings on disk."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.types import Recording
from tmkt.events.types import Events
from tmkt.readers.atis import write_bin


def write_recordings(
    folder: Path, frames: NDArray[np.uint8], bin_us: int, classes: int
) -> list[Recording]:
    """Writes binary frames [N, T, 2, H, W] in N-MNIST's layout, of the classes in turn; binned
    again they are the same.

    A recording starts with its first event, so a sample's first frame must not be empty.
    """
    found = []
    for i, sample in enumerate(frames):
        bins, p, y, x = (axis.astype(np.int64) for axis in np.nonzero(sample))
        assert bins[0] == 0
        path = folder / "Test" / str(i % classes) / f"{i + 1:05d}.bin"
        write_bin(
            Events(
                bins * bin_us,
                x.astype(np.uint16),
                y.astype(np.uint16),
                p.astype(np.uint8),
                sample.shape[-2:],
            ),
            path,
        )
        found.append(Recording(path, i % classes, f"mnist-test-{i}"))
    return found
