"""Parallel loops of compiled kernels, on as many threads as torch uses."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import torch

from tmkt.kernels import compiled


def kernel(function: Any) -> Any:
    """Compile as `tmkt.kernels.kernel` does, with numpy's rule for division by zero.

    A test for a zero divisor would keep the compiler from vectorising.
    """
    return compiled(function, error_model="numpy")


def parallel_for(size: int, unit: int, run: Callable[[int, int, int], object]) -> None:
    """Call run(index, begin, end) in parallel on ranges of `size`, one for each of torch's threads.

    The lengths of all ranges but the last are multiples of `unit`.
    """
    threads = torch.get_num_threads()
    share = max(-(-size // (threads * unit)) * unit, 1)
    starts = range(0, size, share)
    if len(starts) == 1:
        run(0, 0, size)
    else:
        list(
            _pool(threads, os.getpid()).map(
                lambda index: run(index, starts[index], min(starts[index] + share, size)),
                range(len(starts)),
            )
        )


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:  # noqa: ARG001
    return ThreadPoolExecutor(threads)
