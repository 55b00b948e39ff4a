"""Set up the process for a training: signals, threads, determinism, memory errors."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def ctrl_c_noted() -> Iterator[threading.Event]:
    """Notes the first Ctrl-C or SIGTERM instead of breaking off in the middle of a step; a second
    one breaks off.
    """
    noted = threading.Event()
    if (
        threading.current_thread() is not threading.main_thread()
    ):  # only the main thread may handle signals
        yield noted
        return

    def note(*_: object) -> None:
        noted.set()
        restore()

    def restore() -> None:
        for sign, handler in before.items():
            signal.signal(sign, handler)

    before = {sign: signal.signal(sign, note) for sign in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield noted
    finally:
        restore()


@contextmanager
def deterministic(threads: int) -> Iterator[None]:
    """The number of threads and deterministic algorithms for the time of a training; a sum's last
    bit depends on both.
    """
    memory: Any = (
        torch.utils.deterministic
    )  # torch would fill all memory that it takes with NaN, too: 5 % of a step (measured)
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        memory.fill_uninitialized_memory,
    )
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what CUDA needs for it
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    memory.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        memory.fill_uninitialized_memory = before[2]


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error means that memory ran out, on the GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    # On the CPU torch raises a plain RuntimeError: c10/core/impl/alloc_cpu.cpp has both messages,
    # the second one on Windows.
    return isinstance(error, RuntimeError) and any(
        message in str(error)
        for message in (
            "DefaultCPUAllocator: can't allocate memory",
            "DefaultCPUAllocator: not enough memory: you tried to allocate",
        )
    )
