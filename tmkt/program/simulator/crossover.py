"""The crossover of the two ways of delivery: from how many spikes in a step on a synapse multiplies
all of its weights instead of adding those of the spikes.

Both times are estimated from the shape, with constants measured by tests/bench/crossover.py on one
core with AVX2. Another clock changes both alike. Whichever is chosen, the sums are the same.
"""

from math import ceil

import numpy as np

from tmkt.program.simulator.listing import Shape
from tmkt.program.simulator.products import BLOCK, GROUP, INSTRUCTIONS, Instructions

POSITION_NS = 35.0  # to pick the rows of weights of a position
WORD_NS = 7.0  # to list the spikes among eight sites
SITE_NS = 1.0  # to list them site by site
ADD_NS = 0.02  # to add one weight
COPY_NS = 0.1  # to copy a site's value


def dense_from(shape: Shape, instructions: Instructions = INSTRUCTIONS) -> int:
    """Return the spikes in a step from which on multiplying takes less time; 0 if it always does.

    They are counted in all channels of the source, every spike of a pooled site on its own.
    """
    source = shape.source_height * shape.source_width * shape.source_channels
    sites = shape.source_height * shape.source_width * shape.inputs
    listing = sites / 8 * WORD_NS if shape.eights else sites * SITE_NS
    without_spikes = shape.out_height * shape.out_width * POSITION_NS + listing
    dense = _dense_ns(shape, instructions) + sites * COPY_NS
    weights_ns = shape.width * _taps(shape) * ADD_NS  # of a spike in every pooled position
    if weights_ns == 0:
        return 0
    positions = (shape.source_height // shape.pool) * (shape.source_width // shape.pool)
    spikes = positions * (dense - without_spikes) / weights_ns
    return max(0, ceil(spikes * source / sites))


def _dense_ns(shape: Shape, instructions: Instructions) -> float:
    """Estimate the time of all products of a step."""
    apart = 1 if shape.dilation_x == 1 else shape.kernel_width
    groups = shape.kernel_height * ceil(shape.kernel_width // apart * shape.inputs / GROUP)
    tiles = shape.out_height * ceil(shape.out_width / instructions.positions)
    blocks = shape.width // BLOCK
    return tiles * blocks * apart * (instructions.tile_ns + groups * instructions.group_ns)


def _taps(shape: Shape) -> int:
    """Count the pairs of a position and a pooled site that reaches it."""
    rows = _along(shape.source_height // shape.pool, shape, "height", "y")
    return rows * _along(shape.source_width // shape.pool, shape, "width", "x")


def _along(source: int, shape: Shape, side: str, axis: str) -> int:
    of = shape._asdict()
    first = np.arange(of[f"out_{side}"]) * of[f"stride_{axis}"] - of[f"padding_{axis}"]
    reached = first[:, None] + np.arange(of[f"kernel_{side}"]) * of[f"dilation_{axis}"]
    return int(((reached >= 0) & (reached < source)).sum())
