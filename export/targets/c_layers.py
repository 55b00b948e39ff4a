"""The layers of a program as its C knows them: names, memory, and where a synapse reads."""

import re
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from tmkt.export.targets.c_weights import Packing, packing_of
from tmkt.export.targets.shared_weights import first_equal_synapses
from tmkt.program.arithmetic import DECAY_ONE, MEMBRANE_LIMIT, STATE_ONE
from tmkt.program.model import INPUT, Layer, Program, Synapse, largest_input
from tmkt.program.weight_grid import least_shift

# Of the two sums in a word.
NARROW = range(-(2**15), 2**15)


@dataclass(frozen=True)
class Member:
    """An array or a number of a C struct; `count` None is a number."""

    kind: str
    name: str
    count: int | None = None
    note: str = ""

    @property
    def bytes_each(self) -> int:
        """Bytes of one element, which is its alignment, too."""
        return int(re.sub("[^0-9]", "", self.kind)) // 8

    @property
    def text(self) -> str:
        """The declaration."""
        size = "" if self.count is None else f"[{self.count}]"
        note = f" /* {self.note} */" if self.note else ""
        return f"{self.kind} {self.name}{size};{note}"


def size_of(members: list[Member]) -> int:
    """Count the bytes of a struct of these members, which stand by falling alignment."""
    used = sum(member.bytes_each * (member.count or 1) for member in members)
    alignment = max((member.bytes_each for member in members), default=1)
    return -(-used // alignment) * alignment


@dataclass(frozen=True)
class SourceArray:
    """The C array that a synapse reads: the name of its layer, its expression, and its shape
    (channels, height, width).

    The input is a byte a count, in the order channels, height, width; `most` is the largest count.
    Spikes are bits, `words` unsigned words of `kind` a position; `most` is 1.
    """

    name: str
    expression: str
    shape: tuple[int, int, int]
    is_input: bool
    kind: str
    words: int
    most: int

    @property
    def word_bits(self) -> int:
        """Bits of one word."""
        return int(self.kind[4:-2])


class CLayer:
    """A layer and the names and sizes that its C has. Its neurons are in the order of positions,
    then channels.

    `synapses` leaves out those from the layers that never fire, `silent`. `first` says for each
    synapse the place of the first equal one; equal ones are one C function, and `distinct` holds
    one of each. `slots`: of the ring of sums that late spikes still add to; 0 where the sums of one
    step do. `shift`: the left shift that the weights of all of its synapses have in common.
    `largest`: bound of the sums, without that shift. `rows`: how many rows of its map are summed
    and updated at a time.
    """

    def __init__(self, program: Program, layer: Layer, name: str, silent: set[str]) -> None:
        self.layer, self.name = layer, name
        self.synapses = [synapse for synapse in layer.synapses if synapse.source not in silent]
        self.first = first_equal_synapses(program, replace(layer, synapses=tuple(self.synapses)))
        self.distinct = [synapse for i, synapse in enumerate(self.synapses) if self.first[i] == i]
        self.channels, self.height, self.width = as_map(layer.shape)
        self.positions = self.height * self.width
        back = max((layer.steps_back(synapse) for synapse in self.synapses), default=0)
        self.slots = back + 1 if back else 0
        shifts = (least_shift(synapse.weight) for synapse in self.synapses)
        self.shift = min((shift for shift in shifts if shift is not None), default=0)
        self.largest = self._largest_sum(program)
        spread = self.positions > 1 and any(s.kind == "dense" for s in self.synapses)
        self.rows = self.height if spread else 1

    @property
    def pairs(self) -> bool:
        """Two sums share a word, because both fit 16 bits."""
        return -self.largest in NARROW and self.largest in NARROW

    @cached_property
    def sum_words(self) -> int:
        """Words of the sums of one position; all synapses may write that far."""
        lanes = self.channels
        for synapse in self.distinct:
            packing = self.packing(synapse)
            if packing is not None:
                lanes = max(lanes, packing.words(self.channels) * packing.lanes)
        return -(-lanes // 2) if self.pairs else lanes

    def packing(self, synapse: Synapse) -> Packing | None:
        """Choose the packing of a synapse's weights; None where each is a byte: in groups, to
        several positions at once, or to come late.
        """
        spread = synapse.kind == "dense" and self.positions > 1
        if self.slots or spread or synapse.groups > 1:
            return None
        return packing_of(synapse.weight, self.pairs)

    def factor(self, synapse: Synapse) -> int:
        """Return what a synapse's mantissas count in the layer's sums."""
        shift = least_shift(synapse.weight)
        return 1 if shift is None else 1 << (shift - self.shift)

    @property
    def spikes(self) -> SourceArray:
        """The array of its spikes."""
        kind, words = spike_words(self.channels)
        at, shape = f"state->{self.name}.spikes", as_map(self.layer.shape)
        return SourceArray(self.name, at, shape, False, kind, words, 1)

    @property
    def members(self) -> list[Member]:
        """Its part of the state, by falling alignment."""
        neurons = self.layer.neurons
        found = [Member("uint16_t", "low", neurons, "of the membranes' 24 bits")]
        found.append(Member("uint8_t", "high", neurons))
        if self.layer.current_decay < DECAY_ONE:
            found.append(Member("int32_t", "u", neurons, "currents"))
        if self.slots:
            late = "sums of the steps to come, a ring"
            found.append(Member("int32_t", "late", self.slots * neurons, late))
            found.append(Member("int32_t", "now"))
        if self.layer.fires:
            kind, words = spike_words(self.channels)
            found.append(Member(kind, "spikes", words * self.positions, "a bit a channel"))
        return sorted(found, key=lambda member: -member.bytes_each)

    @property
    def current_limit(self) -> int:
        """Bound of a current that has no memory."""
        return STATE_ONE * self.largest << self.shift

    @property
    def membrane_may_clip(self) -> bool:
        """A membrane could reach the limit of its 24 bits."""
        layer = self.layer
        if layer.current_decay < DECAY_ONE or layer.voltage_decay == 0:
            return True
        grows = self.current_limit + STATE_ONE * int(np.abs(layer.bias).max(initial=0))
        return grows * DECAY_ONE // layer.voltage_decay >= MEMBRANE_LIMIT

    def _largest_sum(self, program: Program) -> int:
        """Bound |sum| without the common shift: all that excites, or all that inhibits, at once."""
        sides = []
        for sign in (1, -1):
            total = np.zeros(self.layer.bias.shape, np.int64)
            for synapse in self.synapses:
                one_side = np.maximum(sign * synapse.weight.astype(np.int64), 0)
                sums = one_side.reshape(len(one_side), -1).sum(1)
                # a dense synapse has a row for every neuron of a channel
                of_channel = sums.reshape(len(total), -1).max(1)
                total += largest_input(program, synapse) * of_channel
            sides.append(int(total.max(initial=0)))
        return max(sides) >> self.shift


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
        shape = as_map(program.input_shape)
        return SourceArray("the input", "input", shape, True, "uint8_t", 1, program.max_count)
    [source] = [layer for layer in layers if layer.layer.name == synapse.source]
    return source.spikes


def spike_words(channels: int) -> tuple[str, int]:
    """Give the type of the words that hold the spikes of a position, and their number."""
    for bits in (8, 16):
        if channels <= bits:
            return f"uint{bits}_t", 1
    return "uint32_t", -(-channels // 32)


def is_delayed(synapse: Synapse) -> bool:
    """Tell whether any weight of a synapse has a delay."""
    return synapse.delays is not None and bool(synapse.delays.any())


def as_map(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Give a shape as (channels, height, width): (N,) is N channels of one position."""
    channels, height, width = shape if len(shape) == 3 else (shape[0], 1, 1)
    return channels, height, width
