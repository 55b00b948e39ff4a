"""Take the integers of a network that was quantised before as they are, such as those of a program
that was written as NIR.
"""

from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.nir.errors import refuse
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.graph import Neuron, Node
from tmkt.nir.lower import FloatLayer, lower
from tmkt.program.arithmetic import DECAY_ONE, MAX_THRESHOLD, STATE_ONE
from tmkt.program.model import Layer, Program

if TYPE_CHECKING:
    import nir

# How far float32 may have moved an integer: r, tau and dt are in the file as such, the largest bias
# is 4096
TOLERANCE = 2e-3


def take_integers(graph: "nir.NIRGraph", max_count: int) -> tuple[Program, list[dict[str, Any]]]:
    """Give the program of a graph whose numbers are its integers, and a report per layer. Nothing
    is rounded.

    Weights (times the gain of r and dt / tau), biases and 4096 times the decays must be whole. A
    threshold T becomes the integer S for which v > S / 1 says of every membrane on the grid of 1/64
    what the graph's rule says of T: S = T for a strict rule; for >= T must lie above S, as S +
    1/128 does, unless nothing leaks, when all membranes are whole. InputError, naming layer and
    number, otherwise.
    """
    network = FloatNetwork(graph)
    nodes = {node.name: node for node in network.graph.nodes}
    shape = network.graph.input_shape
    layers = []
    for layer in lower(network.graph):
        node = nodes[layer.name]
        unit = (
            float(node.operation.threshold.flat[0])
            if isinstance(node.operation, Neuron) and layer.fires
            else 1.0
        )
        layers.append(_layer(layer, node, unit))
    program = Program(
        shape,
        max_count,
        tuple(layers),
        "spikes" if layers[-1].fires else "membrane",
    )
    return program, [_entry(layer) for layer in layers]


def _layer(layer: FloatLayer, node: Node, unit: float) -> Layer:
    whole = {
        id(weight): _whole(node, "weight", weight * unit).astype(np.int64)
        for weight in layer.weights
    }
    for weight in whole.values():
        if np.abs(weight).max(initial=0) > np.iinfo(np.int16).max:
            raise refuse(
                node.name,
                f"a weight of {np.abs(weight).max()}",
                "at most 254",
                "quantise it here: leave out --bits none",
            )
    synapses = tuple(
        type(synapse)(**{**vars(synapse), "weight": whole[id(weight)].astype(np.int16)})
        for synapse, weight in zip(layer.synapses, layer.weights, strict=True)
    )
    decays = [
        int(_whole(node, f"4096 dt / {tau}", np.array(DECAY_ONE * decay)))
        for tau, decay in _decays(layer)
    ]
    bias = _whole(node, "bias", layer.bias * unit).astype(np.int32)
    threshold = (
        _threshold(node, unit, leaks=any(0 < decay < DECAY_ONE for decay in decays))
        if layer.fires
        else MAX_THRESHOLD
    )
    return Layer(
        layer.name,
        layer.shape,
        synapses=synapses,
        bias=bias,
        threshold=threshold,
        voltage_decay=decays[0],
        current_decay=decays[1],
        fires=layer.fires,
    )


def _decays(layer: FloatLayer) -> list[tuple[str, float]]:
    return [("tau", layer.decay), ("tau_syn", layer.current_decay)]


def _whole(node: Node, what: str, values: NDArray[Any]) -> NDArray[np.float64]:
    whole: NDArray[np.float64] = np.rint(values)
    far = np.abs(values - whole)
    if far.max(initial=0) > TOLERANCE:
        found = f"a {what} of {values.reshape(-1)[far.argmax()]:.6g}"
        raise refuse(
            node.name,
            found,
            "whole numbers",
            "quantise it here: leave out --bits none (or correct --dt, which scales them)",
        )
    return whole


def _threshold(node: Node, found: float, leaks: bool) -> int:
    assert isinstance(node.operation, Neuron)
    strict = node.operation.strict
    whole = int(found) if strict else ceil(found) - 1
    # Membranes are multiples of 1 / 64: v > whole must say the same of all of them.
    past = found - whole
    fine = past < 1 / STATE_ONE if strict else past <= 1 / STATE_ONE
    if leaks and not fine:
        rule = ">" if strict else ">="
        way_out = (
            "write whole + 1/128, where both rules agree, or say --fires-at '>' if ties do not"
            " matter"
        )
        raise refuse(
            node.name,
            f"threshold {found:g} with v {rule} threshold",
            "one that a whole number stands for",
            way_out,
        )
    return whole


def _entry(layer: Layer) -> dict[str, Any]:
    weights = [synapse.weight.reshape(len(synapse.weight), -1) for synapse in layer.synapses]
    return {
        "layer": layer.name,
        "bits": None,
        "scale": None,
        "largest_weight": max(int(np.abs(weight).max(initial=0)) for weight in weights),
        "largest_bias": int(np.abs(layer.bias).max(initial=0)),
        "threshold": layer.threshold if layer.fires else None,
        "zero_weights": float(
            np.mean(np.concatenate([weight.reshape(-1) for weight in weights]) == 0)
        ),
        "silent_channels": int((~np.concatenate(weights, 1).any(1)).sum()),
        "voltage_decay": layer.voltage_decay,
        "current_decay": layer.current_decay,
    }
