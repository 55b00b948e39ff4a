"""The dense loop's products, for every processor that there are instructions for."""

from dataclasses import replace
from typing import Any

import numba
import numpy as np
import pytest

from tmkt.processor import features
from tmkt.program.simulator.crossover import AMX, TIMES
from tmkt.program.simulator.packing import BLOCK, GROUP, pack
from tmkt.program.simulator.products import KNOWN, LARGEST, Instructions, products_of

HERE = [one for one in KNOWN if one.feature in {*features(), ""}]
# The loops of the others, with products that any processor can compute.
ELSEWHERE = [replace(one, feature="") for one in KNOWN if one not in HERE]


def test_each_kind_of_instructions_has_its_times() -> None:
    assert TIMES.keys() == {AMX, *(one.feature for one in KNOWN)}


def windows(instructions: Instructions, blocks: int) -> Any:
    multiply, size = products_of(instructions), blocks * instructions.positions * BLOCK
    together = blocks == instructions.blocks

    @numba.njit
    def run(
        values: Any, places: Any, pitch: int, rows: int, groups: int, flush: int, w: Any, begin: int
    ) -> Any:
        out = np.empty(size, np.int32)
        wide = blocks * BLOCK
        rest = np.empty_like(out)
        multiply(
            values,
            places,
            1,
            pitch,
            rows,
            groups,
            flush,
            w,
            begin,
            0,
            0,
            out,
            0,
            wide,
            True,
            rest,
            together,
        )
        return out

    return run


@pytest.mark.parametrize(
    ("one", "blocks"),
    [(one, blocks) for one in HERE + ELSEWHERE for blocks in sorted({1, one.blocks})],
    ids=lambda one: f"{one.feature}-{one.vector}" if isinstance(one, Instructions) else str(one),
)
@pytest.mark.parametrize("largest", [1, 4, LARGEST])
def test_products_of_the_largest_values_and_weights_are_exact(
    one: Instructions, blocks: int, largest: int
) -> None:
    """The last of three blocks of weights, a row that ends within a group, windows in any order,
    and parts of a row as long as int16 holds: with the greatest values and weights of either sign,
    and random ones.
    """
    rows, inputs, step = 3, 1031, 7
    groups, flush = -(-inputs // GROUP), LARGEST // largest
    pitch = inputs + one.positions * step
    rng = np.random.default_rng(0)
    places = step * np.concatenate([[0], rng.permutation(one.positions)])  # the first is passed by
    run = windows(one, blocks)
    for extreme in (127, -128, None):
        size = (rows * inputs, 3 * BLOCK)
        weight = (
            rng.integers(-128, 128, size) if extreme is None else np.full(size, extreme)
        ).astype(np.int8)
        values = np.full(rows * pitch + GROUP, largest, np.uint8)
        if extreme is None:
            values[:] = rng.integers(0, largest + 1, values.size)
        packed = pack(weight, rows, 1)
        begin = packed.size // 3 * (3 - blocks)
        found = run(values, places, pitch, rows, groups, flush, packed, begin)
        found = found.reshape(one.positions, blocks, BLOCK)
        for p, place in enumerate(places[1:]):
            window = np.concatenate([values[place + r * pitch :][:inputs] for r in range(rows)])
            expected = window.astype(np.int64) @ weight.astype(np.int64)
            np.testing.assert_array_equal(found[p], expected.reshape(3, BLOCK)[3 - blocks :])
