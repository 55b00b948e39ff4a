"""Event-driven delivery: add the weights of spiking inputs to the neurons' sums.

A neuron position picks the rows of weights of those source sites that spiked, so the time follows
the synaptic operations. All arrays have the channels last: a row of weights holds what one source
site adds to all channels of a position. Many weights are cut into slabs, of some channels each,
that stay in the processor's second cache while all positions and steps add theirs. synapses.py
makes what the loops take; dense.py is the other way to the same sums.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from tmkt.kernels import inlined, kernel
from tmkt.program.simulator.listing import Shape, Site, list_events, list_spikes
from tmkt.program.simulator.simd import add_16, add_32, add_64, add_128, copy_8

LANES = 16  # rows are padded to whole vectors of int16
FLUSH = 256  # so many weights of 7 bits and sign fit int16: 256 * 127 < 2^15
_FIELDS = len(Shape._fields)


class Window(NamedTuple):
    """Kernel of a synapse, over `inputs` channels of its source.

    Inner loops get it instead of a whole `Shape`, whose 26 numbers slow them down (measured).
    """

    height: int
    width: int
    dilation_y: int
    dilation_x: int
    inputs: int


@inlined
def _add_rows(
    weight: Any,
    slab: int,
    width: int,
    picked: Any,
    begin: int,
    end: int,
    shift: Any,
    keep: Any,
    sums: Any,
    at: int,
) -> None:
    """sums[at : at + width] = the rows picked[begin:end] of a slab, added up in int16 and shifted
    left; with `keep` = -1 instead of 0, plus what is there.

    `slab`: where in `weight` its rows of `width` begin.
    """
    first = 0
    while first + 128 <= width:
        add_128(weight, picked, begin, end, width, slab + first, shift, keep, sums, at + first)
        first += 128
    if width & 64:
        add_64(weight, picked, begin, end, width, slab + first, shift, keep, sums, at + first)
        first += 64
    if width & 32:
        add_32(weight, picked, begin, end, width, slab + first, shift, keep, sums, at + first)
        first += 32
    if width & 16:
        add_16(weight, picked, begin, end, width, slab + first, shift, keep, sums, at + first)


@inlined
def _pick(entries: Any, begin: Any, y: int, x: int, window: Any, picked: Any) -> int:
    """List the rows of weights that the spikes in one window add; return their number.

    The window's first tap lies on row y, column x of the source.
    """
    rows, columns = begin.shape[0], begin.shape[1] - 1
    # neighbouring columns lie in a row
    span, spans = (window.width, 1) if window.dilation_x == 1 else (1, window.width)
    n = 0
    for i in range(window.height):
        if 0 <= y < rows:
            for j in range(spans):
                first = x + j * window.dilation_x
                low, high = max(first, 0), min(first + span, columns)
                if low < high:
                    start = begin[y, low]
                    size = begin[y, high] - start
                    # the row of an entry of column 0
                    row = np.int32((i * window.width + j - first) * window.inputs)
                    # In whole vectors, without asking for a few: what is too much is overwritten.
                    copy_8(entries, start, row, picked, n)
                    for k in range(8, size, 8):
                        copy_8(entries, start + k, row, picked, n + k)
                    n += size
        y += window.dilation_y
    return n


@kernel
def add_rows(
    values: Any,
    weight: Any,
    shape: Any,
    entries: Any,
    begin: Any,
    start: Any,
    first: int,
    add: bool,
    out: Any,
    touched: Any,
) -> None:
    """Add one group of a synapse to the sums of some of a layer's positions, over T steps.

    `values`: uint8 [T, sites], 0 or 1. `weight`: int8, flat: slabs of rows. `shape`: a `Shape` as
    int64 array. `first`: position. `add`: add to what `out` int32 [T, positions * channels] holds,
    or overwrite it; a row of weights is padded, and so are the sums, where there must be room
    behind the last. `touched`: uint8 [T, positions, blocks], or of no blocks: is set where a spike
    arrives.

    The call for position 0 lists the spikes for the calls that follow: those of step t in row y and
    column x begin at entries[start[t] + begin[t, y, x]]. `entries`: int32, as many as spikes and
    eight more. `begin`: int32 [T, rows, columns + 1]. `start`: int64 [T].
    """
    s = Shape(*to_fixed_tuple(shape, _FIELDS))
    window = Window(s.kernel_height, s.kernel_width, s.dilation_y, s.dilation_x, s.inputs)
    picked = np.empty(s.kernel_height * s.kernel_width * s.inputs * s.pool * s.pool + 8, np.int32)
    flat, shift = out.reshape(-1), np.int32(0 if s.narrow else s.shift)
    steps, positions, listed = values.shape[0], touched.shape[1], 0
    for t in range(steps if first == 0 else 0):
        start[t] = listed
        if s.eights:
            listed += list_spikes(values[t].view(np.uint64), s, entries[listed:], begin[t])
        else:
            listed += list_events(values[t], s, entries[listed:], begin[t])
    first_row, first_column = first // s.out_width, first % s.out_width
    for channel in range(0, s.width, s.slab):
        slab, width = len(weight) // s.width * channel, min(s.slab, s.width - channel)
        for t in range(steps):
            at = t * positions * s.channels + s.first_output + channel
            own, column = entries[start[t] :], first_column
            y, x = first_row * s.stride_y - s.padding_y, column * s.stride_x - s.padding_x
            for position in range(positions):
                n = _pick(own, begin[t], y, x, window, picked)
                if n and touched.shape[2] and channel == 0:
                    for block in range(s.first_block, s.first_block + s.blocks):
                        touched[t, position, block] = 1
                keep = -np.int32(add)
                for k in range(0, n, FLUSH):
                    end = min(k + FLUSH, n)
                    _add_rows(weight, slab, width, picked, k, end, shift, keep, flat, at)
                    keep = np.int32(-1)
                if n == 0 and not add:
                    for i in range(min(s.outputs - channel, width)):
                        flat[Site(at + i)] = 0
                at += s.channels
                x, column = x + s.stride_x, column + 1
                if column == s.out_width:
                    y, x, column = y + s.stride_y, -s.padding_x, 0
