"""Compiled loops shared out among as many threads as torch uses."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any

import numba
import torch


def kernel(function: Any) -> Any:
    """As tmkt.kernels.kernel, and a division by zero is no error: a test for one would keep the
    compiler from making vector code.
    """
    try:
        return numba.njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # numba found no writable cache folder
        return numba.njit(nogil=True, error_model="numpy")(function)


def each_share(size: int, unit: int, run: Callable[[int, int, int], object]) -> None:
    """Calls run(index, begin, end) for as many shares of `size` as torch has threads, at the same
    time; all but the last are multiples of `unit`.
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
