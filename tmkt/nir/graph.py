"""NIR graphs once they are read: operations in order, conventions settled, every array in the shape
of its layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# seconds: NIR stores no time step, and SpikingJelly and snnTorch write this one unless told
DEFAULT_DT = 1e-4
Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """Convolution of [C, H, W]: `weight` [C_out, C_in / groups, K_y, K_x], `bias` [C_out].

    Pairs are (y, x). Rows and columns of its output beyond the node's shape are not computed.
    """

    weight: Floats
    bias: Floats
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True)
class Dense:
    """Dense synapse: `weight` [N_out, N_in] and `bias` [N_out], over an input flattened in C, H, W
    order.
    """

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Scale:
    """Multiplication of the input by `factor`, an array of its shape."""

    factor: Floats


@dataclass(frozen=True)
class Delay:
    """Delay of the input by `steps` time steps (int64, of the input's shape, from 0 on).

    Zeros come before the first step.
    """

    steps: NDArray[np.int64]


@dataclass(frozen=True)
class Neuron:
    """LIF or IF neurons and integrators, with or without a current, every parameter an array of the
    layer's shape.

    - Current: i += gain * x - current_decay * i. `current_decay` None: the input itself.
    - LIF: v += decay * ((leak - v) + r * i) with decay = dt / tau.
    - IF (`decay` None): v += r * i, where r is NIR's r * dt.
    - A spike where v >= threshold (`strict`: >), then v = reset. `fires` False: an integrator,
      whose answer is its membrane after the last step.
    """

    decay: Floats | None
    r: Floats
    leak: Floats
    threshold: Floats
    reset: Floats
    current_decay: Floats | None = None
    gain: Floats | None = None
    fires: bool = True
    strict: bool = False


@dataclass(frozen=True)
class Pool:
    """Sum or mean of `size` x `size` windows; a remainder of rows and columns is dropped."""

    size: int
    average: bool


@dataclass(frozen=True)
class Flatten:
    """Reshape of [C, H, W] to [C * H * W]."""


Operation = Conv | Dense | Scale | Delay | Neuron | Pool | Flatten


@dataclass(frozen=True)
class Node:
    """One operation on the sum of its sources, with the shape of its output. A graph's input counts
    as a source by its name, too.

    `past`: neurons whose spikes of the step before it sums (a recurrent connection); they come
    later in the order. `note` says in words how the node was read.
    """

    name: str
    operation: Operation
    sources: tuple[str, ...]
    shape: Shape
    past: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class OrderedGraph:
    """Nodes, each after its sources; the last one feeds the output. `dt` in seconds. `notes`: how
    the graph as a whole was read.
    """

    input_name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    dt: float
    notes: tuple[str, ...] = ()


def spiking(nodes: Sequence[Node]) -> list[str]:
    """List the names of the spiking layers, in order."""
    return [
        node.name for node in nodes if isinstance(node.operation, Neuron) and node.operation.fires
    ]
