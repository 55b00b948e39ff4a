"""Batch norm over the global batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, distributed, nn
from torch.distributed.nn.functional import all_reduce  # the one that gradients pass through
from torch.nn import functional as F

from tmkt.networks.global_batch import many_processes


class BatchNorm(nn.BatchNorm2d):
    """Batch norm whose statistics cover the samples of all processes.

    Several processes then compute what one would. In one process it equals torch's batch norm.
    torch's SyncBatchNorm does not run on a CPU.

    With `per_step`, training normalises each time step of a sequence by its own statistics, and
    moves the running statistics with each, as Knowledge Transfer's code does (arXiv 2303.13077,
    Transfer-for-DVS b07d5dc, which calls the layers step by step).
    """

    per_step = False

    @property
    def uses_batch(self) -> bool:
        """Tell whether it normalises by the current batch, not by the running statistics."""
        return self.training or not self.track_running_stats

    @property
    def parts_steps(self) -> bool:
        """Tell whether the steps of a sequence have statistics of their own."""
        return self.per_step and self.uses_batch

    def over_time(self, x: Tensor) -> Tensor:
        """Normalise a sequence [T, B, C, H, W], with T and B as one batch or step by step."""
        if self.parts_steps:
            return torch.stack([self(step) for step in x])
        y: Tensor = self(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        return y

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [N, C, H, W] over N, H and W, in float32."""
        x = x.float()
        if self.uses_batch and not self.training and not many_processes():
            # torch's would take the running statistics in evaluation mode all the same
            by_batch: Tensor = F.batch_norm(
                x, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
            return by_batch
        if not (self.uses_batch and many_processes()):
            normalised: Tensor = super().forward(x)
            return normalised
        count = x.numel() / x.shape[1] * distributed.get_world_size()
        sums = all_reduce(torch.stack([x.sum((0, 2, 3)), (x * x).sum((0, 2, 3))])) / count
        mean, variance = sums[0], (sums[1] - sums[0] ** 2).clamp_min(0.0)
        self.note(mean.detach().double(), variance.detach().double(), count)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        y: Tensor = x * scale.view(-1, 1, 1) + (self.bias - mean * scale).view(-1, 1, 1)
        return y

    def note(self, mean: Tensor, variance: Tensor, count: float) -> None:
        """Move the running statistics towards a batch's, float64 [C], as torch does (with the
        unbiased variance).
        """
        if not (self.training and self.track_running_stats):
            return
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        unbiased = variance * (count / max(count - 1.0, 1.0))
        for running, batch in ((self.running_mean, mean), (self.running_var, unbiased)):
            running.lerp_(batch.to(running), self.momentum)


@contextmanager
def statistics_kept(module: nn.Module) -> Iterator[None]:
    """Keep the running statistics unchanged within this context; normalisation is as usual."""
    norms = [
        one
        for one in module.modules()
        if isinstance(one, nn.BatchNorm2d) and one.track_running_stats and one.training
    ]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
