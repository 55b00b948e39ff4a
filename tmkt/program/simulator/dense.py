"""Dense delivery: multiply the values of a synapse's source by all of its weights.

The time follows the layer, whatever its input; the input may send counts. delivery.py is the other
way to the same sums.
"""

from math import prod
from typing import Any

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple
from numpy.typing import NDArray

from tmkt.kernels import inner, kernel
from tmkt.program.simulator.listing import Shape, Site
from tmkt.program.simulator.packing import BLOCK, GROUP
from tmkt.program.simulator.products import (
    DIGIT_BITS,
    INSTRUCTIONS,
    LARGEST,
    multiply_windows,
)
from tmkt.program.simulator.tiles import PART, POSITIONS, multiply_in_tiles, on_lines

TOGETHER, BLOCKS = INSTRUCTIONS.positions, INSTRUCTIONS.blocks
_FIELDS = len(Shape._fields)
WORD = 8  # bytes that are counted at once
TOGETHER_WORDS = 224  # added up before their bytes are: less than 256, and whole vectors
EVERY_SECOND_BYTE = np.uint64(0x00FF00FF00FF00FF)
EVERY_SECOND_ONE = np.uint64(0x0001000100010001)


def rooms(s: Shape, steps: int) -> NDArray[np.uint8]:
    """Make rooms [steps, digits, height, width, inputs], of zeros, for a source between its
    padding.

    All windows of a room lie inside, and a group of values that begins in the last one of all; of
    as many neighbours as tiles take, too.
    """
    digits = 1 if s.largest <= LARGEST else -(-s.largest.bit_length() // DIGIT_BITS)
    shape = (steps, digits, *_sides(s), s.inputs)
    size = prod(shape)
    return on_lines(size + PART + POSITIONS * s.inputs)[:size].reshape(shape)


def _sides(s: Shape) -> tuple[int, int]:
    """Give the height and width of a room."""
    reach_y, reach_x = (s.kernel_height - 1) * s.dilation_y, (s.kernel_width - 1) * s.dilation_x
    height = max(
        s.source_height // s.pool + s.padding_y, (s.out_height - 1) * s.stride_y + reach_y + 1
    )
    width = max(
        s.source_width // s.pool + s.padding_x, (s.out_width - 1) * s.stride_x + reach_x + 1
    )
    return height, width


def windows(s: Shape) -> NDArray[np.int64]:
    """Find where the windows of all positions begin in a room: [columns of the kernel that
    do not lie side by side, positions]. Behind the last follow as many zeros as fill a tile.
    """
    columns = 1 if s.dilation_x == 1 else s.kernel_width
    y, x = np.divmod(np.arange(s.out_height * s.out_width), s.out_width)
    first = y * s.stride_y * _sides(s)[1] + x * s.stride_x
    found = first + s.dilation_x * np.arange(columns)[:, np.newaxis]
    return np.pad(found * s.inputs, ((0, 0), (0, TOGETHER)))


@kernel
def count_spikes(values: Any) -> int:
    """Return the sum of uint8 [...] of 0 and 1: eight in a word, whose bytes do not carry."""
    flat = values.reshape(-1)
    words = flat[: flat.size // WORD * WORD].view(np.uint64)
    total: Any = np.uint64(0)
    for begin in range(0, words.size, TOGETHER_WORDS):
        eight = np.uint64(0)
        for word in words[begin : begin + TOGETHER_WORDS]:
            eight += word
        fours = (eight & EVERY_SECOND_BYTE) + ((eight >> np.uint64(8)) & EVERY_SECOND_BYTE)
        total += (fours * EVERY_SECOND_ONE) >> np.uint64(48)
    for value in flat[words.size * WORD :]:
        total += np.uint64(value)
    return int(total)


@inner
def _is_silent(values: Any) -> bool:
    """Tell whether all of uint8 [sites] are 0."""
    words = values[: values.size // WORD * WORD].view(np.uint64)
    found = np.uint64(0)
    for word in words:
        found |= word
    for value in values[words.size * WORD :]:
        found |= np.uint64(value)
    return bool(found == 0)


@inner
def _copy_pools(values: Any, s: Any, shift: int, out: Any) -> None:
    """Sum pool x pool windows of one step, and write the sums, or, of larger ones, the digit at bit
    `shift`, to the part of out [height, width, inputs] (uint8) that lies inside the synapse's
    padding.
    """
    pool, inputs = s.pool, s.inputs
    rows, columns = s.source_height // pool, s.source_width // pool
    plain = s.largest <= LARGEST  # a sum is one digit
    if plain and pool == 1 and inputs == s.source_channels:
        for y in range(rows):
            into = out[y + s.padding_y, s.padding_x : s.padding_x + columns].reshape(-1)
            for i in range(Site(columns * inputs)):
                into[i] = values[Site(y * columns * inputs) + i]
        return
    if plain:
        across = np.empty(s.source_width * s.source_channels, np.uint8)
        for y in range(rows):
            across[:] = 0
            for i in range(y * pool, (y + 1) * pool):
                line = Site(i * len(across))
                for k in range(Site(len(across))):
                    across[k] += values[line + k]
            for x in range(columns):
                into = out[y + s.padding_y, x + s.padding_x]
                first = x * pool * s.source_channels + s.first_input
                for c in range(Site(inputs)):
                    into[c] = across[Site(first) + c]
                for _ in range(1, pool):
                    first += s.source_channels
                    for c in range(Site(inputs)):
                        into[c] += across[Site(first) + c]
        return
    total = np.empty(inputs, np.int32)
    mask = np.int32((1 << DIGIT_BITS) - 1)
    for y in range(rows):
        for x in range(columns):
            total[:] = 0
            for i in range(y * pool, (y + 1) * pool):
                for j in range(x * pool, (x + 1) * pool):
                    site = Site((i * s.source_width + j) * s.source_channels + s.first_input)
                    for c in range(Site(inputs)):
                        total[c] += values[site + c]
            into = out[y + s.padding_y, x + s.padding_x]
            for c in range(Site(inputs)):
                into[c] = np.uint8((total[c] >> shift) & mask)


@inner
def _multiply_step(
    padded: Any,
    packed: Any,
    places: Any,
    s: Any,
    column: int,
    begin: int,
    count: int,
    out: Any,
    at: int,
    shift: int,
    add: bool,
) -> None:
    """Add the products of one step and digit, shifted left, for `count` positions from `begin` on:
    of all columns of the kernel, or, where these do not lie side by side, of one.
    """
    taps = s.kernel_width if s.dilation_x == 1 else 1
    rows, groups = s.kernel_height, -(-taps * s.inputs // GROUP)
    blocks, size = s.width // BLOCK, rows * groups * BLOCK * GROUP
    flush = LARGEST // min(s.largest, LARGEST)
    values, keep = padded.reshape(-1), -np.int32(add)
    pitch = s.dilation_y * padded.shape[1] * s.inputs
    rest = np.empty(BLOCKS * TOGETHER * BLOCK, out.dtype)  # of a tile that sticks out
    block = 0
    while block < blocks:
        many = BLOCKS if blocks - block >= BLOCKS else 1
        weights, across = (column * blocks + block) * size, many * BLOCK
        outputs = min(across, s.outputs - block * BLOCK)
        for first in range(0, count, TOGETHER):
            inside = outputs == across and count - first >= TOGETHER
            corner = at + first * s.channels + block * BLOCK
            multiply_windows(
                values,
                places,
                begin + first,
                pitch,
                rows,
                groups,
                flush,
                packed,
                weights,
                shift,
                keep,
                out,
                corner,
                s.channels,
                inside,
                rest,
                many > 1,
            )
            if inside:
                continue
            for p in range(min(TOGETHER, count - first)):
                o = Site(corner + p * s.channels)
                for c in range(Site(outputs)):
                    before = out[o + c] & keep
                    out[o + c] = rest[Site(p * across) + c] + before
        block += many


@inner
def _mark(padded: Any, s: Any, first: int, touched: Any) -> None:
    """Set `touched` [positions, blocks] where a window holds a spike, from position `first` on."""
    y, x = first // s.out_width, first % s.out_width
    for position in range(touched.shape[0]):
        found = np.uint8(0)
        for i in range(s.kernel_height):
            row = padded[y * s.stride_y + i * s.dilation_y]
            for j in range(s.kernel_width):
                for value in row[x * s.stride_x + j * s.dilation_x]:
                    found |= value
        if found:
            for block in range(s.first_block, s.first_block + s.blocks):
                touched[position, block] = 1
        x += 1
        if x == s.out_width:
            y, x = y + 1, 0


@inner
def _clear(s: Any, count: int, out: Any, at: int) -> None:
    for position in range(count):
        for c in range(s.outputs):
            out[Site(at + position * s.channels + c)] = 0


@kernel
def multiply_all(
    values: Any,
    packed: Any,
    places: Any,
    shape: Any,
    in_tiles: Any,
    padded: Any,
    silent: Any,
    first: int,
    add: bool,
    out: Any,
    touched: Any,
) -> None:
    """Do what `add_rows` of delivery.py does, with all weights: for any values, uint8 [T, sites].

    `packed`: the weights as products.py packs them. `places`: of `windows`. `in_tiles`: True to
    multiply by `multiply_in_tiles`; else None, and that is not compiled. `padded`: of `rooms`,
    one that all steps share, or one for each, which the call for position 0 fills for the calls
    that follow; it sets `silent`, bool [T], too, for steps of zeros alone. Values of more than
    `LARGEST` are taken digit by digit.
    """
    s = Shape(*to_fixed_tuple(shape, _FIELDS))
    flat, shift = out.reshape(-1), 0 if s.narrow else s.shift
    apart, count = 1 if s.dilation_x == 1 else s.kernel_width, touched.shape[1]
    for t in range(values.shape[0]):
        at = t * count * s.channels + s.first_output
        if first == 0:
            silent[t] = _is_silent(values[t])
        if silent[t]:
            if not add:
                _clear(s, count, flat, at)
            continue
        added, own = add, t if padded.shape[0] > 1 else 0
        for digit in range(padded.shape[1]):
            room = padded[own, digit]
            if first == 0:
                _copy_pools(values[t], s, digit * DIGIT_BITS, room)
            bits = shift + digit * DIGIT_BITS
            if in_tiles is not None:
                multiply_in_tiles(room, packed, s, first, count, flat, at, bits, added)
                added = True
                continue
            for column in range(apart):
                _multiply_step(
                    room,
                    packed,
                    places[column],
                    s,
                    column,
                    first,
                    count,
                    flat,
                    at,
                    bits,
                    added,
                )
                added = True
            if touched.shape[2]:
                _mark(room, s, first, touched[t])
