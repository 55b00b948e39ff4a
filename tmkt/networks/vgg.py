"""Chains of spiking convolutions: the small family that a Loihi-style chip can hold, and VGGSNN."""

from itertools import pairwise

from torch import Tensor, nn

from tmkt.networks.backbone import Backbone, average_pool, convolve, map_size, max_pool, need_map
from tmkt.networks.lif import LIF
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe

# Knowledge Transfer's (arXiv 2303.13077, model_zoo/vgg_snn.py): 64, 128, AP2, 256, 256, AP2, 512,
# 512, AP2, 512, 512, AP2.
VGGSNN_CHANNELS = (64, 128, 256, 256, 512, 512, 512, 512)
VGGSNN_POOLS = (1, 2, 1, 2, 1, 2, 1, 2)


class Block(nn.Module):
    """3x3 convolution, batch norm, LIF, and pooling over `pool` x `pool` where pool > 1.

    It is the mean of a window's spikes, or with the recipe's `pooling` "max" whether any fired.
    """

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        stride: int,
        pool: int,
        recipe: NetworkRecipe,
        last: bool,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)
        self.bn = BatchNorm(channels_out)
        self.neuron = LIF(recipe, store_v_seq=last)
        self.pool, self.takes_max = pool, recipe.pooling == "max"

    def forward(self, x: Tensor) -> Tensor:
        """Map [T, B, C, H, W] to [T, B, C', H', W']."""
        y: Tensor = self.neuron(convolve(self.conv, x), self.bn)
        if self.pool == 1:
            return y
        return max_pool(y, self.pool) if self.takes_max else average_pool(y, self.pool)


def small(recipe: NetworkRecipe, input_shape: tuple[int, int, int]) -> Backbone:
    """Build one block for each entry of the recipe's `channels`, `strides` and `pools`."""
    return _chain(recipe, input_shape, recipe.channels, recipe.strides, recipe.pools)


def vggsnn(recipe: NetworkRecipe, input_shape: tuple[int, int, int]) -> Backbone:
    """Build Knowledge Transfer's VGGSNN."""
    return _chain(recipe, input_shape, VGGSNN_CHANNELS, [1] * len(VGGSNN_POOLS), VGGSNN_POOLS)


def _chain(
    recipe: NetworkRecipe,
    input_shape: tuple[int, int, int],
    channels: list[int] | tuple[int, ...],
    strides: list[int],
    pools: list[int] | tuple[int, ...],
) -> Backbone:
    size = input_shape[1:]
    blocks = []
    for i, (before, after) in enumerate(pairwise([input_shape[0], *channels])):
        blocks.append(
            Block(before, after, strides[i], pools[i], recipe, last=i == len(channels) - 1)
        )
        size = map_size(size, stride=strides[i], pool=pools[i])
    need_map(size, input_shape, f"strides {list(strides)} and pools {list(pools)}")
    return Backbone(blocks, channels[-1] * size[0] * size[1], blocks[-1].neuron)
