"""Find the synapses of a layer that differ in their source alone, such as those of the terms of a
sum: files hold their weights once.
"""

import numpy as np

from tmkt.program.model import INPUT, Layer, Program, Synapse


def first_equal_synapses(program: Program, layer: Layer) -> list[int]:
    """Give for each of the layer's synapses the place of the first that does the same to a source
    of the same shape: its own place where there is none before.

    Only among synapses that read layers, and without delays.
    """
    first: list[int] = []
    for i, synapse in enumerate(layer.synapses):
        places = (
            j for j in first[:i] if _equal_but_source(program, layer, layer.synapses[j], synapse)
        )
        first.append(next(places, i))
    return first


def _equal_but_source(program: Program, layer: Layer, a: Synapse, b: Synapse) -> bool:
    if INPUT in (a.source, b.source) or layer.steps_back(a) or layer.steps_back(b):
        return False
    settings = [
        (
            s.kind,
            s.stride,
            s.padding,
            s.dilation,
            s.groups,
            s.pool,
            program.shape_of(s.source),
            s.weight.shape,
        )
        for s in (a, b)
    ]
    return settings[0] == settings[1] and (
        a.weight is b.weight or np.array_equal(a.weight, b.weight)
    )
