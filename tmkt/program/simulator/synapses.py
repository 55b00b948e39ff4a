"""Synapses of a program in the form that the simulator's loops take, and the choice of the loop."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.program.connectivity import source_shape
from tmkt.program.model import INPUT, Layer, Program, Synapse, pooled
from tmkt.program.simulator.crossover import dense_from, in_tiles
from tmkt.program.simulator.delivery import LANES, add_rows
from tmkt.program.simulator.dense import count_spikes, multiply_all, rooms, windows
from tmkt.program.simulator.listing import Shape
from tmkt.program.simulator.packing import GROUP, pack
from tmkt.program.simulator.tiles import PART, on_lines

LEAST_SLAB = 128  # channels: those that are added together
# Of weights that the second cache holds beside the sums, where it has 1 MB (measured); more are cut
# into slabs.
SLAB_BYTES = 600_000
# Adds what arrives at some positions in all steps. It takes the first of them, whether to add to
# the sums or to overwrite them, the sums, int32 or int16 [T, positions * channels], and `touched`,
# uint8 [T, positions, blocks] or of no blocks, which is set where a spike arrives.
Deliver = Callable[[int, bool, NDArray[Any], NDArray[np.uint8]], None]


@dataclass(frozen=True)
class Group:
    """One group of a synapse as the loops take it: its weights as slabs of rows, and its numbers.

    `packed`: the same weights for products.py. `dense_from`: spikes in a step from which on all
    weights are multiplied; `in_tiles`: by tiles.py.
    """

    weight: NDArray[np.int8]
    packed: NDArray[np.int8]
    shape: Shape
    dense_from: int
    in_tiles: bool

    @cached_property
    def numbers(self) -> NDArray[np.int64]:
        """The shape as an array: a named tuple would cost each call of a loop microseconds."""
        return np.array(self.shape, np.int64)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Find where the windows of the positions begin."""
        return windows(self.shape)

    def take(self, values: NDArray[np.uint8], in_bands: bool) -> Deliver:
        """Take in what the source sends, in the way that is faster for these values.

        `values`: uint8 [T, sites]. `in_bands`: positions are delivered to in several calls, that
        of position 0 first.
        """
        if self.shape.graded or self.dense_from == 0:
            return self.take_all(values, in_bands)
        spikes = count_spikes(values)
        if spikes >= self.dense_from * len(values):
            return self.take_all(values, in_bands)
        return self.take_spikes(values, spikes)

    def take_all(self, values: NDArray[np.uint8], in_bands: bool) -> Deliver:
        """Take in as `take` does, for the dense loop."""
        padded = rooms(self.shape, len(values) if in_bands else 1)
        silent = np.empty(len(values), np.bool_)
        given = (values, self.packed, self.places, self.numbers, self.in_tiles or None)
        return partial(multiply_all, *given, padded, silent)

    def take_spikes(self, values: NDArray[np.uint8], spikes: int) -> Deliver:
        """Take in as `take` does, for the loop over spikes, of which there are so many at most."""
        s, steps = self.shape, len(values)
        entries = np.empty(spikes + 8, np.int32)
        rows, columns = s.source_height // s.pool, s.source_width // s.pool
        begin, start = np.empty((steps, rows, columns + 1), np.int32), np.empty(steps, np.int64)
        return partial(add_rows, values, self.weight, self.numbers, entries, begin, start)

    @property
    def positions(self) -> int:
        """Number of target positions."""
        return self.shape.out_height * self.shape.out_width

    @property
    def shift(self) -> int:
        """Bits by which sums are shifted left."""
        return self.shape.shift

    def narrow(self) -> "Group":
        """Return the same for sums in int16, which are not shifted."""
        return replace(self, shape=self.shape._replace(narrow=1))


def groups_of(program: Program, layer: Layer, synapse: Synapse, blocks: int) -> list[Group]:
    """Return the groups of a synapse.

    A dense synapse is a convolution whose kernel covers the whole source and whose one position
    holds all neurons of the layer, as its channels. `blocks`: into how many parts the layer cuts
    the channels of a position for `touched`.
    """
    # the chip's weights are even: a mantissa of 7 bits and sign, times 2
    shift = 0 if np.any(synapse.weight & 1) else 1
    mantissa = (synapse.weight >> shift).astype(np.int8)
    if synapse.kind == "dense":
        return [
            _dense(program, layer, synapse=synapse, mantissa=mantissa, shift=shift, blocks=blocks)
        ]
    inputs, outputs = mantissa.shape[1], mantissa.shape[0] // synapse.groups
    per_group = blocks // synapse.groups
    shape = _source_shape(program, synapse)._replace(
        inputs=inputs,
        out_height=layer.shape[1],
        out_width=layer.shape[2],
        kernel_height=mantissa.shape[2],
        kernel_width=mantissa.shape[3],
        stride_y=synapse.stride[0],
        stride_x=synapse.stride[1],
        padding_y=synapse.padding[0],
        padding_x=synapse.padding[1],
        dilation_y=synapse.dilation[0],
        dilation_x=synapse.dilation[1],
        outputs=outputs,
        channels=layer.shape[0],
        blocks=per_group,
        shift=shift,
    )
    groups = []
    for g in range(synapse.groups):
        rows = mantissa[g * outputs : (g + 1) * outputs].transpose(2, 3, 1, 0).reshape(-1, outputs)
        firsts = {
            "first_input": g * inputs,
            "first_output": g * outputs,
            "first_block": g * per_group,
        }
        groups.append(_group(synapse, rows, shape._replace(**firsts)))
    return groups


def _dense(
    program: Program,
    layer: Layer,
    synapse: Synapse,
    mantissa: NDArray[np.int8],
    shift: int,
    blocks: int,
) -> Group:
    source = source_shape(program, synapse)
    inner = pooled(source, synapse.pool)
    order = np.arange(layer.neurons).reshape(layer.shape[0], -1).T.reshape(-1)
    rows = mantissa.reshape(-1, *inner).transpose(2, 3, 1, 0).reshape(-1, layer.neurons)[:, order]
    shape = _source_shape(program, synapse)._replace(
        inputs=source[0],
        kernel_height=inner[1],
        kernel_width=inner[2],
        outputs=layer.neurons,
        channels=layer.neurons,
        blocks=layer.neurons // layer.shape[0] * blocks,
        shift=shift,
    )
    return _group(synapse, rows, shape)


def _source_shape(program: Program, synapse: Synapse) -> Shape:
    """Return the numbers of the source; all others are those of a 1 x 1 convolution, or zero."""
    channels, height, width = source_shape(program, synapse)
    ones = ("out_height", "out_width", "stride_y", "stride_x", "dilation_y", "dilation_x")
    return Shape(**{name: int(name in ones) for name in Shape._fields})._replace(
        source_height=height,
        source_width=width,
        source_channels=channels,
        pool=synapse.pool,
        graded=int(synapse.source == INPUT and program.max_count > 1),
        largest=synapse.pool**2 * (program.max_count if synapse.source == INPUT else 1),
    )


def _group(synapse: Synapse, rows: NDArray[np.int8], shape: Shape) -> Group:
    """Pad the rows of weights to whole vectors."""
    width = -(-rows.shape[1] // LANES) * LANES
    weight = np.zeros((len(rows), width), np.int8)
    weight[:, : rows.shape[1]] = rows
    slab = _slab(*rows.shape)
    binary = synapse.source != INPUT
    eights = binary and (shape.inputs | shape.first_input | shape.source_channels) % 8 == 0
    apart = 1 if shape.dilation_x == 1 else shape.kernel_width
    shape = shape._replace(width=width, slab=slab, eights=int(eights))
    tiled = in_tiles(shape)
    packed = pack(weight, shape.kernel_height, apart, PART if tiled else GROUP)
    lined = on_lines(packed.size).view(np.int8)
    lined[:] = packed
    return Group(
        np.concatenate([weight[:, c : c + slab].reshape(-1) for c in range(0, width, slab)]),
        lined,
        shape,
        dense_from(shape),
        tiled,
    )


def _slab(rows: int, channels: int) -> int:
    """Return the channels of a slab.

    Channels that do not fill vectors stay together: what their last vector writes too much, the
    next position overwrites.
    """
    if rows * channels <= SLAB_BYTES or channels % LANES:
        return -(-channels // LANES) * LANES
    return max(SLAB_BYTES // rows // LEAST_SLAB, 1) * LEAST_SLAB
