"""Counts by NeuroBench's names (2.3.0), for comparison with its leaderboards: operations, no
joules.
"""

from typing import Any

import numpy as np

from tmkt.deploy.energy.activity import Activity
from tmkt.deploy.energy.ann import size_of
from tmkt.program.model import INPUT


def neurobench(activity: Activity) -> dict[str, Any]:
    """Report NeuroBench's results: operations per recording over all its steps, and shares of one.

    `Effective_ACs` and `Effective_MACs` leave out weights of zero. Operations on graded input
    (counts above 1 are possible) are MACs. Pooling counts in the unrolled form; NeuroBench itself,
    on the float network, takes a convolution behind average pooling for MACs.
    """
    program, trace = activity.program, activity.trace
    size, weights = size_of(program), [s.weight for layer in program.layers for s in layer.synapses]
    graded = np.array(
        [
            program.max_count > 1 and any(s.source == INPUT for s in layer.synapses)
            for layer in program.layers
        ]
    )
    effective = activity.each("nonzero_synops").sum(1).mean(0)
    spikes = sum(float(layer.spikes.sum(1).mean()) for layer in trace.layers)
    return {
        "Footprint": int(
            sum(w.nbytes for w in weights) + sum(layer.bias.nbytes for layer in program.layers)
        ),
        "ConnectionSparsity": 1
        - sum(np.count_nonzero(w) for w in weights) / sum(w.size for w in weights),
        "ActivationSparsity": 1 - spikes / (trace.steps * size.firing) if size.firing else None,
        "SynapticOperations": {
            "Effective_MACs": float(effective[graded].sum()),
            "Effective_ACs": float(effective[~graded].sum()),
            "Dense": float(trace.steps * size.all_synapses),
        },
    }
