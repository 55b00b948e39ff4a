"""SCNN of Knowledge Transfer for N-Omniglot (arXiv 2303.13077, model_zoo/scnn.py)."""

from torch import Tensor, nn

from tmkt.networks.backbone import Backbone, average_pool, convolve, map_size, need_map
from tmkt.networks.lif import LIF
from tmkt.recipe import NetworkRecipe

CHANNELS, HIDDEN = (15, 40), 300


class PooledConv(nn.Module):
    """5x5 convolution without padding, bias or norm; LIF; 2x2 average."""

    def __init__(self, channels_in: int, channels_out: int, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 5, bias=False)
        nn.init.kaiming_normal_(self.conv.weight)
        self.neuron = LIF(recipe)

    def forward(self, x: Tensor) -> Tensor:
        return average_pool(self.neuron(convolve(self.conv, x)), 2)


class Hidden(nn.Module):
    """Dense layer and LIF."""

    def __init__(self, features: int, recipe: NetworkRecipe) -> None:
        super().__init__()
        self.linear = nn.Linear(features, HIDDEN)
        nn.init.uniform_(self.linear.weight, -0.1, 0.1)
        self.neuron = LIF(recipe, store_v_seq=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.neuron(self.linear(x.flatten(2)))
        return y


def scnn(recipe: NetworkRecipe, input_shape: tuple[int, int, int]) -> Backbone:
    """Build conv5x5 to 15, AP2, conv5x5 to 40, AP2, dense to 300, each with LIF.

    The hidden layer and the classifier have a bias here.
    """
    channels, size = input_shape[0], input_shape[1:]
    blocks: list[nn.Module] = []
    for out in CHANNELS:
        blocks.append(PooledConv(channels, out, recipe))
        channels, size = out, map_size(size, kernel=5, padding=0, pool=2)
    need_map(size, input_shape, "5x5 convolutions without padding and 2x2 pools")
    hidden = Hidden(channels * size[0] * size[1], recipe)
    return Backbone([*blocks, hidden], HIDDEN, hidden.neuron)
