"""The crossover of the two ways of delivery: from how many spikes in a step on a synapse multiplies
all of its weights instead of adding those of the spikes; and whether the matrix unit multiplies.

The times are estimated from the shape, with constants measured by tests/bench/crossover.py on one
core. Whichever is chosen, the sums are the same.
"""

from math import ceil
from typing import NamedTuple

import numpy as np

from tmkt.program.simulator import tiles
from tmkt.program.simulator.listing import Shape
from tmkt.program.simulator.packing import BLOCK, GROUP
from tmkt.program.simulator.products import INSTRUCTIONS


class Times(NamedTuple):
    """Nanoseconds that a processor takes.

    Adding: `position`, to pick the rows of weights of a position; `row`, to write one of its sums;
    `word` and `site`, to list the spikes among eight sites, or site by site; `add`, to add one
    weight. Multiplying: `copy`, to copy a site's value; `tile`, for the positions and blocks that
    are computed together, with no group of inputs, and `group`, for each of these; `four`, for the
    four tiles of sums of the matrix unit, with no part of a window, and `part`, for each of these.
    """

    position: float
    row: float
    word: float
    site: float
    add: float
    copy: float
    tile: float
    group: float
    four: float = 0
    part: float = 0


# By the feature of the instructions that multiply. Those with AMX are of an Intel Emerald Rapids,
# those with VNNI of an AMD EPYC 9005: adding with vectors of 512 bits, and for AVX-VNNI with those
# of AVX2. Those without are of an older EPYC, where adding is slower without AVX2, too. "dotprod"
# has AVX2's, and for a group what four vectors of 16 bytes might take: a guess, as no such
# processor was at hand. Another clock changes all of a line alike: their ratios count.
AMX = "amx-int8"
TIMES = {
    AMX: Times(20, 0.40, 1.7, 0.65, 0.019, 0.07, 100, 3.1, 170, 36),
    "avx512vnni": Times(12, 0.24, 1.0, 0.35, 0.0085, 0.04, 100, 1.9),
    "avxvnni": Times(12, 0.30, 1.0, 0.35, 0.0135, 0.04, 10, 1.1),
    "dotprod": Times(35, 0.0, 7.0, 1.0, 0.020, 0.10, 50, 2.6),
    "avx2": Times(35, 0.0, 7.0, 1.0, 0.020, 0.10, 50, 1.9),
    "": Times(35, 0.0, 7.0, 1.0, 0.020, 0.10, 50, 7.0),
}


NS = TIMES[AMX if tiles.HERE else INSTRUCTIONS.feature]


def dense_from(shape: Shape) -> int:
    """Return the spikes in a step from which on multiplying takes less time; 0 if it always does.

    They are counted in all channels of the source, every spike of a pooled site on its own.
    """
    source = shape.source_height * shape.source_width * shape.source_channels
    sites = shape.source_height * shape.source_width * shape.inputs
    listing = sites / 8 * NS.word if shape.eights else sites * NS.site
    out = shape.out_height * shape.out_width
    without_spikes = out * (NS.position + shape.width * NS.row) + listing
    dense = (_tiles_ns if in_tiles(shape) else _dense_ns)(shape) + sites * NS.copy
    weights = shape.width * _taps(shape)  # of a spike in every pooled position
    if weights == 0:
        return 0
    positions = (shape.source_height // shape.pool) * (shape.source_width // shape.pool)
    spikes = positions * (dense - without_spikes) / (weights * NS.add)
    return max(0, ceil(spikes * source / sites))


def in_tiles(shape: Shape) -> bool:
    """Tell whether the matrix unit, if this processor has one, multiplies in less time."""
    return tiles.fits(shape) and tiles.may_use() and _tiles_ns(shape) < _dense_ns(shape)


def _tiles_ns(shape: Shape) -> float:
    """Estimate the time of all products of a step on the matrix unit."""
    across = shape.out_width + shape.kernel_width - 1
    positions = (shape.out_height - 1) * across + shape.out_width
    fours = ceil(positions / tiles.POSITIONS) * shape.outputs // tiles.CHANNELS
    parts = shape.kernel_height * ceil(shape.kernel_width * shape.inputs / tiles.PART)
    return fours * (NS.four + parts * NS.part)


def _dense_ns(shape: Shape) -> float:
    """Estimate the time of all products of a step with vectors."""
    apart = 1 if shape.dilation_x == 1 else shape.kernel_width
    groups = shape.kernel_height * ceil(shape.kernel_width // apart * shape.inputs / GROUP)
    together = ceil(shape.out_height * shape.out_width / INSTRUCTIONS.positions)
    blocks = ceil(shape.width / BLOCK / INSTRUCTIONS.blocks)
    return together * blocks * apart * (NS.tile + groups * NS.group)


def _taps(shape: Shape) -> int:
    """Count the pairs of a position and a pooled site that reaches it."""
    rows = _along(shape.source_height // shape.pool, shape, "height", "y")
    return rows * _along(shape.source_width // shape.pool, shape, "width", "x")


def _along(source: int, shape: Shape, side: str, axis: str) -> int:
    of = shape._asdict()
    first = np.arange(of[f"out_{side}"]) * of[f"stride_{axis}"] - of[f"padding_{axis}"]
    reached = first[:, None] + np.arange(of[f"kernel_{side}"]) * of[f"dilation_{axis}"]
    return int(((reached >= 0) & (reached < source)).sum())
