"""Event-driven delivery: add the weights of spiking inputs to the neurons' sums.

A neuron position picks the rows of weights of those source sites that spiked, so the time follows
the synaptic operations. All arrays have the channels last: a row of weights holds what one source
site adds to all channels of a position. synapses.py makes what the loop takes; dense.py is the
other way to the same sums.
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
    weight: Any, picked: Any, begin: int, end: int, width: int, sums: Any, at: int
) -> None:
    """sums[at : at + width] (int16) = the rows picked[begin:end] of weight, added up."""
    first = 0
    while first + 128 <= width:
        add_128(weight, picked, begin, end, width, first, sums, at + first)
        first += 128
    if width & 64:
        add_64(weight, picked, begin, end, width, first, sums, at + first)
        first += 64
    if width & 32:
        add_32(weight, picked, begin, end, width, first, sums, at + first)
        first += 32
    if width & 16:
        add_16(weight, picked, begin, end, width, first, sums, at + first)


@inlined
def _flush(sums: Any, out: Any, at: int, count: int, factor: Any, add: bool) -> None:
    """out[at : at + count] = or += sums * factor."""
    o = Site(at)
    whole = Site(count - count % LANES)
    kept = np.int32(add)
    for block in range(Site(0), whole, Site(LANES)):
        for lane in range(Site(LANES)):
            i = block + lane
            out[o + i] = sums[i] * factor + out[o + i] * kept
    for i in range(whole, Site(count)):
        out[o + i] = sums[i] * factor + out[o + i] * kept


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
def add_rows(values: Any, weight: Any, shape: Any, add: bool, out: Any, touched: Any) -> None:
    """Add one group of a synapse to the sums of a layer, over the steps of `values`.

    `values`: uint8 [T, sites], 0 or 1. `weight`: int8, flat: rows of `width`. `shape`: a `Shape` as
    int64 array. `add`: add to what `out` int32 [T, positions * channels] holds, or overwrite it.
    `touched`: uint8 [T, positions, blocks], or of no blocks: is set where a spike arrives.
    """
    s = Shape(*to_fixed_tuple(shape, _FIELDS))
    window = Window(s.kernel_height, s.kernel_width, s.dilation_y, s.dilation_x, s.inputs)
    rows, columns = s.source_height // s.pool, s.source_width // s.pool
    entries = np.empty(s.source_height * s.source_width * s.inputs + 8, np.int32)
    begin = np.empty((rows, columns + 1), np.int32)
    picked = np.empty(s.kernel_height * s.kernel_width * s.inputs * s.pool * s.pool + 8, np.int32)
    sums = np.zeros(s.width, np.int16)
    flat, factor = out.reshape(-1), np.int32(1 if s.narrow else 1 << s.shift)
    for t in range(values.shape[0]):
        at = t * s.out_height * s.out_width * s.channels + s.first_output
        if s.eights:
            list_spikes(values[t].view(np.uint64), s, entries, begin)
        else:
            list_events(values[t], s, entries, begin)
        y, x, column = -s.padding_y, -s.padding_x, 0
        for position in range(s.out_height * s.out_width):
            n = _pick(entries, begin, y, x, window, picked)
            if n and touched.shape[2]:
                for block in range(s.first_block, s.first_block + s.blocks):
                    touched[t, position, block] = 1
            if n and s.narrow:
                _add_rows(weight, picked, 0, n, s.width, flat, at)
            elif n:
                for k in range(0, n, FLUSH):
                    _add_rows(weight, picked, k, min(k + FLUSH, n), s.width, sums, 0)
                    _flush(sums, flat, at, s.outputs, factor, add or k > 0)
            elif not add:
                for i in range(s.outputs):
                    flat[Site(at + i)] = 0
            at += s.channels
            x, column = x + s.stride_x, column + 1
            if column == s.out_width:
                y, x, column = y + s.stride_y, -s.padding_x, 0
