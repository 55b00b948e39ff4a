"""Write the integer program as NIR, so that engines with other rules at a tie spike alike."""

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
    OrderedGraph,
    Pool,
    Shape,
)
from tmkt.nir.to_nir import ordered_to_nir
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, Synapse, conv_shape, pooled

if TYPE_CHECKING:
    import nir

# Membranes of a program are multiples of 1/64, so that none lies on a threshold half a step off.
HALF_GRID = 1 / 128


def program_to_nir(program: Program) -> "nir.NIRGraph":
    """Give the program as NIR in float32: its integers as weights, thresholds half a grid step
    above its own, so that > and >= say the same.

    Weights are divided by dt / tau, which neurons with r = 1 (all that Norse knows) multiply with.
    One difference to the program is left: its decays truncate. InputError for what NIR has no form
    for: delays by synapse, a current without a leaking membrane, maps that are cropped before
    anything but a pool.
    """
    return ordered_to_nir(_ProgramGraph(program).ordered())


class _ProgramGraph:
    """The nodes of a program, in order, and the shapes of what synapses read."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.nodes: list[Node] = []
        self.shapes: dict[str, Shape] = {INPUT: program.input_shape}
        self._readings: set[str] = set()
        for layer in program.layers:
            self._add_layer(layer)

    def ordered(self) -> OrderedGraph:
        return OrderedGraph(INPUT, self.program.input_shape, tuple(self.nodes), DEFAULT_DT)

    def _add_layer(self, layer: Layer) -> None:
        shape = self.shapes[layer.name] = _full_shape(self.program, layer, self.shapes)
        has_neurons = layer.fires or layer.voltage_decay > 0
        is_readout = layer is self.program.layers[-1] and not has_neurons
        names = []
        for i, synapse in enumerate(layer.synapses):
            if synapse.delays is not None and synapse.delays.any():
                raise _no_form(layer, "delays by synapse")
            number = str(i) if len(layer.synapses) > 1 else ""
            name = layer.name if is_readout else f"{layer.name}_synapse{number}"
            operation = _synapse(layer, synapse, first=i == 0)
            if synapse.source == layer.name:
                self.nodes.append(Node(name, operation, (), shape, (layer.name,)))
            else:
                source = self._add_reading(synapse)
                self.nodes.append(Node(name, operation, (source,), shape))
            names.append(name)
        if has_neurons:
            self.nodes.append(Node(layer.name, _neurons(layer, shape), tuple(names), shape))
        elif len(names) > 1:
            raise _no_form(layer, "several synapses into the read-out")

    def _add_reading(self, synapse: Synapse) -> str:
        """Add the pool and the flattening between a synapse and its source, once for all synapses
        that read alike. Give the node that the synapse reads.
        """
        name, shape = synapse.source, self.shapes[synapse.source]
        if synapse.pool > 1:
            source, name = name, f"{name}_pool{synapse.pool}"
            shape = pooled(shape, synapse.pool)
            self._add_once(Node(name, Pool(synapse.pool, False), (source,), shape))
        if synapse.kind == "dense" and len(shape) > 1:
            source, name = name, f"{name}_flat"
            self._add_once(Node(name, Flatten(), (source,), (int(np.prod(shape)),)))
        return name

    def _add_once(self, node: Node) -> None:
        if node.name not in self._readings:
            self._readings.add(node.name)
            self.nodes.append(node)


def _no_form(layer: Layer, what: str) -> InputError:
    return InputError(
        f"layer {layer.name!r}: {what}, expected what NIR has a form for; leave the target nir out"
    )


def _full_shape(program: Program, layer: Layer, shapes: dict[str, Shape]) -> Shape:
    """Give the shape before the crop. NIR cannot say the crop, so it must not matter."""
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
    crop_matters = not readers or any(
        pooled(shape, reader.pool) != pooled(layer.shape, reader.pool) for reader in readers
    )
    if full or crop_matters:
        raise _no_form(layer, f"its map is cropped to {layer.shape}")
    return shape


def _synapse(layer: Layer, synapse: Synapse, first: bool) -> Conv | Dense:
    """Give a synapse's operation. The layer's bias goes into its `first` synapse; before a current
    it is what brings the current to the bias.
    """
    remembers = layer.current_decay < DECAY_ONE
    scale = 1.0 if remembers else layer.voltage_decay / DECAY_ONE or 1.0
    gain = (layer.current_decay / DECAY_ONE if remembers else 1.0) / scale
    bias = layer.bias * gain if first else np.zeros(len(synapse.weight))
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
        stride=synapse.stride,
        padding=synapse.padding,
        dilation=synapse.dilation,
        groups=synapse.groups,
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
        leak=full(0),
        threshold=threshold,
        reset=full(0),
        current_decay=full(current),
        gain=full(1),
        fires=layer.fires,
        strict=True,
    )
