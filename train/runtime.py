"""Set up the process for a training: threads, arithmetic, memory errors."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from tmkt import processor
from tmkt.recipe import TrainRecipe


@contextmanager
def computing(recipe: TrainRecipe, device: torch.device) -> Iterator[None]:
    """Set how torch computes on `device` for the time of a training.

    On a CPU: the number of threads and deterministic algorithms, as the last bit of a sum depends
    on both. On a GPU, where equal bytes are not promised: the fastest convolutions, which torch
    finds by trying, in TF32 only if the recipe says so. torch would take TF32 by itself. Matrix
    products are never in TF32: they are few, and Gram matrices lose too much by it.
    """
    # Torch would also fill all memory that it takes with NaN: 5 % of a step (measured).
    memory: Any = torch.utils.deterministic
    convolutions = torch.backends.cudnn
    before = (
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        memory.fill_uninitialized_memory,
        torch.get_float32_matmul_precision(),
        convolutions.allow_tf32,
        convolutions.benchmark,
    )
    torch.set_num_threads(recipe.threads)
    torch.use_deterministic_algorithms(device.type == "cpu")
    memory.fill_uninitialized_memory = False
    torch.set_float32_matmul_precision("highest")
    convolutions.allow_tf32 = recipe.precision == "tf32"
    convolutions.benchmark = device.type == "cuda"
    try:
        yield
    finally:
        torch.set_num_threads(before[0])
        torch.use_deterministic_algorithms(before[1])
        memory.fill_uninitialized_memory = before[2]
        torch.set_float32_matmul_precision(before[3])
        convolutions.allow_tf32, convolutions.benchmark = before[4:]


def describe_arithmetic(recipe: TrainRecipe, device: torch.device) -> str | None:
    """Say on which GPU and in which arithmetic a training computes, or that this processor has a
    faster one; None if there is nothing to say.
    """
    if device.type == "cpu":
        faster = processor.faster_bfloat16()
        if recipe.precision == "bf16" or faster is None or recipe.freeze:  # a head alone is quick
            return None
        return (
            f"This processor has bfloat16: --set train.precision=bf16 makes a step about {faster}"
        )
    kinds = {
        "fp32": "all in float32, without TF32; train.precision=tf32 and bf16 are faster",
        "tf32": "convolutions in TF32, which keeps 10 bits of a number's 23; the rest in float32",
        "bf16": "convolutions and products in bfloat16, the rest in float32",
    }
    return (
        f"Training on {torch.cuda.get_device_name(device)}, train.precision = {recipe.precision}:"
        f" {kinds[recipe.precision]}"
    )


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
