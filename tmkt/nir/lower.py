"""Lowering of a float network to layers of neurons, each with synapses from other layers or from
the input.

Everything between two layers of neurons is linear and becomes part of the synapses: pools
(`Synapse.pool`), sums (several synapses into one layer), batch norm on a residual stream (a gain
and an offset a channel after a convolution), and a dense read-out of a convolution's values.
Quantisation and placement both start from these layers.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmkt.nir.currents import (
    Current,
    Doubles,
    Source,
    Spikes,
    added,
    composed,
    delayed_spikes,
    once_each,
    pooled_spikes,
    synapses_of,
)
from tmkt.nir.errors import kind, refuse
from tmkt.nir.graph import Conv, Delay, Dense, Flatten, Neuron, Node, OrderedGraph, Pool
from tmkt.program.model import INPUT, Synapse

ABOVE = 1 + 1e-5  # the threshold, beyond what float32 may have rounded


@dataclass(frozen=True)
class FloatLayer:
    """One layer of a lowered network, in float64: the weights that act on the membrane, in units of
    the threshold.

    `synapses` hold everything but the weights, which are in `weights`, in the same order. Synapses
    with equal weights share one array, as those from the terms of a sum do. `decay` is dt / tau, 0
    for neurons that do not leak; `current_decay` is dt / tau_syn, 1 without a current. `bias` is
    added to the membrane. A bias before a current is replaced by the value that it reaches once
    the current has settled.
    """

    name: str
    shape: tuple[int, ...]
    synapses: tuple[Synapse, ...]
    weights: tuple[Doubles, ...]
    bias: Doubles
    decay: float
    fires: bool
    current_decay: float = 1.0

    @property
    def is_any(self) -> bool:
        """Tell whether the neurons fire exactly where any of their inputs does: every weight is 0
        or above the threshold, and nothing else acts. Max pooling of spikes is such a layer.
        """
        return (
            self.fires
            and self.current_decay == 1
            and not self.bias.any()
            and all(np.all((weight == 0) | (weight > ABOVE)) for weight in self.weights)
        )


def lower(graph: OrderedGraph) -> list[FloatLayer]:
    """Lower a graph to its layers, in order; the last one is a read-out that integrates unless it
    spikes.

    A map that is only read through pools is cropped to what they read. InputError, naming the
    node, for anything that is no sum of synapses between neurons.
    """
    terms: dict[str, Spikes | Current] = {graph.input_name: Spikes((Source(INPUT),))}
    shapes = {INPUT: graph.input_shape}
    layers: list[FloatLayer] = []
    last = graph.nodes[-1]
    for node in graph.nodes:
        shapes.update(dict.fromkeys(node.past, node.shape))
        before = [Spikes((Source(name),)) for name in node.past]
        given = added(node, [*(terms[name] for name in node.sources), *before])
        if isinstance(node.operation, Neuron):
            layers.append(_neurons(node, node.operation, given, node is last))
            terms[node.name], shapes[node.name] = Spikes((Source(node.name),)), node.shape
        elif isinstance(given, Current):
            terms[node.name] = composed(node, given, shapes)
        else:
            terms[node.name] = _of_spikes(node, given)
    end = terms[last.name]
    if isinstance(end, Current) and end.node is last:  # a read-out that integrates
        layers.append(
            FloatLayer(
                last.name,
                last.shape,
                synapses=end.synapses,
                weights=end.weights,
                bias=end.bias,
                decay=0.0,
                fires=False,
            )
        )
    elif not layers or last.name != layers[-1].name:
        raise refuse(
            last.name,
            f"{kind(last.operation)} is the last node",
            "an Affine or neurons",
            "end the network with one",
        )
    return [replace(layer, shape=_shape_read(layer, layers)) for layer in layers]


def _of_spikes(node: Node, given: Spikes) -> Spikes | Current:
    """Apply a node without neurons to spikes."""
    operation = node.operation
    if isinstance(operation, Pool):
        return pooled_spikes(node, operation, given)
    if isinstance(operation, Flatten):
        return given
    if isinstance(operation, Delay):
        return delayed_spikes(node, operation, given)
    if isinstance(operation, Conv | Dense):
        return synapses_of(node, operation, given)
    raise refuse(
        node.name,
        kind(operation),
        "Conv2d, Affine, Linear, pools and neurons",
        "fold it into the weights",
    )


def _neurons(node: Node, neuron: Neuron, given: Spikes | Current, last: bool) -> FloatLayer:
    if isinstance(given, Spikes):
        raise refuse(
            node.name,
            "neurons without a synapse before them",
            "Conv2d, Affine or Linear there",
            "add one",
        )
    if not neuron.fires and not last:
        raise refuse(
            node.name,
            "an integrator that never fires",
            "one at the end alone, as read-out",
            "put firing neurons there",
        )

    def uniform(what: str, values: NDArray[np.float32]) -> float:
        if np.any(values != values.flat[0]):
            raise refuse(
                node.name,
                f"{what} from {values.min()} to {values.max()}",
                "one value for the layer",
                "train with a shared one",
            )
        return float(values.flat[0])

    for what, values in (("v_reset", neuron.reset), ("v_leak", neuron.leak)):
        if values.any():
            raise refuse(
                node.name,
                f"{what} {values.flat[np.abs(values).argmax()]}",
                f"{what} 0",
                "shift membrane, threshold and bias so that it is 0",
            )
    decay = 0.0 if neuron.decay is None else uniform("dt / tau", neuron.decay)
    if not 0 <= decay <= 1:
        raise refuse(
            node.name,
            f"dt / tau = {decay:g}",
            "0..1",
            "use a smaller dt, or train with a larger tau",
        )
    gain = uniform("r", neuron.r) * (1.0 if neuron.decay is None else decay)
    threshold = uniform("v_threshold", neuron.threshold)
    if gain <= 0:
        raise refuse(node.name, f"input gain {gain:g}", "above 0", "correct r, tau or dt")
    current_decay = 1.0
    bias = given.bias * (gain / threshold)
    if neuron.current_decay is not None and neuron.gain is not None:
        current_decay = uniform("dt / tau_syn", neuron.current_decay)
        gain *= uniform("w_in", neuron.gain)
        bias = given.bias * (gain / threshold / current_decay)
    weights = once_each(given.weights, lambda _, weight: weight * (gain / threshold))
    return FloatLayer(
        node.name,
        node.shape,
        synapses=given.synapses,
        weights=weights,
        bias=bias,
        decay=decay,
        fires=neuron.fires,
        current_decay=current_decay,
    )


def _shape_read(layer: FloatLayer, layers: list[FloatLayer]) -> tuple[int, ...]:
    """The layer's shape without rows and columns at the end that nothing reads, because every
    reader takes whole windows.
    """
    pools = {
        synapse.pool
        for other in layers
        for synapse in other.synapses
        if synapse.source == layer.name
    }
    if len(layer.shape) != 3 or not pools:
        return layer.shape
    channels, *size = layer.shape
    return (channels, *(max(n // pool * pool for pool in pools) for n in size))
