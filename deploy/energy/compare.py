"""Comparison of the energy of two bundles over the same recordings."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from tmkt.deploy.energy.activity import Activity
from tmkt.deploy.energy.estimate import Array, Estimate, spread
from tmkt.deploy.energy.report import estimates

RESAMPLES, AT_ONCE = 2000, 100


def compare(first: Activity, second: Activity, chosen: Sequence[str]) -> dict[str, Any]:
    """Make the report of `tmkt energy A B`.

    Both were counted over the same recordings, in the same order; ValueError if their labels
    differ.
    """
    if not np.array_equal(first.labels, second.labels):
        raise ValueError("counted over different recordings")
    of_first, unknown_first = estimates(first, chosen)
    of_second, unknown_second = estimates(second, chosen)
    same = {(e.estimator, e.device): e for e in of_second}
    pairs = [(e, same[e.estimator, e.device]) for e in of_first if (e.estimator, e.device) in same]
    return {
        "samples": first.trace.samples,
        "comparisons": [_pair(*pair) for pair in pairs],
        "unknown": [
            {**e, "bundle": bundle}
            for bundle, entries in (("first", unknown_first), ("second", unknown_second))
            for e in entries
        ],
    }


def _pair(a: Estimate, b: Estimate) -> dict[str, Any]:
    """Compare one estimator's two estimates: ratio and difference of the means.

    `ci95`: interval of the central values over recordings. `low`, `high`: the ratio under each of
    the estimator's assumptions, the same for both. An error that scales both by the same factor is
    in neither.
    """
    first, second = a.per_sample(), b.per_sample()
    ratios = [
        float(y.mean() / x.mean()) if x.mean() > 0 else None
        for x, y in zip(first, second, strict=True)
    ]
    known = [ratio for ratio in ratios if ratio is not None]
    difference_ci95, ratio_ci95 = resampled(first[0], second[0])
    difference = second[0] - first[0]
    return {
        "estimator": a.estimator,
        "device": a.device,
        "first": {**a.figure([float(x.mean()) for x in first]), "sd_j": spread(first[0])},
        "second": {**b.figure([float(y.mean()) for y in second]), "sd_j": spread(second[0])},
        "difference_j": float(difference.mean()),
        "difference_ci95_j": difference_ci95,
        "ratio": ratios[0],
        "ratio_ci95": ratio_ci95,
        "ratio_low": min(known) if known else None,
        "ratio_high": max(known) if known else None,
        "includes": list(a.includes),
        "excludes": list(a.excludes),
        "source": a.source,
    }


def resampled(first: Array, second: Array) -> tuple[list[float] | None, list[float] | None]:
    """Return the 95 % intervals of mean(second - first) and of mean(second) / mean(first), joules
    [N] each.

    Percentile bootstrap of pairs over the recordings, seed 0. None for a single recording, and for
    a ratio to zero.
    """
    samples = len(first)
    if samples < 2:
        return None, None
    rng = np.random.default_rng(0)
    means = []
    for _ in range(RESAMPLES // AT_ONCE):
        weights = rng.multinomial(samples, np.full(samples, 1 / samples), AT_ONCE) / samples
        means.append(np.stack([weights @ first, weights @ second]))
    x, y = np.concatenate(means, axis=1)
    ratio = np.quantile(y / x, (0.025, 0.975)).tolist() if x.min() > 0 else None
    return np.quantile(y - x, (0.025, 0.975)).tolist(), ratio
