"""Frames of the papers: interpolated floats. No chip takes them; they are here to compare with
published results.
"""

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events, View


def papers_frames(
    events: Events, view: View, bins: int, sensor: tuple[int, int], peak: bool = False
) -> NDArray[np.float32]:
    """Count events in `bins` windows of equal length and resize the counts bilinearly: float32
    [bins, 2, height, width].

    As Knowledge Transfer's code (methods of AAAI 2024, its `datasets.py`): tonic's
    `ToFrame(n_time_bins=bins)`, whose windows are floor(duration / bins) long and leave out the
    events at the end; recordings that differ in size are taken within the bounds of their events;
    then `F.interpolate(mode="bilinear", align_corners=True)`. `peak` divides each window's counts
    of one polarity by the largest, as its N-Omniglot loader does ("frequency"); that one resizes
    with another corner rule, which is not reproduced.
    """
    top, left, height, width = view.region_of(events)
    x, y = events.x.astype(np.int64) - left, events.y.astype(np.int64) - top
    window = max(int(events.t[-1] - events.t[0]) // bins, 1)
    index = (events.t - events.t[0]) // window
    keep = (index < bins) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    at = ((index * 2 + events.p) * height + y) * width + x
    counts = (
        np.bincount(at[keep], minlength=bins * 2 * height * width)
        .astype(np.float32)
        .reshape(bins, 2, height, width)
    )
    if peak:
        counts /= np.maximum(counts.max(axis=(2, 3), keepdims=True), 1e-5)
    return _resized(_resized(counts, 2, sensor[0]), 3, sensor[1])


def _resized(frames: NDArray[np.float32], axis: int, sites: int) -> NDArray[np.float32]:
    """Interpolate linearly along one axis with aligned corners."""
    pixels = frames.shape[axis]
    at = np.linspace(0, pixels - 1, sites) if sites > 1 else np.zeros(1)
    low = np.minimum(at.astype(np.int64), pixels - 1)
    high = np.minimum(low + 1, pixels - 1)
    share = np.asarray(at - low, np.float32).reshape(
        [-1 if i == axis else 1 for i in range(frames.ndim)]
    )
    return np.asarray(
        np.take(frames, low, axis) * (1 - share) + np.take(frames, high, axis) * share, np.float32
    )
