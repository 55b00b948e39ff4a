"""ResNet-18 of Knowledge Transfer (arXiv 2303.13077, model_zoo/resnet.py).

It has pre-activation and an analog residual stream. It is here for comparison with the papers: a
chip cannot hold it, because its residual stream carries values that are not spikes. See
sew_resnet.py for one that can be deployed.
"""

from torch import Tensor, nn

from tmkt.networks.backbone import Backbone, convolve, map_size, need_map
from tmkt.networks.lif import LIF
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe

STAGES = (
    64,
    128,
    256,
    512,
)  # channels; two blocks each, the first of all stages but the first with stride 2


class Stem(nn.Module):
    """3x3 convolution."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self.conv, x)


class PreActivation(nn.Module):
    """Batch norm, LIF, convolution."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, stride: int, recipe: NetworkRecipe
    ) -> None:
        super().__init__()
        self.bn = BatchNorm(channels_in)
        self.neuron = LIF(recipe)
        self.conv = nn.Conv2d(
            channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False
        )

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self.conv, self.neuron(x, self.bn))


class ResidualBlock(nn.Module):
    """BN-LIF-conv3x3-BN-LIF-conv3x3 plus the input.

    The input goes through BN-LIF-conv1x1 where the shape changes.
    """

    def __init__(
        self, channels_in: int, channels_out: int, stride: int, recipe: NetworkRecipe
    ) -> None:
        super().__init__()
        self.first = PreActivation(channels_in, channels_out, 3, stride, recipe)
        self.second = PreActivation(channels_out, channels_out, 3, 1, recipe)
        changes = stride > 1 or channels_in != channels_out
        self.shortcut = (
            PreActivation(channels_in, channels_out, 1, stride, recipe)
            if changes
            else nn.Identity()
        )

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(self.first(x)) + self.shortcut(x)
        return y


class PooledNorm(nn.Module):
    """Batch norm and the mean over the map, without neurons before the classifier."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bn = BatchNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.bn.over_time(x).mean((3, 4))


def resnet18(recipe: NetworkRecipe, input_shape: tuple[int, int, int]) -> Backbone:
    """Build conv3x3 to 64 channels, four stages of two blocks, batch norm and global average.

    Weights are initialised by Kaiming's rule (fan out).
    """
    channels, size = STAGES[0], input_shape[1:]
    blocks: list[nn.Module] = [Stem(input_shape[0], channels)]
    for stage, out in enumerate(STAGES):
        for block in range(2):
            stride = 2 if stage and not block else 1
            blocks.append(ResidualBlock(channels, out, stride, recipe))
            channels, size = out, map_size(size, stride=stride)
    need_map(size, input_shape, "strides")
    blocks.append(PooledNorm(channels))
    for module in nn.ModuleList(blocks).modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return Backbone(blocks, channels, None)
