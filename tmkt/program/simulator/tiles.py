"""Products on the matrix unit of some Intel processors (AMX): tiles of 16 positions times 16
channels and 64 inputs in one instruction.

A tile of values is 64 bytes of the windows of 16 neighbouring positions, read where they lie: these
windows begin equally far apart. A tile of weights is 16 groups of inputs as packing.py packs them.
A row of positions is taken to be as wide as the source between its padding, so that the next row
follows at the same distance; the sums of what reaches beyond the output are dropped.
"""

import ctypes
import sys
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic
from numpy.typing import NDArray

from tmkt.kernels import inner
from tmkt.processor import features
from tmkt.program.simulator.listing import Shape
from tmkt.program.simulator.packing import BLOCK, GROUP, PACKED
from tmkt.program.simulator.simd import INT8, INT64, call, pointer_to, put_32

ROWS, PART = 16, 64  # of a tile, and bytes of each
# Four tiles of sums are computed together, so that each tile that is loaded serves twice.
POSITIONS, CHANNELS = 2 * ROWS, 2 * BLOCK
HERE = {"amx-tile", "amx-int8"} <= features()
_ASK_LINUX, _FOR_TILES = 0x1023, 18  # ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
# Palette 1, then, from byte 16 on, the bytes of a row (int16) and from 48 on the rows of each tile.
_CONFIGURATION = bytes([1, *[0] * 15, *[PART, 0] * 8, *[0] * 16, *[ROWS] * 8, *[0] * 8])


@cache
def may_use() -> bool:
    """Return whether this process may use the matrix unit: Linux gives its room to who asks."""
    if not HERE or sys.platform != "linux":
        return False
    return bool(ctypes.CDLL(None).syscall(158, _ASK_LINUX, _FOR_TILES) == 0)  # arch_prctl


def fits(s: Shape) -> bool:
    """Tell whether all windows begin as far apart as neighbours, and the channels fill tiles."""
    steps = s.stride_y, s.stride_x, s.dilation_y, s.dilation_x
    return steps == (1,) * 4 and s.outputs % CHANNELS == 0


def on_lines(size: int) -> NDArray[np.uint8]:
    """Make `size` zeros that begin where a line of the cache does: a part then lies in one line."""
    found = np.zeros(size + PART, np.uint8)
    begin = -found.ctypes.data % PART
    return found[begin : begin + size]


def _call(builder: Any, name: str, *arguments: Any) -> None:
    """Call an instruction; numbers are those of tiles.

    0 to 3 hold sums (of positions 0..15 with either block, then of 16..31), 4 and 5 values, 6 and 7
    weights.
    """
    given = [ir.Constant(INT8, one) if isinstance(one, int) else one for one in arguments]
    call(builder, f"llvm.x86.{name}", ir.VoidType(), given)


@intrinsic  # type: ignore[untyped-decorator]
def _begin_tiles(_: Any) -> Any:
    def generate(context: Any, builder: Any, *_: Any) -> Any:
        given = ir.Constant(ir.ArrayType(INT8, 64), bytearray(_CONFIGURATION))
        room = builder.alloca(given.type)
        builder.store(given, room)
        _call(builder, "ldtilecfg", builder.bitcast(room, INT8.as_pointer()))
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def _end_tiles(_: Any) -> Any:
    def generate(context: Any, builder: Any, *_: Any) -> Any:
        _call(builder, "tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic  # type: ignore[untyped-decorator]
def _clear_sums(_: Any, sums: Any) -> Any:
    def generate(context: Any, builder: Any, *_: Any) -> Any:
        for tile in range(4):
            _call(builder, "tilezero", tile)
        return context.get_dummy_value()

    return types.void(sums), generate


@intrinsic  # type: ignore[untyped-decorator]
def _add_products(
    _: Any, values: Any, at: Any, apart: Any, packed: Any, begin: Any, block: Any, sums: Any
) -> Any:
    whole = types.intp

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values, at, apart, packed, begin, block, _ = arguments
        further = builder.add(at, builder.mul(apart, ir.Constant(INT64, ROWS)))
        line = ir.Constant(INT64, PACKED)
        for tile, place in ((4, at), (5, further)):
            address = pointer_to(context, builder, signature.args[0], values, place, INT8)
            _call(builder, "tileloadd64", tile, address, apart)
        for tile, place in ((6, begin), (7, builder.add(begin, block))):
            address = pointer_to(context, builder, signature.args[3], packed, place, INT8)
            _call(builder, "tileloadd64", tile, address, line)
        for tile in range(4):
            _call(builder, "tdpbusd", tile, 4 + tile // 2, 6 + tile % 2)
        return context.get_dummy_value()

    return types.void(values, whole, whole, packed, whole, whole, sums), generate


@intrinsic  # type: ignore[untyped-decorator]
def _store_sums(_: Any, sums: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line = ir.Constant(INT64, 4 * CHANNELS)
        for tile in range(4):
            first = ir.Constant(INT64, tile // 2 * ROWS * CHANNELS + tile % 2 * BLOCK)
            address = pointer_to(context, builder, signature.args[0], arguments[0], first, INT8)
            _call(builder, "tilestored64", tile, address, line)
        return context.get_dummy_value()

    return types.void(sums), generate


# What the instructions do, for tests on other processors, where nothing else calls it.
@inner
def _nothing() -> None:
    pass


@inner
def _clear_plainly(sums: Any) -> None:
    sums[:] = 0


@inner
def _add_plainly(
    values: Any, at: int, apart: int, packed: Any, begin: int, block: int, sums: Any
) -> None:
    for p in range(POSITIONS):
        for c in range(CHANNELS):
            for i in range(PART):
                first = begin + c // BLOCK * block + i // GROUP * PACKED
                weight = packed[first + c % BLOCK * GROUP + i % GROUP]
                sums[p * CHANNELS + c] += np.int32(values[at + p * apart + i]) * weight


@inner
def _keep_sums(sums: Any) -> None:
    pass


begin_tiles, end_tiles = (_begin_tiles, _end_tiles) if HERE else (_nothing, _nothing)
clear_sums = _clear_sums if HERE else _clear_plainly
add_products = _add_products if HERE else _add_plainly
store_sums = _store_sums if HERE else _keep_sums


@inner
def multiply_in_tiles(
    padded: Any,
    packed: Any,
    s: Any,
    begin: int,
    count: int,
    out: Any,
    at: int,
    shift: int,
    add: bool,
) -> None:
    """Do what `_multiply_step` of dense.py does, for a synapse that `fits`.

    `packed`: rows of windows are filled up to whole parts. `padded` is followed by as many bytes as
    `POSITIONS` sites and a part have.
    """
    values, across, keep = padded.reshape(-1), padded.shape[1], -np.int32(add)
    parts = -(-s.kernel_width * s.inputs // PART)
    size = s.kernel_height * parts * PART * BLOCK  # of a block's weights
    sums = np.empty(POSITIONS * CHANNELS, np.int32)
    begin_tiles()
    for channel in range(0, s.outputs, CHANNELS):
        y, x = begin // s.out_width, begin % s.out_width
        site, written = y * across + x, 0
        while written < count:
            clear_sums(sums)
            weights = channel // BLOCK * size
            for row in range(s.kernel_height):
                first = (site + row * across) * s.inputs
                for part in range(parts):
                    place = first + part * PART
                    add_products(values, place, s.inputs, packed, weights, size, sums)
                    weights += PART * BLOCK
            store_sums(sums)
            for p in range(POSITIONS):
                if x < s.out_width and written < count:
                    place = at + written * s.channels + channel
                    put_32(sums, p * CHANNELS, shift, keep, out, place)
                    written += 1
                x = x + 1 if x + 1 < across else 0
            site += POSITIONS
    end_tiles()
