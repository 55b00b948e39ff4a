"""Tile transforms of Winograd's F(4x4, 3x3), eight channels at a time, written in LLVM's language.

Each computes L X L' of tiles X, for one of the matrices L of Lavin and Gray, "Fast algorithms for
convolutional neural networks" (arXiv 1509.09308, section 4.3). In numba's plain loops, the compiler
would have to test 72 arrays for overlap and does not vectorise.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tmkt.networks.cpu.threads import kernel

INPUT = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
WEIGHT = np.array([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]]) / 24
OUTPUT = np.array(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
)
LANES = 8
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def _sum(builder: Any, factors: Sequence[float], values: Sequence[Any]) -> Any:
    """Add factors . values; a factor of 0 costs nothing, a factor of 1 or -1 no multiplication."""
    total = None
    for factor, value in sorted(zip(factors, values, strict=True), key=lambda pair: pair[0] != 1):
        if factor == 0:
            continue
        if abs(factor) != 1:
            value = builder.fmul(value, ir.Constant(_VECTOR, [float(abs(factor))] * LANES))
        if total is None:
            total = value if factor > 0 else builder.fneg(value)
        else:
            total = builder.fadd(total, value) if factor > 0 else builder.fsub(total, value)
    return total


def _transform(matrix: Any, add: bool) -> Any:
    rows, columns = matrix.shape

    @intrinsic  # type: ignore[untyped-decorator]
    def transform(
        _: Any,
        source: Any,
        at: Any,
        row: Any,
        column: Any,
        target: Any,
        to: Any,
        to_row: Any,
        to_column: Any,
    ) -> Any:
        """target[to + i * to_row + j * to_column] = (or +=) sum over r, c of L[i, r] L[j, c]
        source[at + r * row + c * column], float32, flat.
        """
        whole = types.intp

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            source, at, row, column, target, to, to_row, to_column = arguments

            def place(
                kind: Any, array: Any, first: Any, down: Any, i: int, right: Any, j: int
            ) -> Any:
                index = builder.add(
                    first,
                    builder.add(
                        builder.mul(down, ir.Constant(down.type, i)),
                        builder.mul(right, ir.Constant(right.type, j)),
                    ),
                )
                data = context.make_array(kind)(context, builder, array).data
                return builder.bitcast(builder.gep(data, [index]), _VECTOR.as_pointer())

            tile = [
                [
                    builder.load(place(signature.args[0], source, at, row, r, column, c), align=4)
                    for c in range(columns)
                ]
                for r in range(columns)
            ]
            half = [
                [_sum(builder, line, [tile[r][c] for r in range(columns)]) for c in range(columns)]
                for line in matrix
            ]
            for i in range(rows):
                for j in range(rows):
                    value, pointer = (
                        _sum(builder, matrix[j], half[i]),
                        place(signature.args[4], target, to, to_row, i, to_column, j),
                    )
                    if add:
                        value = builder.fadd(value, builder.load(pointer, align=4))
                    builder.store(value, pointer, align=4)
            return context.get_dummy_value()

        return types.void(source, whole, whole, whole, target, whole, whole, whole), generate

    return transform


_input_tile, _output_tile = _transform(INPUT, add=False), _transform(OUTPUT, add=False)
_output_gradient_tile, _input_gradient_tile = (
    _transform(OUTPUT.T, add=False),
    _transform(INPUT.T, add=True),
)


# Maps are flat [images, height, width, channels], each tile 4 rows and columns after the one
# before; transformed tiles flat [36, tiles, channels]. `begin` and `end`: the images to do. Maps
# must hold all rows and columns that the tiles reach.


@kernel
def transform_input(maps, height, width, channels, down, across, tiles, begin, end):  # type: ignore[no-untyped-def]
    """Transform 6x6 tiles of `maps` into `tiles`; an image has `down` x `across` tiles."""
    plane = len(tiles) // 36
    for tile in range(begin * down * across, end * down * across):
        n, i, j = tile // (down * across), tile // across % down, tile % across
        first = ((n * height + 4 * i) * width + 4 * j) * channels
        for c in range(0, channels, LANES):
            _input_tile(
                maps,
                first + c,
                width * channels,
                channels,
                tiles,
                tile * channels + c,
                6 * plane,
                plane,
            )


@kernel
def transform_output(tiles, maps, height, width, channels, down, across, begin, end):  # type: ignore[no-untyped-def]
    """Transform `tiles` into 4x4 tiles of `maps`."""
    plane = len(tiles) // 36
    for tile in range(begin * down * across, end * down * across):
        n, i, j = tile // (down * across), tile // across % down, tile % across
        first = ((n * height + 4 * i) * width + 4 * j) * channels
        for c in range(0, channels, LANES):
            _output_tile(
                tiles,
                tile * channels + c,
                6 * plane,
                plane,
                maps,
                first + c,
                width * channels,
                channels,
            )


@kernel
def transform_output_gradient(maps, height, width, channels, down, across, tiles, begin, end):  # type: ignore[no-untyped-def]
    """Apply the adjoint of transform_output: 4x4 tiles of `maps` into `tiles`."""
    plane = len(tiles) // 36
    for tile in range(begin * down * across, end * down * across):
        n, i, j = tile // (down * across), tile // across % down, tile % across
        first = ((n * height + 4 * i) * width + 4 * j) * channels
        for c in range(0, channels, LANES):
            _output_gradient_tile(
                maps,
                first + c,
                width * channels,
                channels,
                tiles,
                tile * channels + c,
                6 * plane,
                plane,
            )


@kernel
def transform_input_gradient(tiles, maps, height, width, channels, down, across, begin, end):  # type: ignore[no-untyped-def]
    """Apply the adjoint of transform_input: add `tiles` onto the overlapping 6x6 tiles of
    `maps`.
    """
    plane = len(tiles) // 36
    for tile in range(begin * down * across, end * down * across):
        n, i, j = tile // (down * across), tile // across % down, tile % across
        first = ((n * height + 4 * i) * width + 4 * j) * channels
        for c in range(0, channels, LANES):
            _input_gradient_tile(
                tiles,
                tile * channels + c,
                6 * plane,
                plane,
                maps,
                first + c,
                width * channels,
                channels,
            )
