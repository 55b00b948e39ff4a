"""Statistics of paired answers, without scipy: a deployment host may have none."""

from math import comb

import numpy as np
from numpy.typing import NDArray


def mcnemar(
    first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]
) -> tuple[int, int, float]:
    """Compute McNemar's exact test of two accuracies on the same samples, bool [N] each.

    Returns how many samples only the first got right, how many only the second, and the two-sided
    p-value of the hypothesis that both are right equally often: the exact binomial form (McNemar,
    Psychometrika 12, 1947, conditions on these discordant pairs). 1.0 where there are none.
    """
    first = int(np.sum(first_right & ~second_right))
    second = int(np.sum(second_right & ~first_right))
    pairs = first + second
    tail = sum(comb(pairs, i) for i in range(min(first, second) + 1))
    return first, second, min(1.0, 2 * tail / 2**pairs)
