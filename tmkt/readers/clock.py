"""Clocks of 32 bits that wrap."""

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import kernel

STATE = 3  # places in the clock's state, zeros at the start:
OFFSET, LAST, WRAPS = range(STATE)  # added to stamps, the last stamp, how often the clock wrapped


@kernel
def unwrap32(stamps: NDArray[np.uint32], state: NDArray[np.int64], t: NDArray[np.int64]) -> None:
    """Fill `t` from 32-bit stamps in microseconds.

    A fall of more than 2^31 means that the clock wrapped (after 71.6 minutes). `state` carries over
    to the recording's next part.
    """
    offset, before = state[OFFSET], state[LAST]
    for i in range(stamps.size):
        stamp = np.int64(stamps[i])
        if before - stamp > 2**31:
            offset += 2**32
            state[WRAPS] += 1
        before = stamp
        t[i] = stamp + offset
    state[OFFSET], state[LAST] = offset, before
