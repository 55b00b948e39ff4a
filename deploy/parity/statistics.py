"""Do two engines answer equally well? Statistics of paired answers, without scipy: a deployment
host has none.
"""

from math import comb

import numpy as np
from numpy.typing import NDArray


def mcnemar(
    first_right: NDArray[np.bool_], second_right: NDArray[np.bool_]
) -> tuple[int, int, float]:
    """McNemar's test of two accuracies on the same samples, bool [N] each.

    Gives how many samples only the first got right, how many only the second, and the two-sided
    p-value that they are equally often right: the exact binomial form (McNemar, Psychometrika 12,
    1947, conditions on these discordant pairs). 1.0 where there are none.
    """
    first, second = (
        int(np.sum(first_right & ~second_right)),
        int(np.sum(second_right & ~first_right)),
    )
    pairs = first + second
    tail = sum(comb(pairs, i) for i in range(min(first, second) + 1))
    return first, second, min(1.0, 2 * tail / 2**pairs)
