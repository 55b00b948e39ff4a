"""Clocks of 32 bits that run over."""

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import kernel


@kernel
def unwrap32(stamps: NDArray[np.uint32], state: NDArray[np.int64], t: NDArray[np.int64]) -> None:
    """Fills `t` from 32-bit stamps in microseconds; a fall of more than 2^31 is a clock that
    wrapped (after 71.6 minutes).

    `state`, zeros at the start, carries over to the next part: what is added to stamps, the last
    stamp, how often it wrapped.
    """
    offset, before = state[0], state[1]
    for i in range(stamps.size):
        stamp = np.int64(stamps[i])
        if before - stamp > 2**31:
            offset += 2**32
            state[2] += 1
        before = stamp
        t[i] = stamp + offset
    state[0], state[1] = offset, before
