"""The dense loop's products, for every processor that there are instructions for."""

from typing import Any

import numba
import numpy as np
import pytest

from tmkt.processor import features
from tmkt.program.simulator.products import (
    BLOCK,
    GROUP,
    KNOWN,
    LARGEST,
    Instructions,
    pack,
    products_of,
)

HERE = [one for one in KNOWN if one.feature in {*features(), ""}]
# The loops of the others, with products that any processor can compute.
ELSEWHERE = [
    Instructions("", one.positions, one.vector, one.tile_ns, one.group_ns)
    for one in KNOWN
    if one not in HERE
]


def windows(instructions: Instructions) -> Any:
    multiply, size = products_of(instructions), instructions.positions * BLOCK

    @numba.njit
    def run(values: Any, step: int, pitch: int, rows: int, groups: int, flush: int, w: Any) -> Any:
        out = np.empty(size, np.int32)
        multiply(values, 0, step, pitch, rows, groups, flush, w, w.size // 2, out)
        return out

    return run


@pytest.mark.parametrize("one", HERE + ELSEWHERE, ids=lambda one: f"{one.feature}-{one.vector}")
@pytest.mark.parametrize("largest", [1, 4, 128])
def test_products_of_the_largest_values_and_weights_are_exact(
    one: Instructions, largest: int
) -> None:
    """The second of two blocks of weights, a row that ends within a group, and parts of a row as
    long as int16 holds: with the greatest values and weights of either sign, and random ones.
    """
    rows, inputs, step = 3, 1031, 7
    groups, flush = -(-inputs // GROUP), LARGEST // largest
    pitch = inputs + one.positions * step
    rng = np.random.default_rng(0)
    run = windows(one)
    for extreme in (127, -128, None):
        size = (rows * inputs, 2 * BLOCK)
        weight = (
            rng.integers(-128, 128, size) if extreme is None else np.full(size, extreme)
        ).astype(np.int8)
        values = np.full(rows * pitch + GROUP, largest, np.uint8)
        if extreme is None:
            values[:] = rng.integers(0, largest + 1, values.size)
        found = run(values, step, pitch, rows, groups, flush, pack(weight, rows, 1))
        for p in range(one.positions):
            window = np.concatenate(
                [values[p * step + r * pitch :][:inputs] for r in range(rows)]
            ).astype(np.int64)
            expected = window @ weight[:, BLOCK:].astype(np.int64)
            np.testing.assert_array_equal(found[p * BLOCK :][:BLOCK], expected)
