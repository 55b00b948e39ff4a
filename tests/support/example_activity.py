"""Activities for the energy tests."""

import numpy as np
from example_bundles import example_parts

from tmkt.deploy.energy.activity import Activity
from tmkt.deploy.trace import LayerTrace, Trace


def by_hand(synops: list[int], neurons: int, active: float) -> Activity:
    """Make the activity of one layer in one step of a millisecond: the given synaptic operations of
    each sample, `active` neurons in each. The program is not used.
    """
    counts = np.array(synops, np.int64).reshape(-1, 1)
    samples = len(synops)
    trace = Trace((LayerTrace("n", neurons, counts, counts, counts, counts),))
    program = example_parts()[1]
    labels = np.arange(samples, dtype=np.int64) % 2
    return Activity(program, trace, np.full((samples, 1, 1), active), {}, labels, ["a", "b"], 1000)
