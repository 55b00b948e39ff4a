"""Tests of the summary of a stream, in bounded memory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.deploy.stream.summary import Percentiles


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(0.01, 1e7), min_size=1, max_size=300),
    st.sampled_from([0.5, 0.95, 0.99, 1.0]),
)
def test_percentiles_are_right_to_one_per_cent(values: list[float], share: float) -> None:
    found = Percentiles()
    for value in values:
        found.add(value)
    exact = sorted(values)[math.ceil(share * len(values)) - 1]
    assert found.quantile(share) == pytest.approx(exact, rel=0.0101)
    assert found.largest == max(values)


def test_nothing_has_no_percentile() -> None:
    assert Percentiles().quantile(0.5) is None


def test_percentiles_of_a_long_stream_take_no_more_memory() -> None:
    found = Percentiles()
    for value in np.random.default_rng(0).lognormal(6, 1, 50_000):
        found.add(float(value))
    assert len(found._counts) < 1200
