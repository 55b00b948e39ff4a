"""Sums and batches over all processes of a distributed training."""

import torch
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather  # the one that gradients pass through


def many_processes() -> bool:
    """Return whether several processes share this training."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def processes() -> int:
    """Return the number of processes that share this training."""
    return distributed.get_world_size() if many_processes() else 1


def all_reduced(values: Tensor) -> Tensor:
    """Sum values over all processes. In one process, return the values themselves."""
    if many_processes():
        distributed.all_reduce(values)
    return values


def whole_batch(x: Tensor, dim: int) -> Tensor:
    """Concatenate the samples of all processes, in their order, along `dim`.

    Gradients go back to the process that a sample came from.
    """
    return torch.cat(all_gather(x.contiguous()), dim) if many_processes() else x
