"""What spikes add to the neurons' sums: the simulator's inner loops, exact in integers. synapses.py
makes what they take.

Two ways to the same sums, chosen for each synapse and step. Event-driven: a neuron position picks
the rows of weights of those source sites that spiked, so the cost follows the synaptic operations.
Dense: it multiplies all rows, so the cost follows the layer; also where the input sends counts. All
arrays have the channels last: a row of weights holds what one source site adds to all channels of a
position.
"""

from typing import Any

import numpy as np

from tmkt.kernels import inlined, kernel
from tmkt.program.simulator.simd import add_16, add_32, add_64, add_128, copy_8

LANES = 16  # rows are padded to whole vectors of int16
FLUSH = 256  # so many weights of 7 bits and sign fit int16: 256 * 127 < 2^15
# spikes a site (pooled ones can have several) from which on the dense loop is the faster one
# (docs/benchmarks.md)
DENSE_ABOVE = 1.75

# an unsigned index needs no test for "from the end", which would keep the compiler from making
# vector code
Site = np.uintp

# Eight spikes at a time: a product brings the lowest bits of the bytes of a word into its highest
# byte (their sums never meet, so nothing carries), which finds the positions of the bytes that are
# 1 in a table.
_GATHER_BITS = np.uint64(sum(1 << (56 - 7 * i) for i in range(8)))
_SET = np.zeros(256 * 8, np.int32)
_COUNT = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
for _byte in range(256):
    _SET[8 * _byte : 8 * _byte + _COUNT[_byte]] = [bit for bit in range(8) if _byte >> bit & 1]


@kernel
def _list_events(
    values: Any, size: Any, first: int, channels: int, pool: int, entries: Any, begin: Any
) -> int:
    """Lists the spiking sites of one step in rows of pooled positions; gives their number.

    A site's entry is column * channels + channel, those of column x in row y begin at begin[y, x];
    pooled sites that spiked twice are listed twice. Every site is written and the next one
    overwrites it unless it spiked: without a branch that is guessed wrong.
    """
    width, all_channels = size
    rows, columns = begin.shape[0], begin.shape[1] - 1
    n = 0
    if (
        pool == 1 and channels == all_channels
    ):  # a row is one run: quicker where there are few channels
        listed = np.empty(columns * channels + 1, np.int32)
        for y in range(rows):
            site = y * width * channels
            for i in range(columns * channels):
                entries[n] = i
                listed[i] = n
                n += values[Site(site + i)] != 0
            listed[columns * channels] = n
            for x in range(columns + 1):
                begin[y, x] = listed[x * channels]
        return n
    for y in range(rows):
        for x in range(columns):
            begin[y, x] = n
            for i in range(y * pool, (y + 1) * pool):
                for j in range(x * pool, (x + 1) * pool):
                    site = (i * width + j) * all_channels + first
                    for c in range(channels):
                        entries[n] = x * channels + c
                        n += values[Site(site + c)] != 0
        begin[y, columns] = n
    return n


@kernel
def _list_spikes(
    words: Any, size: Any, first: int, channels: int, pool: int, entries: Any, begin: Any
) -> int:
    """The same for values of 0 and 1 in channels that come in eights, `words` of eight values each."""
    width, all_channels = size
    rows, columns = begin.shape[0], begin.shape[1] - 1
    n = 0
    for y in range(rows):
        for x in range(columns):
            begin[y, x] = n
            for i in range(y * pool, (y + 1) * pool):
                for j in range(x * pool, (x + 1) * pool):
                    word = ((i * width + j) * all_channels + first) >> 3
                    for eight in range(channels >> 3):
                        mask = np.int64((words[Site(word + eight)] * _GATHER_BITS) >> np.uint64(56))
                        entry = np.int32(x * channels + 8 * eight)
                        copy_8(_SET, mask << 3, entry, entries, n)
                        n += _COUNT[mask]
        begin[y, columns] = n
    return n


@kernel
def _sum_pools(values: Any, size: Any, first: int, channels: int, pool: int, out: Any) -> None:
    """Sums pool x pool windows of one step into out [rows, columns * channels] (int32)."""
    width, all_channels = size
    rows, columns = out.shape[0], out.shape[1] // channels
    for y in range(rows):
        out[y] = 0
        for x in range(columns):
            for i in range(y * pool, (y + 1) * pool):
                for j in range(x * pool, (x + 1) * pool):
                    site = (i * width + j) * all_channels + first
                    for c in range(channels):
                        out[y, x * channels + c] += values[Site(site + c)]


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


@kernel
def _multiply_rows(
    weight: Any, row: int, rows: int, width: int, values: Any, first: int, sums: Any
) -> None:
    """sums [width] (int16 or int32) += values[first:first + rows] times as many rows of weight from
    `row` on.
    """
    w = Site(width)
    whole = rows - rows % 4
    for k in range(0, whole, 4):
        p, q, r, s = (
            values[Site(first + k)],
            values[Site(first + k + 1)],
            values[Site(first + k + 2)],
            values[Site(first + k + 3)],
        )
        at = Site(row + k) * w
        for block in range(Site(0), w, Site(LANES)):
            for lane in range(Site(LANES)):
                i = block + lane
                j = at + i
                sums[i] += (
                    p * weight[j]
                    + q * weight[j + w]
                    + r * weight[j + w + w]
                    + s * weight[j + w + w + w]
                )
    for k in range(whole, rows):
        p, at = values[Site(first + k)], Site(row + k) * w
        for block in range(Site(0), w, Site(LANES)):
            for lane in range(Site(LANES)):
                i = block + lane
                sums[i] += p * weight[at + i]


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
def _pick(entries: Any, begin: Any, y: int, x: int, inputs: int, window: Any, picked: Any) -> int:
    """Lists the rows of weights that the spikes in one window add; gives their number.

    The window's first tap lies on row y, column x of the source.
    """
    kernel_h, kernel_w, dilation_y, dilation_x = window
    rows, columns = begin.shape[0], begin.shape[1] - 1
    span, spans = (
        (kernel_w, 1) if dilation_x == 1 else (1, kernel_w)
    )  # neighbouring columns lie in a row
    n = 0
    for i in range(kernel_h):
        if 0 <= y < rows:
            for j in range(spans):
                first = x + j * dilation_x
                low, high = max(first, 0), min(first + span, columns)
                if low < high:
                    start = begin[y, low]
                    size = begin[y, high] - start
                    row = np.int32((i * kernel_w + j - first) * inputs)  # of an entry of column 0
                    copy_8(
                        entries, start, row, picked, n
                    )  # in whole vectors, without asking for a few: what is too much is overwritten
                    for k in range(8, size, 8):
                        copy_8(entries, start + k, row, picked, n + k)
                    n += size
        y += dilation_y
    return n


@kernel
def _multiply(
    multiplied: Any, y: int, x: int, inputs: int, window: Any, weight: Any, width: int, sums: Any
) -> None:
    """sums (int32) = all rows of weights in one window, times the source's values."""
    kernel_h, kernel_w, dilation_y, dilation_x = window
    rows, columns = multiplied.shape[0], multiplied.shape[1] // inputs
    span, spans = (kernel_w, 1) if dilation_x == 1 else (1, kernel_w)
    sums[:] = 0
    for i in range(kernel_h):
        if 0 <= y < rows:
            for j in range(spans):
                first = x + j * dilation_x
                low, high = max(first, 0), min(first + span, columns)
                if low < high:
                    row = (i * kernel_w + j + low - first) * inputs
                    _multiply_rows(
                        weight, row, (high - low) * inputs, width, multiplied[y], low * inputs, sums
                    )
        y += dilation_y


@kernel
def deliver(values: Any, weight: Any, s: Any, add: bool, out: Any, touched: Any) -> None:
    """Adds one group of a synapse to the sums of a layer, over the steps of `values`.

    `values` uint8 [T, sites]; `weight` int8, flat: rows of `width`; `s`: `Shape` as int64. `add` to
    what `out` int32 [T, positions * channels] holds, or write. `touched` uint8 [T, positions,
    blocks], or of no blocks: is set where a spike arrives.
    """
    height, source_w, source_channels, first, inputs, pool, graded = (
        s[0],
        s[1],
        s[2],
        s[3],
        s[4],
        s[5],
        s[6],
    )
    out_h, out_w, kernel_h, kernel_w, stride_y, stride_x = s[7], s[8], s[9], s[10], s[11], s[12]
    pad_y, pad_x, dilation_y, dilation_x = s[13], s[14], s[15], s[16]
    width, outputs, first_output, channels, first_block, blocks, shift, eights, narrow = (
        s[17],
        s[18],
        s[19],
        s[20],
        s[21],
        s[22],
        s[23],
        s[24],
        s[25],
    )
    rows, columns = height // pool, source_w // pool
    window = (kernel_h, kernel_w, dilation_y, dilation_x)
    entries = np.empty(height * source_w * inputs + 8, np.int32)
    begin = np.empty((rows, columns + 1), np.int32)
    picked = np.empty(kernel_h * kernel_w * inputs * pool * pool + 8, np.int32)
    sums, wide = np.zeros(width, np.int16), np.zeros(width, np.int32)
    multiplied = np.empty((rows, columns * inputs), np.int32)
    flat, factor = out.reshape(-1), np.int32(1 if narrow else 1 << shift)
    for t in range(values.shape[0]):
        if eights:
            spiking = _list_spikes(
                values[t].view(np.uint64),
                (source_w, source_channels),
                first,
                inputs,
                pool,
                entries,
                begin,
            )
        else:
            spiking = _list_events(
                values[t], (source_w, source_channels), first, inputs, pool, entries, begin
            )
        dense = spiking > 0 and (graded or spiking > DENSE_ABOVE * rows * columns * inputs)
        if dense:
            _sum_pools(values[t], (source_w, source_channels), first, inputs, pool, multiplied)
        at = t * out_h * out_w * channels + first_output
        y, x, column = -pad_y, -pad_x, 0
        for position in range(out_h * out_w):
            n = _pick(entries, begin, y, x, inputs, window, picked)
            if n and touched.shape[2]:
                for block in range(first_block, first_block + blocks):
                    touched[t, position, block] = 1
            if dense:
                _multiply(multiplied, y, x, inputs, window, weight, width, wide)
                _flush(wide, flat, at, outputs, factor, add)
            elif n and narrow:
                _add_rows(weight, picked, 0, n, width, flat, at)
            elif n:
                for k in range(0, n, FLUSH):
                    _add_rows(weight, picked, k, min(k + FLUSH, n), width, sums, 0)
                    _flush(sums, flat, at, outputs, factor, add or k > 0)
            elif not add:
                for i in range(outputs):
                    flat[Site(at + i)] = 0
            at += channels
            x, column = x + stride_x, column + 1
            if column == out_w:
                y, x, column = y + stride_y, -pad_x, 0
