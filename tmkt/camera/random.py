"""Random numbers inside compiled loops: SplitMix64 (Steele, Lea and Flood 2014)."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import inlined

_GOLDEN, _MIX_1, _MIX_2 = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
_11, _16, _27, _30, _31, _LOW = (np.uint64(n) for n in (11, 16, 27, 30, 31, 0xFFFF))


@inlined
def random_bits(state: NDArray[np.uint64]) -> Any:
    """Draw 64 bits; `state` uint64 [1] moves on."""
    state[0] += _GOLDEN
    z = state[0]
    z = (z ^ (z >> _30)) * _MIX_1
    z = (z ^ (z >> _27)) * _MIX_2
    return z ^ (z >> _31)


@inlined
def uniform(state: NDArray[np.uint64]) -> Any:
    """Draw a float in [0, 1)."""
    return (random_bits(state) >> _11) * 2.0**-53


@inlined
def normal(state: NDArray[np.uint64]) -> Any:
    """Draw a nearly normal float, mean 0 and variance 1.

    It is the sum of four uniform numbers, which ends at 3.5 standard deviations.
    """
    bits = random_bits(state)
    total = 0.0
    for _ in range(4):
        total += bits & _LOW
        bits >>= _16
    return ((total + 2.0) / 65536.0 - 2.0) * 3.0**0.5
