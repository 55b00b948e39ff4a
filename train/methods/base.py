"""Interface of a training method: its own parts, and its losses on a batch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from tmkt.networks import SpikingNetwork
from tmkt.recipe import MethodRecipe
from tmkt.train.objectives import classification


@dataclass(frozen=True)
class Batch:
    """The samples of one step, paired by class.

    `recordings`, the event stream, is float [T, B, 2, H, W], `labels` [B]. `images`, the static
    source, is float [B, 2, H, W] (still frames) or [T, B, 2, H, W] (simulated recordings); `static`
    and `stills` give it in one form. One of the two may be None: its stream raises ValueError then.

    Where recordings have replaced some images, `image_labels` [B] are the classes of the static
    stream, and `replaced_stills` [B, 2, H, W] the images as they were. `partners`, as `recordings`:
    others of the same classes, whose events are mixed into the images.
    """

    recordings: Tensor | None
    images: Tensor | None
    labels: Tensor
    image_labels: Tensor | None = None
    replaced_stills: Tensor | None = None
    partners: Tensor | None = None

    @property
    def events(self) -> Tensor:
        """The event stream [T, B, 2, H, W]."""
        if self.recordings is None:
            raise ValueError("this method needs recordings beside the images")
        return self.recordings

    @property
    def deployed(self) -> Tensor:
        """The stream that is deployed: that of events, or the static one where that is all."""
        return self.static if self.recordings is None else self.recordings

    @property
    def static(self) -> Tensor:
        """The static source as a stream [T, B, 2, H, W]; still frames repeat without a copy."""
        images = self._images()
        return images if images.dim() == 5 else images.expand(len(self.events), *images.shape)

    @property
    def stills(self) -> Tensor:
        """The static source without time, [B, 2, H, W]: the mean of simulated recordings."""
        images = self._images() if self.replaced_stills is None else self.replaced_stills
        return images if images.dim() == 4 else images.mean(0)

    def _images(self) -> Tensor:
        if self.images is None:
            raise ValueError("this method needs images beside the events")
        return self.images


@dataclass(frozen=True)
class Losses:
    """The losses of a step.

    `total`, the weighted sum, is minimised; `parts` are unweighted. `logits` [T, B, classes] are
    those of the deployed stream.
    """

    total: Tensor
    parts: dict[str, Tensor]
    logits: Tensor


@dataclass(frozen=True)
class Setting:
    """The surroundings of a method that prepares itself.

    `draw` draws the batch of a step, `folder` is the run's, and `fingerprint` is the hash of the
    data: what a method keeps in the folder is marked with it.
    """

    draw: Callable[[np.random.Generator, int], Batch]
    folder: Path
    seed: int
    fingerprint: bytes
    device: torch.device


class Method(nn.Module):
    """A training method: its own parts, which are not deployed, and its losses on a batch.

    It is made for a network on sequences of `steps` frames. `images` tells whether it learns from a
    static source; "optional": where one is given. `needs_recordings`: whether it learns from an
    event stream. `learns_from_features`: its losses need no more of a network than the head and its
    input, so that they can teach the head of a frozen one.
    """

    images: Literal["needed", "optional", "none"] = "needed"
    needs_recordings: bool = True
    learns_from_features: bool = False

    def __init__(self, recipe: MethodRecipe, net: SpikingNetwork, steps: int) -> None:  # noqa: ARG002
        super().__init__()
        self.recipe = recipe

    def classify(
        self, logits: Tensor, labels: Tensor, step_weights: Tensor | None = None
    ) -> Tensor:
        """Compute the classification loss that the recipe says, as `classification` does."""
        recipe = self.recipe
        return classification(logits, labels, recipe.loss, step_weights, recipe.label_smoothing)

    def prepare(self, setting: Setting) -> None:
        """Prepare before the first step of a training, or of its continuation.

        Keep in the run's folder what takes long.
        """

    def around_images(self, net: SpikingNetwork) -> AbstractContextManager[None]:  # noqa: ARG002
        """Give the context in which the network sees the static source by itself."""
        return nullcontext()

    def exchange(
        self,
        batch: Batch,
        rng: np.random.Generator,  # noqa: ARG002
        progress: float,  # noqa: ARG002
    ) -> Batch:
        """Exchange samples within the batch of a step, before several processes shard it."""
        return batch

    def losses(
        self, net: SpikingNetwork, batch: Batch, rng: np.random.Generator, progress: float
    ) -> Losses:
        """Compute the losses of one step, on this process's shard of an exchanged batch.

        `progress` is the share of all steps that are done, 0 <= progress < 1, for methods that
        change on the way.
        """
        raise NotImplementedError


def weighted(parts: dict[str, Tensor], weights: dict[str, float]) -> Tensor:
    """Add up the parts, each times its weight; the weight is 1 where none is given."""
    return torch.stack([weights.get(name, 1.0) * loss for name, loss in parts.items()]).sum()


@contextmanager
def without_running_statistics(net: nn.Module) -> Iterator[None]:
    """Let batch norm normalise by its batch without updating its running statistics.

    The running statistics are deployed, and a deployed network sees events alone (batch norm is
    kept apart for each domain).
    """
    norms = [module for module in net.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
