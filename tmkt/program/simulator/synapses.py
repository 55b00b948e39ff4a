"""The synapses of a program in the form that the simulator's loops (delivery.py) take."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.program.connectivity import source_shape
from tmkt.program.model import INPUT, Layer, Program, Synapse, pooled
from tmkt.program.simulator.delivery import LANES


class Shape(NamedTuple):
    """What `deliver` needs to know of a group of a synapse. `width` of a row of weights, padded;
    `first_block`, `blocks`: those parts of a position's channels that the group reaches; sums are
    shifted left by `shift`; `eights`: the source sends 0 and 1 in channels that come in eights;
    `narrow`: the sums fit the int16 of `out`, which has room for a padded row at its end.
    """

    source_height: int
    source_width: int
    source_channels: int
    first_input: int
    inputs: int
    pool: int
    graded: int
    out_height: int
    out_width: int
    kernel_height: int
    kernel_width: int
    stride_y: int
    stride_x: int
    padding_y: int
    padding_x: int
    dilation_y: int
    dilation_x: int
    width: int
    outputs: int
    first_output: int
    channels: int
    first_block: int
    blocks: int
    shift: int
    eights: int
    narrow: int


@dataclass(frozen=True)
class Group:
    """One group of a synapse as `deliver` takes it, and how many target positions it has."""

    weight: NDArray[np.int8]
    shape: NDArray[np.int64]
    positions: int
    shift: int

    def narrow(self) -> "Group":
        """The same for sums in int16, which are not shifted."""
        shape = self.shape.copy()
        shape[Shape._fields.index("narrow")] = 1
        return replace(self, shape=shape)


def groups_of(program: Program, layer: Layer, synapse: Synapse, blocks: int) -> list[Group]:
    """The groups of a synapse. A dense synapse is a convolution whose kernel covers the whole
    source and whose one position holds all neurons of the layer, as its channels. `blocks`: into
    how many parts the layer cuts the channels of a position for `touched`.
    """
    channels, height, width = source_shape(program, synapse)
    graded = int(synapse.source == INPUT and program.max_count > 1)
    w = synapse.weight
    shift = (
        0 if np.any(w & 1) else 1
    )  # the chip's weights are even: a mantissa of 7 bits and sign, times 2
    mantissa = (w >> shift).astype(np.int8)
    if synapse.kind == "dense":
        inner = pooled((channels, height, width), synapse.pool)
        order = np.arange(layer.neurons).reshape(layer.shape[0], -1).T.reshape(-1)
        rows = (
            mantissa.reshape(-1, *inner).transpose(2, 3, 1, 0).reshape(-1, layer.neurons)[:, order]
        )
        source = (height, width, channels, 0, channels, synapse.pool, graded)
        window = (1, 1, *inner[1:], 1, 1, 0, 0, 1, 1)
        return [
            _group(
                synapse.source != INPUT,
                source,
                window,
                rows,
                (layer.neurons, 0, layer.neurons, 0, layer.neurons // layer.shape[0] * blocks),
                shift,
            )
        ]
    inputs, outputs, per_group = w.shape[1], w.shape[0] // synapse.groups, blocks // synapse.groups
    window = (*layer.shape[1:], *w.shape[2:], *synapse.stride, *synapse.padding, *synapse.dilation)
    found = []
    for g in range(synapse.groups):
        rows = mantissa[g * outputs : (g + 1) * outputs].transpose(2, 3, 1, 0).reshape(-1, outputs)
        source = (height, width, channels, g * inputs, inputs, synapse.pool, graded)
        found.append(
            _group(
                synapse.source != INPUT,
                source,
                window,
                rows,
                (outputs, g * outputs, layer.shape[0], g * per_group, per_group),
                shift,
            )
        )
    return found


def _group(
    binary: bool,
    source: tuple[int, ...],
    window: tuple[int, ...],
    rows: NDArray[np.int8],
    target: tuple[int, ...],
    shift: int,
) -> Group:
    width = -(-rows.shape[1] // LANES) * LANES
    weight = np.zeros((len(rows), width), np.int8)
    weight[:, : rows.shape[1]] = rows
    shape = Shape._make((*source, *window, width, *target, shift, 0, 0))
    eights = binary and (shape.inputs | shape.first_input | shape.source_channels) % 8 == 0
    shape = shape._replace(eights=int(eights))
    return Group(
        weight.reshape(-1), np.array(shape, np.int64), shape.out_height * shape.out_width, shift
    )
