"""Data-parallel training: torchrun starts the processes, each trains on its shard of every batch.

All processes draw the same batch and take their shard of it. Statistics (batch norm, CKA) are those
of the whole batch and gradients are averaged, so the processes compute what one would. Gradients
are added in one sum after the backward pass: that is simple, and the order of sums never changes.
"""

import os
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from tmkt.errors import InputError
from tmkt.train.methods.base import Batch

# Processes wait this long for the first one while it trains a teacher or measures. If one fails,
# torchrun ends them all, so none waits in vain. Torch's own limit, 10 minutes on GPUs, would end
# them in the middle of a long teacher.
PATIENCE = timedelta(days=1)


def local_device() -> torch.device:
    """Give this process's GPU, or the CPU where there is none."""
    if torch.cuda.is_available():
        return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cpu")


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Connect the processes that torchrun started for the time of a training.

    Without torchrun there is nothing to connect. Each process computes on its own GPU from here on:
    the first thing that they wait for together must not meet them all on the first one.
    """
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if int(os.environ.get("WORLD_SIZE", "1")) == 1 or dist.is_initialized():
        yield
        return
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield
    except BaseException:
        # torchrun ends all processes as soon as one has ended; these end by themselves, with the
        # line that says why.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise
    finally:
        dist.destroy_process_group()


def rank() -> int:
    """Give this process's number. Process 0 writes the run and reports."""
    return dist.get_rank() if dist.is_initialized() else 0


def world_size() -> int:
    """Give the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def together() -> Iterator[None]:
    """End all processes alike where one fails: none waits for it, or meets a broken connection.

    What the lowest of the processes that failed found is raised there, and the others end with
    SystemExit, silently: that error is told once. Nothing in this context may wait for others.
    """
    failed: Exception | None = None
    try:
        yield
    except (InputError, OSError, MemoryError) as error:
        failed = error
    if world_size() > 1:
        lowest = torch.tensor(world_size() if failed is None else rank(), device=local_device())
        dist.all_reduce(lowest, dist.ReduceOp.MIN)
        if int(lowest) not in (rank(), world_size()):
            raise SystemExit(2)
    if failed is not None:
        raise failed


def by_the_first(work: Callable[[], object]) -> None:
    """Let process 0 do something; where it fails, all processes end."""
    with together():
        if rank() == 0:
            work()


def check_batch_size(batch: int) -> None:
    """Raise InputError if the batch cannot be cut into equal shards."""
    if batch % world_size():
        raise InputError(
            f"train.batch: {batch}, expected a multiple of the {world_size()} processes; change it,"
            " or torchrun's --nproc-per-node"
        )


def shard(batch: Batch) -> Batch:
    """Take this process's samples of a batch that all processes have drawn."""
    if world_size() == 1:
        return batch
    size = len(batch.labels) // world_size()
    mine = slice(rank() * size, (rank() + 1) * size)

    def own(samples: torch.Tensor | None) -> torch.Tensor | None:
        if samples is None:
            return None
        return samples[:, mine].contiguous() if samples.dim() == 5 else samples[mine]

    return Batch(
        recordings=own(batch.recordings),
        images=own(batch.images),
        labels=batch.labels[mine],
        image_labels=own(batch.image_labels),
        replaced_stills=own(batch.replaced_stills),
        partners=own(batch.partners),
    )


class ShardGenerator(np.random.Generator):
    """Generator that draws for the whole batch and gives the numbers of this process's shard.

    Only for uniform numbers, one a sample, with the samples along the last axis.
    """

    def random(self, size: Any = None, *arguments: Any, **options: Any) -> Any:
        """Draw uniform numbers of the shape `size`, which is the shard's."""
        if size is None or world_size() == 1:
            return super().random(size, *arguments, **options)
        *others, samples = (size,) if isinstance(size, int) else size
        drawn = super().random((*others, samples * world_size()), *arguments, **options)
        return drawn[..., rank() * samples : (rank() + 1) * samples]


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace the gradients of every process by their mean over all processes."""
    if world_size() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    sizes = [gradient.numel() for gradient in gradients]
    for gradient, mean in zip(gradients, (flat / world_size()).split(sizes), strict=True):
        gradient.copy_(mean.view_as(gradient))


def mean_over_processes(values: torch.Tensor) -> torch.Tensor:
    """Average each of the values, float64 [N], over all processes."""
    if world_size() == 1:
        return values
    dist.all_reduce(values)
    return values / world_size()
