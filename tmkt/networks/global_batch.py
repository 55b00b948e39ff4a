"""Sums and batches over all processes of a distributed training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather  # the one that gradients pass through


def many_processes() -> bool:
    """Return whether several processes share this training."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def all_reduced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sum values over all processes, on the CPU (gloo). In one process, return the values
    themselves.
    """
    if not many_processes():
        return values
    total = torch.from_numpy(values)
    distributed.all_reduce(total)
    return values


def whole_batch(x: Tensor, dim: int) -> Tensor:
    """Concatenate the samples of all processes, in their order, along `dim`.

    Gradients go back to the process that a sample came from.
    """
    return torch.cat(all_gather(x.contiguous()), dim) if many_processes() else x
