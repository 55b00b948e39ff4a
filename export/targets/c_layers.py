"""The layers of a program as its C knows them: names, sizes, and where a synapse reads."""

import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmkt.export.targets.shared_weights import first_equal_synapses
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, Synapse


@dataclass(frozen=True)
class SourceArray:
    """The C array that a synapse reads: its expression, its shape (channels, height, width), their
    order in memory, and the largest value in it.
    """

    expression: str
    shape: tuple[int, int, int]
    channels_first: bool
    most: int

    def index(self, y: str, x: str) -> str:
        """The C expression of the index of site (y, x) in channel c."""
        channels, height, width = self.shape
        if self.channels_first:
            return f"(c * {height} + {y}) * {width} + {x}"
        return f"({y} * {width} + {x}) * {channels} + c"

    def value(self, index: str) -> str:
        """The C expression of a value. A spike is 0 or 1; counts come from outside, and may be
        anything.
        """
        trusted = not self.channels_first or self.most == 255
        if trusted:
            return f"source[{index}]"
        return f"(source[{index}] > {self.most} ? {self.most} : source[{index}])"


class CLayer:
    """A layer and the names and sizes that its C has. Its neurons are in the order of positions,
    then channels.

    `synapses` leaves out those from the layers that never fire, `silent`. `first` says for each
    synapse the place of the first equal one; equal ones are one C function, and `distinct` holds
    one of each. `slots`: of the ring of sums that late spikes still add to; 0 where the sums of one
    step do. `shift`: the left shift that the weights of all of its synapses have in common.
    """

    def __init__(self, program: Program, layer: Layer, name: str, silent: set[str]) -> None:
        self.layer, self.name = layer, name
        self.synapses = [synapse for synapse in layer.synapses if synapse.source not in silent]
        self.first = first_equal_synapses(program, replace(layer, synapses=tuple(self.synapses)))
        self.distinct = [synapse for i, synapse in enumerate(self.synapses) if self.first[i] == i]
        self.channels = layer.shape[0]
        self.positions = layer.neurons // self.channels
        back = max((layer.steps_back(synapse) for synapse in self.synapses), default=0)
        self.slots = back + 1 if back else 0
        self.shift = min((weight_shift(synapse.weight) for synapse in self.synapses), default=0)

    @property
    def spikes(self) -> SourceArray:
        """The array of its spikes."""
        return SourceArray(f"state->{self.name}.spikes", as_map(self.layer.shape), False, 1)

    @property
    def state_bytes(self) -> int:
        """Bytes in the state, a multiple of four as a struct with int32_t has it."""
        neurons = self.layer.neurons
        words_a_neuron = 1 + (self.layer.current_decay < DECAY_ONE) + self.slots
        words = words_a_neuron * neurons + bool(self.slots)
        spike_words = -(-neurons // 4) if self.layer.fires else 0
        return 4 * (words + spike_words)


def layers_of(program: Program) -> list[CLayer]:
    """Give the layers with names that are C's: unique, and never a keyword or a macro."""
    layers: list[CLayer] = []
    silent = {layer.name for layer in program.layers if not layer.fires}
    for layer in program.layers:
        name = "layer_" + re.sub("[^A-Za-z0-9]", "_", layer.name)[:40]
        while name in {other.name for other in layers}:
            name += "_"
        layers.append(CLayer(program, layer, name, silent))
    return layers


def source_of(program: Program, layers: list[CLayer], synapse: Synapse) -> SourceArray:
    """Give the array that a synapse reads: the input's counts, or a layer's spikes."""
    if synapse.source == INPUT:
        return SourceArray("input", as_map(program.input_shape), True, program.max_count)
    [source] = [layer for layer in layers if layer.layer.name == synapse.source]
    return source.spikes


def is_delayed(synapse: Synapse) -> bool:
    """Tell whether any weight of a synapse has a delay."""
    return synapse.delays is not None and bool(synapse.delays.any())


def weight_shift(weight: NDArray[np.int16]) -> int:
    """Give the left shift that makes int8 mantissas the program's weights: those above 127 are
    even, and stored halved.
    """
    return int(np.abs(weight).max(initial=0) > 127)


def as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Give a shape as (channels, height, width): (N,) is N channels of one position."""
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return channels, height, width
