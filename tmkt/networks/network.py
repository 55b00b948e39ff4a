"""A family's spiking blocks and a linear head; the answer is the mean of the head's logits over the
time steps.
"""

from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import NamedTuple

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tmkt.networks.backbone import Backbone
from tmkt.networks.lif import LIF
from tmkt.networks.norm import statistics_kept
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
    """What a forward pass over T steps and B samples gives.

    `logits` [T, B, classes] of each step; `features` [T, B, F], what the classifier reads;
    `membrane` [T, B, ...], what the alignment losses read, as Knowledge Transfer does: the last
    spiking layer's membranes after their reset, of ResNet-18 the features.
    """

    logits: Tensor
    features: Tensor
    membrane: Tensor


def _contexts(
    block: nn.Module,
) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
    """In which a block runs, and runs again."""
    return nullcontext(), statistics_kept(block)


class SpikingNetwork(nn.Module):
    """The network that `recipe.name` says, for inputs [C, H, W]. InputError where its maps shrink
    to nothing.
    """

    def __init__(
        self, recipe: NetworkRecipe, input_shape: tuple[int, int, int], classes: int
    ) -> None:
        super().__init__()
        self.input_shape = input_shape
        backbone: Backbone = FAMILIES[recipe.name](recipe, input_shape)
        self.blocks = nn.ModuleList(backbone.blocks)
        self._aligned = [backbone.aligned]  # in a list, so that it is not registered a second time
        self.features = backbone.features
        self.head = nn.Linear(self.features, classes)
        # whether training keeps only the blocks' inputs, and computes the rest again in the
        # backward pass
        self.recompute = False

    def spiking_layers(self) -> dict[str, LIF]:
        """All neurons by the names that an export gives them: conv1, conv2, ..., in a block of
        several conv2_1, conv2_2, ...
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
        """`x` float [T, B, C, H, W]. States start at zero: every call is a new sample."""
        for i, block in enumerate(self.blocks):
            if (
                self.recompute and self.training and i < len(self.blocks) - 1
            ):  # the last one's membranes are an output of their own
                x = checkpoint(block, x, use_reentrant=False, context_fn=partial(_contexts, block))
            else:
                x = block(x)
        features = x.flatten(2)
        aligned = self._aligned[0]
        if aligned is None:
            return NetworkOutput(self.head(features), features, features)
        assert isinstance(aligned.v_seq, Tensor)
        return NetworkOutput(self.head(features), features, aligned.v_seq)
