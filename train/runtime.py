"""Set up the process for a training: signals, threads, determinism, memory errors."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch


@contextmanager
def note_interrupts() -> Iterator[threading.Event]:
    """Note the first Ctrl-C or SIGTERM instead of breaking off within a step.

    A second one breaks off.
    """
    noted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield noted  # only the main thread may handle signals
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
    """Set the number of threads and deterministic algorithms for the time of a training.

    The last bit of a sum depends on both.
    """
    # Torch would also fill all memory that it takes with NaN: 5 % of a step (measured).
    memory: Any = torch.utils.deterministic
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
