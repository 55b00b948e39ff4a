"""Grid of a layer's integer weights: its bits and scale, and how a user gives the bits."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError, nearest
from tmkt.program.arithmetic import (
    BIAS_RANGE,
    MAX_SCALE,
    MAX_THRESHOLD,
    MEMBRANE_LIMIT,
    STATE_SHIFT,
)

BITS = range(2, 9)
# membranes may grow to this many times the largest one seen on calibration before they clip
# (measured: 1 clips on test data)
MARGIN = 2
# Scales that are tried, as multiples of the one at which the largest weight is the grid's largest:
# above 1 the largest weights are clipped, and the others get a finer grid. Up to where two thirds
# of a normal distribution's weights would be clipped.
FACTORS = (1.0, 1.15, 1.3, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0)


@dataclass(frozen=True)
class WeightGrid:
    """Integer weights that a layer may have: -limit .. limit in steps, of `bits` bits (2..8).

    `scale` turns float weights into these integers. The step is that of the upper bits of an 8-bit
    weight: 2 at 8 bits, 128 at 2. It is a smaller power of two (another weight exponent) where
    threshold, bias or membrane leave too small a scale for it.
    """

    bits: int
    step: int
    scale: int

    @property
    def limit(self) -> int:
        """Largest weight. The grid is symmetric, so 2 bits are three levels."""
        return self.step * (int(2 ** (self.bits - 1)) - 1)


def least_shift(weight: NDArray[np.int16]) -> int | None:
    """Count the zero bits that all weights of a synapse end with; None where all weights are 0."""
    together = int(np.bitwise_or.reduce(np.abs(weight.astype(np.int64)), axis=None))
    return (together & -together).bit_length() - 1 if together else None


def scales_to_try(bits: int, largest_weight: float, most: float) -> list[WeightGrid]:
    """Return the grids of `bits` bits on which a layer is tried; scales are at most `most`.

    The first just holds the largest float weight, the others clip it (FACTORS). Empty if no scale
    above 0 is possible.
    """
    grid = WeightGrid(bits, 2 ** (9 - bits), 1)
    while grid.step > 2 and grid.limit / largest_weight > most:
        grid = replace(grid, step=grid.step // 2)
    scales = dict.fromkeys(
        int(min(factor * grid.limit / largest_weight, most, MAX_SCALE)) for factor in FACTORS
    )
    return [replace(grid, scale=scale) for scale in scales if scale > 0]


def bits_of(text: str | int, layers: list[str]) -> list[int]:
    """Read the bits of each of the `layers` (their names, in order).

    `text`: "4" (all), "8,4,4,8" (one each) or "4,readout=8" (by name; 8 for the others if no number
    is given). Raises InputError for anything else.
    """
    values: list[int] = []
    named: dict[str, int] = {}
    for part in str(text).split(","):
        name, equals, number = part.strip().rpartition("=")
        if number.strip() not in map(str, BITS):
            raise InputError(
                f"bits: {part.strip() or 'nothing'}, expected {BITS[0]}..{BITS[-1]}, as in 4 or"
                f" 8,4,4,8 or 4,{layers[-1]}=8; choose 8"
            )
        if equals and name not in layers:
            raise InputError(
                f"bits: no layer {name!r}, there are {', '.join(layers)}{nearest(name, layers)}"
            )
        if equals:
            named[name] = int(number)
        else:
            values.append(int(number))
    if len(values) not in (0, 1, len(layers)):
        raise InputError(
            f"bits: {len(values)} numbers in {str(text)!r}, expected one, or one for each of"
            f" {', '.join(layers)}"
        )
    each = values if len(values) == len(layers) else (values or [8]) * len(layers)
    return [named.get(name, bits) for name, bits in zip(layers, each, strict=True)]


def scale_bounds(largest_bias: float, peak: float | None, fires: bool) -> dict[str, float]:
    """Return the limits of a layer's scale besides its weights: of threshold, bias and membrane.

    `peak`: the largest membrane seen, in units of the threshold, None if not known. It may grow
    MARGIN-fold before it clips.
    """
    bounds = {"threshold": float(MAX_THRESHOLD)} if fires else {}
    if largest_bias > 0:
        bounds["bias"] = BIAS_RANGE[1] / largest_bias
    if peak:
        bounds["membrane"] = (MEMBRANE_LIMIT >> STATE_SHIFT) / (MARGIN * peak)
    return bounds
