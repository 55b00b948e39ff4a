"""Inner loops of the simulator: add the weights of spiking inputs to the neurons' sums.

There are two ways to the same sums, chosen for each synapse and step. Event-driven: a neuron
position picks the rows of weights of those source sites that spiked, so the cost follows the
synaptic operations. Dense: it multiplies all rows, so the cost follows the layer; also where the
input sends counts. All arrays have the channels last: a row of weights holds what one source site
adds to all channels of a position. Both are exact in integers. synapses.py makes what they take.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from tmkt.kernels import inlined, kernel
from tmkt.program.simulator.listing import (
    Shape,
    Site,
    copy_pools,
    list_events,
    list_spikes,
)
from tmkt.program.simulator.products import (
    BLOCK,
    DIGIT_BITS,
    GROUP,
    INSTRUCTIONS,
    LARGEST,
    multiply_windows,
)
from tmkt.program.simulator.simd import add_16, add_32, add_64, add_128, copy_8, put_16

LANES = 16  # rows are padded to whole vectors of int16
FLUSH = 256  # so many weights of 7 bits and sign fit int16: 256 * 127 < 2^15
TOGETHER = INSTRUCTIONS.positions
INT16_MAX, WEIGHT_MAX = 32767, 127
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
def _sum(values: Any) -> int:
    total: Any = np.uint32(0)
    for value in values:
        total += np.uint32(value)
    return int(total)


@kernel
def _room(s: Any) -> Any:
    """Make room [height, width, inputs] (uint8, zeros) for a source between its padding.

    The windows of all positions that are computed together lie inside, and a group of values that
    begins in the last window.
    """
    positions = -(-s.out_width // TOGETHER) * TOGETHER
    reach_y, reach_x = (s.kernel_height - 1) * s.dilation_y, (s.kernel_width - 1) * s.dilation_x
    height = max(
        s.source_height // s.pool + s.padding_y,
        (s.out_height - 1) * s.stride_y + reach_y + 1,
    )
    width = max(s.source_width // s.pool + s.padding_x, (positions - 1) * s.stride_x + reach_x + 1)
    size = height * width * s.inputs
    return np.zeros(size + GROUP, np.uint8)[:size].reshape(height, width, s.inputs)


@kernel
def _multiply(
    padded: Any, packed: Any, s: Any, column: int, out: Any, at: int, shift: int, add: bool
) -> None:
    """Add the products of one step and digit, shifted left: of all columns of the kernel, or, where
    these do not lie side by side, of one.
    """
    across = padded.shape[1]
    taps = s.kernel_width if s.dilation_x == 1 else 1
    rows, groups = s.kernel_height, -(-taps * s.inputs // GROUP)
    blocks, size = s.width // BLOCK, rows * groups * BLOCK * GROUP
    flush = INT16_MAX // (2 * WEIGHT_MAX * min(s.largest, LARGEST))
    values, sums, keep = padded.reshape(-1), np.empty(TOGETHER * BLOCK, np.int32), -np.int32(add)
    for block in range(blocks):
        count = min(BLOCK, s.outputs - block * BLOCK)
        for y in range(s.out_height):
            for x in range(0, s.out_width, TOGETHER):
                site = y * s.stride_y * across + x * s.stride_x + column * s.dilation_x
                multiply_windows(
                    values,
                    site * s.inputs,
                    s.stride_x * s.inputs,
                    s.dilation_y * across * s.inputs,
                    rows,
                    groups,
                    flush,
                    packed,
                    (column * blocks + block) * size,
                    sums,
                )
                for p in range(min(TOGETHER, s.out_width - x)):
                    o = Site(at + (y * s.out_width + x + p) * s.channels + block * BLOCK)
                    if count == BLOCK:
                        put_16(sums, p * BLOCK, shift, keep, out, o)
                        continue
                    for c in range(Site(count)):
                        before = out[o + c] & keep
                        out[o + c] = (sums[Site(p * BLOCK) + c] << shift) + before


@kernel
def _mark(padded: Any, s: Any, touched: Any) -> None:
    """Set `touched` [positions, blocks] where a window holds a spike."""
    for y in range(s.out_height):
        for x in range(s.out_width):
            found = np.uint8(0)
            for i in range(s.kernel_height):
                row = padded[y * s.stride_y + i * s.dilation_y]
                for j in range(s.kernel_width):
                    for value in row[x * s.stride_x + j * s.dilation_x]:
                        found |= value
            if found:
                for block in range(s.first_block, s.first_block + s.blocks):
                    touched[y * s.out_width + x, block] = 1


@kernel
def deliver(
    values: Any, weight: Any, packed: Any, shape: Any, add: bool, out: Any, touched: Any
) -> None:
    """Add one group of a synapse to the sums of a layer, over the steps of `values`.

    `values`: uint8 [T, sites]. `weight`: int8, flat: rows of `width`; `packed`: the same for
    products.py. `shape`: a `Shape` as int64 array. `add`: add to what `out` int32 [T, positions *
    channels] holds, or overwrite it. `touched`: uint8 [T, positions, blocks], or of no blocks: is
    set where a spike arrives.
    """
    s = Shape(*to_fixed_tuple(shape, _FIELDS))
    window = Window(s.kernel_height, s.kernel_width, s.dilation_y, s.dilation_x, s.inputs)
    rows, columns = s.source_height // s.pool, s.source_width // s.pool
    entries = np.empty(s.source_height * s.source_width * s.inputs + 8, np.int32)
    begin = np.empty((rows, columns + 1), np.int32)
    picked = np.empty(s.kernel_height * s.kernel_width * s.inputs * s.pool * s.pool + 8, np.int32)
    sums, padded = np.zeros(s.width, np.int16), _room(s)
    flat, shift = out.reshape(-1), 0 if s.narrow else s.shift
    factor = np.int32(1 << shift)
    for t in range(values.shape[0]):
        at = t * s.out_height * s.out_width * s.channels + s.first_output
        spiking = _sum(values[t])
        if spiking > 0 and (s.graded or spiking >= s.dense_from):
            added = add
            digit: Any = np.int64(0)
            while s.largest >> digit:
                copy_pools(values[t], s, digit, padded)
                for column in range(1 if s.dilation_x == 1 else s.kernel_width):
                    _multiply(padded, packed, s, column, flat, at, shift + digit, added)
                    added = True
                if touched.shape[2]:
                    _mark(padded, s, touched[t])
                digit += DIGIT_BITS if s.largest > LARGEST else 32
            continue
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
