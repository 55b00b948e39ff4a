"""SEW-ResNet-18 (Fang et al., arXiv 2102.04159) with added spikes: a residual network that can be
deployed.

All values between layers are sums of spikes. A layer behind such a sum gets one synapse from each
term of the sum, all with the same weights, which is what a chip computes.

Stem and pooling are ours. The stem is 3x3 with stride 1 for small sensors (the paper's is for
ImageNet). An average over square windows, as large as the shorter side of the map, replaces the
global average and equals it on square maps.
"""

from torch import Tensor, nn

from tmkt.networks.backbone import Backbone, average_pool, convolve, map_size, need_map
from tmkt.networks.lif import LIF
from tmkt.networks.norm import BatchNorm
from tmkt.networks.resnet import STAGES
from tmkt.recipe import NetworkRecipe


class SpikingConv(nn.Module):
    """Convolution, batch norm, LIF."""

    def __init__(
        self,
        channels_in: int,
        channels_out: int,
        kernel: int,
        stride: int,
        recipe: NetworkRecipe,
        last: bool = False,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
        )
        self.bn = BatchNorm(channels_out)
        self.neuron = LIF(recipe, store_v_seq=last)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.neuron(convolve(self.conv, x), self.bn)
        return y


class SewBlock(nn.Module):
    """Two spiking 3x3 convolutions, added to the spikes of the input.

    The input goes through a spiking 1x1 convolution where the shape changes.
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
        self.first = SpikingConv(channels_in, channels_out, 3, stride, recipe)
        self.second = SpikingConv(
            channels_out, channels_out, kernel=3, stride=1, recipe=recipe, last=last
        )
        changes = stride > 1 or channels_in != channels_out
        self.shortcut = (
            SpikingConv(channels_in, channels_out, 1, stride, recipe) if changes else nn.Identity()
        )
        self.pool = pool

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return average_pool(y, self.pool) if self.pool > 1 else y


def sew_resnet18(recipe: NetworkRecipe, input_shape: tuple[int, int, int]) -> Backbone:
    """Build a spiking 3x3 convolution to 64 channels, four stages of two blocks, and average
    pooling.

    `recipe.channels` may give other widths.
    """
    widths = recipe.channels or STAGES
    channels, size = widths[0], input_shape[1:]
    blocks: list[nn.Module] = [SpikingConv(input_shape[0], channels, 3, 1, recipe)]
    sizes = []
    for stage in range(len(widths)):
        size = map_size(size, stride=2 if stage else 1)
        sizes.append(size)
    need_map(size, input_shape, "strides")
    pool = min(size)
    for stage, out in enumerate(widths):
        for block in range(2):
            last = block == 1 and stage == len(widths) - 1
            blocks.append(
                SewBlock(
                    channels,
                    out,
                    stride=2 if stage and not block else 1,
                    pool=pool if last else 1,
                    recipe=recipe,
                    last=last,
                )
            )
            channels = out
    aligned = blocks[-1].get_submodule("second.neuron")
    assert isinstance(aligned, LIF)
    return Backbone(blocks, channels * (size[0] // pool) * (size[1] // pool), aligned)
