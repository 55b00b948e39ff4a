"""Loops over the source of a synapse in one step, which list its spikes.

Sites have the channels last. `s` is the shape of a group of a synapse; rows and columns are those
of the pooled source.
"""

from typing import Any, NamedTuple

import numpy as np

from tmkt.kernels import inner
from tmkt.program.simulator.simd import copy_8

# An unsigned index needs no test for "from the end", which would keep the compiler from making
# vector code.
Site = np.uintp

# Eight spikes at a time: a product brings the lowest bits of the bytes of a word into its highest
# byte (their sums never meet, so nothing carries), which finds the positions of the bytes that are
# 1 in a table.
_GATHER_BITS = np.uint64(sum(1 << (56 - 7 * i) for i in range(8)))
_SET = np.zeros(256 * 8, np.int32)
_COUNT = np.array([bin(byte).count("1") for byte in range(256)], np.int64)
for _byte in range(256):
    _SET[8 * _byte : 8 * _byte + _COUNT[_byte]] = [bit for bit in range(8) if _byte >> bit & 1]


class Shape(NamedTuple):
    """Numbers of a group of a synapse, for the loops of delivery.py and dense.py.

    The group reads `inputs` channels of its source from `first_input` on, and writes `outputs` of
    the layer's `channels` from `first_output` on. `graded`: the source sends counts. `width`: of a
    row of weights, padded. `slab`: channels of a slab of delivery.py; of a whole row if
    there is one. `first_block`, `blocks`: the parts of a position's channels that it
    reaches. `shift`: sums are shifted left by it. `eights`: the source sends 0 and 1 in channels
    that come in eights. `narrow`: the sums fit the int16 of `out`, which has room for a padded row
    at its end. `largest`: pooled value.
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
    slab: int
    outputs: int
    first_output: int
    channels: int
    first_block: int
    blocks: int
    shift: int
    eights: int
    narrow: int
    largest: int


@inner
def list_events(values: Any, s: Any, entries: Any, begin: Any) -> int:
    """List the spiking sites of one step in rows of pooled positions; return their number.

    A site's entry is column * inputs + channel. Those of column x in row y begin at begin[y, x];
    pooled sites that spiked twice are listed twice. Every site is written, and the next one
    overwrites it unless it spiked: this avoids a branch that is guessed wrong.
    """
    rows, columns, pool, inputs = begin.shape[0], begin.shape[1] - 1, s.pool, s.inputs
    n = 0
    if pool == 1 and inputs == s.source_channels:
        # a row is one run: quicker where there are few channels
        listed = np.empty(columns * inputs + 1, np.int32)
        for y in range(rows):
            site = y * s.source_width * inputs
            for i in range(columns * inputs):
                entries[n] = i
                listed[i] = n
                n += values[Site(site + i)] != 0
            listed[columns * inputs] = n
            for x in range(columns + 1):
                begin[y, x] = listed[x * inputs]
        return n
    for y in range(rows):
        for x in range(columns):
            begin[y, x] = n
            for i in range(y * pool, (y + 1) * pool):
                for j in range(x * pool, (x + 1) * pool):
                    site = (i * s.source_width + j) * s.source_channels + s.first_input
                    for c in range(inputs):
                        entries[n] = x * inputs + c
                        n += values[Site(site + c)] != 0
        begin[y, columns] = n
    return n


@inner
def list_spikes(words: Any, s: Any, entries: Any, begin: Any) -> int:
    """Do the same for values of 0 and 1 in channels that come in eights, eight values a word."""
    rows, columns, pool, inputs = begin.shape[0], begin.shape[1] - 1, s.pool, s.inputs
    n = 0
    for y in range(rows):
        for x in range(columns):
            begin[y, x] = n
            for i in range(y * pool, (y + 1) * pool):
                for j in range(x * pool, (x + 1) * pool):
                    site = (i * s.source_width + j) * s.source_channels + s.first_input
                    word = site >> 3
                    for eight in range(inputs >> 3):
                        mask = np.int64((words[Site(word + eight)] * _GATHER_BITS) >> np.uint64(56))
                        entry = np.int32(x * inputs + 8 * eight)
                        copy_8(_SET, mask << 3, entry, entries, n)
                        n += _COUNT[mask]
        begin[y, columns] = n
    return n
