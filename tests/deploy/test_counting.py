"""Spikes are counted, and steps without any found, eight bytes at a time."""

from typing import Any

import numba
import numpy as np
import pytest

from tmkt.program.simulator.dense import TOGETHER_WORDS, WORD, _is_silent, count_spikes

CHUNK = WORD * TOGETHER_WORDS


@numba.njit
def is_silent(values: Any) -> bool:
    return _is_silent(values)  # type: ignore[no-any-return]


@pytest.mark.parametrize("sites", [1, 7, 8, 9, CHUNK - 8, CHUNK, CHUNK + 5, CHUNK + 8, 10 * CHUNK])
@pytest.mark.parametrize("share", [0, 0.5, 1])
def test_spikes_of_any_number_of_sites_are_counted(sites: int, share: float) -> None:
    values = (np.random.default_rng(sites).random((3, sites)) < share).astype(np.uint8)
    assert count_spikes(values) == values.sum()
    assert count_spikes(values[1]) == values[1].sum()  # may begin anywhere in memory


@pytest.mark.parametrize("sites", [1, 8, 9, 1000])
def test_a_step_is_silent_only_without_any_value(sites: int) -> None:
    values = np.zeros((2, sites), np.uint8)
    assert is_silent(values[1])
    for site in range(sites):
        values[1, site] = 200
        assert not is_silent(values[1])
        values[1, site] = 0
