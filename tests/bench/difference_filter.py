"""Differences between neighbouring pixels in place of a simulated camera, as I2E has them."""

import numpy as np
from numpy.typing import NDArray

# I2E (Ma et al. 2026, arXiv 2511.08065; its published code): eight steps, in each the value at
# one place of a 3 x 3 window less that at another; (row, column) from the window's middle.
STEPS = (
    ((1, 1), (0, -1)),
    ((0, -1), (-1, 1)),
    ((-1, 1), (1, 0)),
    ((1, 0), (-1, -1)),
    ((0, 0), (0, 1)),
    ((0, 0), (-1, 0)),
    ((0, 0), (-1, 1)),
    ((0, 0), (-1, -1)),
)
THRESHOLD = 0.12  # of an image's range of values


def difference_frames(images: NDArray[np.uint8], bins: int) -> NDArray[np.uint8]:
    """Turn images [N, H, W] into binary frames uint8 [N, bins, 2, H, W].

    A rising difference of at least the threshold is an on event (channel 1), a falling one an off
    event. Bins beyond the eight steps begin with the first again (ours).
    """
    values = np.pad(images.astype(np.int16), ((0, 0), (1, 1), (1, 1)), mode="edge")
    height, width = images.shape[1:]

    def seen(place: tuple[int, int]) -> NDArray[np.int16]:
        y, x = place
        return values[:, 1 + y : 1 + y + height, 1 + x : 1 + x + width]

    extent = np.ptp(images.reshape(len(images), -1), axis=1)[:, None, None]
    least = np.maximum(THRESHOLD * extent, 1e-6)  # an even image sends nothing
    out = np.zeros((len(images), bins, 2, height, width), np.uint8)
    for step in range(bins):
        before, after = STEPS[step % len(STEPS)]
        change = seen(after) - seen(before)
        out[:, step, 0] = -change >= least
        out[:, step, 1] = change >= least
    return out
