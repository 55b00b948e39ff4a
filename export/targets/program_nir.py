"""Writes the integer program as NIR, so that engines which know neither our integers nor each
other's rule at a tie fire alike.
"""

from typing import TYPE_CHECKING

import numpy as np

from tmkt.errors import InputError
from tmkt.nir.graph import (
    DEFAULT_DT,
    Conv,
    Dense,
    Flatten,
    Neuron,
    Node,
    Operation,
    OrderedGraph,
    Pool,
    Shape,
)
from tmkt.nir.to_nir import ordered_to_nir
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, Synapse, conv_shape, pooled

if TYPE_CHECKING:
    import nir

HALF_GRID = (
    1 / 128
    # membranes of a program are multiples of 1/64: no membrane lies on a threshold that is half a step
    # off
)


def program_to_nir(program: Program) -> "nir.NIRGraph":
    """The program in float32: its integers as weights, thresholds half a grid step above its own,
    so that > and >= say the same.

    Weights are divided by dt / tau, which neurons with r = 1 (all that Norse knows) multiply with.
    What is left of a difference to the program is that its decays truncate. InputError for what NIR
    has no form for: delays by synapse, a current without a leaking membrane, maps that are cropped
    before anything but a pool.
    """
    nodes: list[Node] = []
    shapes: dict[str, Shape] = {INPUT: program.input_shape}
    pools: dict[tuple[str, int, bool], str] = {}
    for i, layer in enumerate(program.layers):
        shapes[layer.name] = _full_shape(program, layer, shapes)
        gain = layer.voltage_decay / DECAY_ONE or 1.0
        sources = []
        for j, synapse in enumerate(layer.synapses):
            if synapse.delays is not None and synapse.delays.any():
                raise _no_form(layer, "delays by synapse")
            last = i == len(program.layers) - 1 and not layer.fires and layer.voltage_decay == 0
            name = (
                layer.name
                if last
                else f"{layer.name}_synapse" + (f"{j}" if len(layer.synapses) > 1 else "")
            )
            operation = _synapse(layer, synapse, gain, first=j == 0)
            if synapse.source == layer.name:
                nodes.append(Node(name, operation, (), shapes[layer.name], (layer.name,)))
            else:
                source = _read(nodes, pools, shapes, synapse)
                nodes.append(Node(name, operation, (source,), shapes[layer.name]))
            sources.append(name)
        if layer.fires or layer.voltage_decay:
            nodes.append(
                Node(
                    layer.name,
                    _neurons(layer, shapes[layer.name]),
                    tuple(sources),
                    shapes[layer.name],
                )
            )
        elif len(sources) > 1:
            raise _no_form(layer, "several synapses into the read-out")
    return ordered_to_nir(OrderedGraph(INPUT, program.input_shape, tuple(nodes), DEFAULT_DT))


def _no_form(layer: Layer, what: str) -> InputError:
    return InputError(
        f"layer {layer.name!r}: {what}, expected what NIR has a form for; leave the target nir out"
    )


def _full_shape(program: Program, layer: Layer, shapes: dict[str, Shape]) -> Shape:
    """The shape before the crop, which NIR cannot say, and which must not matter."""
    full = {
        conv_shape(synapse, shapes[synapse.source])
        for synapse in layer.synapses
        if synapse.kind == "conv"
    }
    if full in (set(), {layer.shape}):
        return layer.shape
    readers = [
        synapse
        for other in program.layers
        for synapse in other.synapses
        if synapse.source == layer.name
    ]
    shape = full.pop()
    if (
        full
        or not readers
        or any(pooled(shape, reader.pool) != pooled(layer.shape, reader.pool) for reader in readers)
    ):
        raise _no_form(layer, f"its map is cropped to {layer.shape}")
    return shape


def _read(
    nodes: list[Node],
    pools: dict[tuple[str, int, bool], str],
    shapes: dict[str, Shape],
    synapse: Synapse,
) -> str:
    """The node that a synapse reads: its source, pooled and flattened as it says."""
    shape = shapes[synapse.source]
    name = synapse.source
    if synapse.pool > 1:
        shape = pooled(shape, synapse.pool)
        name = _once(
            nodes,
            pools,
            (synapse.source, synapse.pool, False),
            f"{name}_pool{synapse.pool}",
            Pool(synapse.pool, False),
            name,
            shape,
        )
    if synapse.kind == "dense" and len(shape) > 1:
        flat = (int(np.prod(shape)),)
        name = _once(
            nodes,
            pools,
            (synapse.source, synapse.pool, True),
            f"{name}_flat",
            Flatten(),
            name,
            flat,
        )
    return name


def _once(
    nodes: list[Node],
    made: dict[tuple[str, int, bool], str],
    key: tuple[str, int, bool],
    name: str,
    operation: Operation,
    source: str,
    shape: Shape,
) -> str:
    if key not in made:
        nodes.append(Node(name, operation, (source,), shape))
        made[key] = name
    return made[key]


def _synapse(layer: Layer, synapse: Synapse, gain: float, first: bool) -> Conv | Dense:
    """`first`: the layer's bias goes into its first synapse. Before a current it is what brings the
    current to the bias.
    """
    current = layer.current_decay / DECAY_ONE
    scale = gain if layer.current_decay == DECAY_ONE else 1.0
    bias = (
        layer.bias * ((current if layer.current_decay < DECAY_ONE else 1.0) / scale)
        if first
        else np.zeros(len(synapse.weight))
    )
    weight = (synapse.weight / scale).astype(np.float32)
    if synapse.kind == "dense":
        spread = (
            np.broadcast_to(bias.reshape(-1, *[1] * (len(layer.shape) - 1)), layer.shape)
            if first
            else bias
        )
        return Dense(weight, np.ascontiguousarray(spread.reshape(-1), np.float32))
    return Conv(
        weight,
        bias.astype(np.float32),
        synapse.stride,
        synapse.padding,
        synapse.dilation,
        synapse.groups,
    )


def _neurons(layer: Layer, shape: Shape) -> Neuron:
    def full(value: float) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
        return np.full(shape, value, np.float32)

    threshold = full(layer.threshold + HALF_GRID if layer.fires else 1)
    decay, current = layer.voltage_decay / DECAY_ONE, layer.current_decay / DECAY_ONE
    if current == 1:
        return Neuron(
            full(decay) if decay else None,
            full(1),
            full(0),
            threshold,
            full(0),
            fires=layer.fires,
            strict=True,
        )
    if not decay or not current:
        raise _no_form(layer, "a current that never decays, or one without a leaking membrane")
    return Neuron(
        full(decay),
        full(1 / decay),
        full(0),
        threshold,
        full(0),
        full(current),
        full(1),
        layer.fires,
        strict=True,
    )
