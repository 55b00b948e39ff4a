"""What a training method is: its own parts, and its losses on a batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe


@dataclass(frozen=True)
class Batch:
    """One step's samples, paired by class: `events` float [T, B, 2, H, W], the static source
    `images` or None, `labels` [B].

    `images` is float [B, 2, H, W], still frames, or [T, B, 2, H, W], simulated recordings; `static`
    and `stills` give either form.
    """

    events: Tensor
    images: Tensor | None
    labels: Tensor

    @property
    def static(self) -> Tensor:
        """The static source as a stream [T, B, 2, H, W]: still frames are repeated (without a
        copy).
        """
        images = self._images()
        return images.expand(len(self.events), *images.shape) if images.dim() == 4 else images

    @property
    def stills(self) -> Tensor:
        """The static source without time, [B, 2, H, W]: of simulated recordings the mean over the
        steps.
        """
        images = self._images()
        return images if images.dim() == 4 else images.mean(0)

    def _images(self) -> Tensor:
        if self.images is None:
            raise ValueError("this method needs images beside the events")
        return self.images


@dataclass(frozen=True)
class Losses:
    """The weighted `total` to minimise, its `parts` unweighted, and the `logits` [T, B, classes] of
    the event stream.
    """

    total: Tensor
    parts: dict[str, Tensor]
    logits: Tensor


@dataclass(frozen=True)
class Setting:
    """Where a method works: `draw` gives a batch from a generator, `folder` is the run's,
    `fingerprint` names the data (for what is kept).
    """

    draw: Callable[[np.random.Generator], Batch]
    folder: Path
    seed: int
    fingerprint: bytes
    device: torch.device


class Method(nn.Module):
    """A method's own parts, which are not deployed, and its losses on a batch.

    Made for a network on sequences of `steps` frames. `needs_images`: whether it uses a static
    source.
    """

    needs_images: bool = True

    def __init__(self, recipe: MethodRecipe, net: SpikingNetwork, steps: int) -> None:  # noqa: ARG002
        super().__init__()
        self.recipe = recipe

    def prepare(self, setting: Setting) -> None:
        """Called once before the first step of a training or of its continuation; what takes long
        is kept in the run's folder.
        """

    def losses(
        self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator, progress: float
    ) -> Losses:
        """The losses of one step. `progress` is the share of all steps that are done, 0 <= progress
        < 1, for methods that change on the way.
        """
        raise NotImplementedError


def weighted(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """The sum of the parts, each times its weight; 1 where none is given."""
    return torch.stack([weights.get(name, 1.0) * loss for name, loss in parts.items()]).sum()


@contextmanager
def without_running_statistics(net: nn.Module) -> Iterator[None]:
    """Batch norm normalises by its batch, but keeps no trace of it in its running statistics.

    These are what is deployed, and a deployed network sees events alone (batch norm kept apart for
    each domain).
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
