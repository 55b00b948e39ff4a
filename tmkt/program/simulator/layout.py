"""The simulator's own order of sites: positions, then channels."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import kernel


@kernel
def channels_last(values: Any) -> Any:
    """Reorder uint8 [T, C, positions] to [T, positions * C], as the kernels take it."""
    steps, channels, positions = values.shape
    out = np.empty((steps, positions * channels), np.uint8)
    for t in range(steps):
        for c in range(channels):
            for position in range(positions):
                out[t, position * channels + c] = values[t, c, position]
    return out


def channels_first(values: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """View [..., sites] in the simulator's order as [..., *shape]; `shape` is (C, H, W) or (N,)."""
    if len(shape) == 1:
        return values
    split = values.reshape(*values.shape[:-1], *shape[1:], shape[0])
    return split.swapaxes(-1, -2).swapaxes(-2, -3)  # ten times as fast as np.moveaxis
