"""What all processes of a training hold together, each a share of every batch."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.distributed.nn.functional import all_gather  # the one that gradients pass through


def many_processes() -> bool:
    """Whether this training is shared by several."""
    return (
        distributed.is_available()
        and distributed.is_initialized()
        and distributed.get_world_size() > 1
    )


def all_reduced(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of all processes' values; in one process the values themselves. On the CPU, so for
    the gloo backend.
    """
    if not many_processes():
        return values
    total = torch.from_numpy(values)
    distributed.all_reduce(total)
    return values


def whole_batch(x: Tensor, dim: int) -> Tensor:
    """All processes' samples, in their order, along `dim`; gradients go back to where they came
    from.
    """
    return torch.cat(all_gather(x.contiguous()), dim) if many_processes() else x
