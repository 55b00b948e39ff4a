"""A network of one family: spiking blocks and a linear head. The answer is the mean of the logits
over time.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tmkt.networks.backbone import Backbone
from tmkt.networks.lif import LIF
from tmkt.networks.norm import BatchNorm, statistics_kept
from tmkt.networks.resnet import resnet18
from tmkt.networks.scnn import scnn
from tmkt.networks.sew_resnet import sew_resnet18
from tmkt.networks.vgg import small, vggsnn
from tmkt.recipe import NetworkRecipe

FAMILIES = {
    "small": small,
    "vggsnn": vggsnn,
    "resnet18": resnet18,
    "sew-resnet18": sew_resnet18,
    "scnn": scnn,
}


class NetworkOutput(NamedTuple):
    """The output of a forward pass over T steps and B samples.

    `logits` [T, B, classes]; `features` [T, B, F], the input of the classifier; `membrane` [T, B,
    ...], what the alignment losses read, as in Knowledge Transfer: the membranes of the last
    spiking layer after their reset, or the features of ResNet-18.
    """

    logits: Tensor
    features: Tensor
    membrane: Tensor


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """Return the contexts of a block's forward pass and of its recomputation."""
    return nullcontext(), statistics_kept(block)


class SpikingNetwork(nn.Module):
    """The network that `recipe.name` names, for inputs [C, H, W].

    Raises InputError if its maps shrink to nothing.
    """

    def __init__(
        self, recipe: NetworkRecipe, input_shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        backbone: Backbone = FAMILIES[recipe.name](recipe, input_shape)
        self.blocks = nn.ModuleList(backbone.blocks)
        for module in self.blocks.modules():
            if isinstance(module, BatchNorm):
                module.per_step = recipe.norm == "per-step"
        self._aligned = [backbone.aligned]  # in a list, so that it is not registered a second time
        self.features = backbone.features
        self.head = nn.Linear(self.features, classes)
        # whether training keeps only the blocks' inputs, and computes the rest again in the
        # backward pass
        self.recompute = False

    def spiking_layers(self) -> dict[str, LIF]:
        """Return all neurons by their names in an export.

        The names are conv1, conv2, ..., and conv2_1, conv2_2, ... in a block with several.
        """
        layers: dict[str, LIF] = {}
        for i, block in enumerate(self.blocks, 1):
            found = [module for module in block.modules() if isinstance(module, LIF)]
            layers |= {
                f"conv{i}" if len(found) == 1 else f"conv{i}_{k}": one
                for k, one in enumerate(found, 1)
            }
        return layers

    def forward(self, x: Tensor) -> NetworkOutput:
        """Run `x` float [T, B, C, H, W] from states of zero."""
        for i, block in enumerate(self.blocks):
            if (
                self.recompute and self.training and i < len(self.blocks) - 1
            ):  # the last one's membranes are an output of their own
                x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block))
            else:
                x = block(x)
        features = x.flatten(2)
        logits = self.head(features).float()
        aligned = self._aligned[0]
        if aligned is None:
            return NetworkOutput(logits, features, features)
        assert isinstance(aligned.v_seq, Tensor)
        return NetworkOutput(logits, features, aligned.v_seq)
