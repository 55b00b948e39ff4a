"""Many processes that train one network on shares of each batch, started by torchrun.

All draw the same batch and take their share of it; statistics (batch norm, CKA) are those of the
whole batch and gradients are averaged, so that they compute what one process would. Gradients go in
one sum after the backward pass: simple, and the order of sums is always the same.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np
import torch
from torch import distributed, nn

from tmkt.errors import InputError
from tmkt.train.methods.base import Batch

# How long processes wait for the first one while it trains a teacher, or measures. If one fails,
# torchrun ends them all, so none waits in vain; torch's own limit, 10 minutes on GPUs, would end
# them in the middle of a long teacher.
PATIENCE = timedelta(days=1)


def device() -> torch.device:
    """This process's GPU, else the CPU."""
    return (
        torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        if torch.cuda.is_available()
        else torch.device("cpu")
    )


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Connects the processes that torchrun started, for the time of a training; nothing happens
    without torchrun.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or distributed.is_initialized():
        yield
        return
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def rank() -> int:
    """Which of the processes this is; 0 writes and talks."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def wait_for_all() -> None:
    """Returns when all processes are here."""
    if count() > 1:
        distributed.barrier()


def check_batch(batch: int) -> None:
    """InputError where the batch has no equal shares."""
    if batch % count():
        raise InputError(
            f"train.batch: {batch}, expected a multiple of the {count()} processes; change it, or"
            " torchrun's --nproc-per-node"
        )


def share(batch: Batch) -> Batch:
    """This process's samples of a batch that all have drawn."""
    if count() == 1:
        return batch
    size = len(batch.labels) // count()
    mine = slice(rank() * size, (rank() + 1) * size)
    images = batch.images
    if images is not None:
        images = images[:, mine] if images.dim() == 5 else images[mine]
    return replace(
        batch, events=batch.events[:, mine].contiguous(), images=images, labels=batch.labels[mine]
    )


class SharedGenerator(np.random.Generator):
    """Draws for the whole batch and gives this process's share, for draws of a uniform number a
    sample, samples along the last axis.
    """

    def random(self, size: Any = None, *arguments: Any, **options: Any) -> Any:
        if size is None or count() == 1:
            return super().random(size, *arguments, **options)
        *others, samples = (size,) if isinstance(size, int) else size
        drawn = super().random((*others, samples * count()), *arguments, **options)
        return drawn[..., rank() * samples : (rank() + 1) * samples]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Every process's gradients become the mean of all."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    for gradient, mean in zip(
        gradients, (flat / count()).split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(mean.view_as(gradient))


def averaged(values: list[float], device: torch.device) -> list[float]:
    """The mean of all processes' values, one by one."""
    if count() == 1:
        return values
    total = torch.tensor(values, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return (total / count()).tolist()
