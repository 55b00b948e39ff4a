"""Networks as NIR graphs that snnTorch and Norse load, with batch norm folded."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.networks.lif import LIF
from tmkt.networks.norm import BatchNorm
from tmkt.networks.resnet import PooledNorm, PreActivation, ResidualBlock, Stem
from tmkt.networks.scnn import Hidden, PooledConv
from tmkt.networks.sew_resnet import SewBlock, SpikingConv
from tmkt.networks.vgg import Block
from tmkt.nir.errors import kind
from tmkt.nir.file import import_nir
from tmkt.nir.graph import DEFAULT_DT
from tmkt.nir.to_nir import flatten_node, metadata

if TYPE_CHECKING:
    import nir

Sum = tuple[str, ...]  # nodes whose outputs are added: NIR sums all edges into a node


def network_to_nir(net: SpikingNetwork, dt: float = DEFAULT_DT) -> "nir.NIRGraph":
    """Convert a network in evaluation mode to a NIR graph; `dt` is the length of a time step in
    seconds.

    Nodes: input, conv1_synapse (Conv2d with bias), conv1 (LIF), conv1_pool (SumPool2d, where the
    block pools), ..., flatten, readout (Affine), output. The network's logits are the mean of the
    read-out over the time steps. Neurons have the names that `SpikingNetwork.spiking_layers` gives.
    The additions of a residual network are several edges into a node. In the pre-activation ResNet
    a batch norm is a node of its own, a 1x1 Conv2d with diagonal weights: conv2_1_norm.

    SpikingJelly's h = v + (x - v) / tau is NIR's LIF with tau * dt, r = 1, v_leak = v_reset = 0.
    Its rule v >= threshold is in the metadata, as NIR itself says >. Average pooling becomes a sum,
    and its area is divided out of the next layer's weights: Norse does not know AvgPool2d, snnTorch
    only with pairs. Arrays are float32. InputError for a block or neurons without a form in NIR.
    """
    writer = _Writer(net, dt)
    x: Sum = ("input",)
    for i, block in enumerate(net.blocks, 1):
        x = writer.block(f"conv{i}", block, x)
    return writer.finish(net.head, x)


class _Writer:
    """Nodes and edges written so far. `areas`: of the windows that a node sums, where the network
    averages them.
    """

    def __init__(self, net: SpikingNetwork, dt: float) -> None:
        self.nir, self.dt = import_nir(), dt
        self.names = {id(neuron): name for name, neuron in net.spiking_layers().items()}
        self.nodes: dict[str, Any] = {"input": self.nir.Input({"input": np.array(net.input_shape)})}
        self.edges: list[tuple[str, str]] = []
        self.shapes: dict[str, tuple[int, ...]] = {"input": net.input_shape}
        self.areas: dict[str, int] = {}
        self.grouped = False

    def block(self, name: str, block: nn.Module, x: Sum) -> Sum:
        """Write a block that reads the sum of `x`; returns the sum that the next block reads."""
        if isinstance(block, Block):
            y = self.spiking_conv(block.conv, block.bn, block.neuron, x)
            if block.takes_max and block.pool > 1:
                return self.any_of(f"{name}_any", y, block.pool)
            return self.pool(y, block.pool)
        if isinstance(block, SpikingConv):
            return self.spiking_conv(block.conv, block.bn, block.neuron, x)
        if isinstance(block, SewBlock):
            first, second, shortcut = block.first, block.second, block.shortcut
            y = self.spiking_conv(first.conv, first.bn, first.neuron, x)
            y = self.spiking_conv(second.conv, second.bn, second.neuron, y)
            if isinstance(shortcut, SpikingConv):
                x = self.spiking_conv(shortcut.conv, shortcut.bn, shortcut.neuron, x)
            return self.pool((*y, *x), block.pool, f"{name}_pool")
        if isinstance(block, Stem):
            return self.conv(f"{name}_synapse", block.conv, None, x)
        if isinstance(block, ResidualBlock):
            y = self.pre_activation(block.second, self.pre_activation(block.first, x))
            return (
                *y,
                *(
                    self.pre_activation(block.shortcut, x)
                    if isinstance(block.shortcut, PreActivation)
                    else x
                ),
            )
        if isinstance(block, PooledNorm):  # its pool is in the read-out's weights
            return self.norm(f"{name}_norm", block.bn, x)
        if isinstance(block, PooledConv):
            return self.pool(self.spiking_conv(block.conv, None, block.neuron, x), 2)
        if isinstance(block, Hidden):
            name = self.names[id(block.neuron)]
            return self.lif(
                name,
                block.neuron,
                self.dense(f"{name}_synapse", block.linear, self.flatten(f"{name}_flatten", x)),
            )
        raise InputError(
            f"network: {name} is {kind(block)}, which has no form in NIR yet; train one"
            " of the networks of tmkt"
        )

    def finish(self, head: nn.Linear, x: Sum) -> "nir.NIRGraph":
        x = self.dense("readout", head, self.flatten("flatten", x))
        self.add(
            "output",
            self.nir.Output({"output": np.array([head.out_features])}),
            x,
            (head.out_features,),
        )
        said = metadata(self.dt, strict=False)
        # nir's own check of shapes is wrong for groups
        return self.nir.NIRGraph(self.nodes, self.edges, said, type_check=not self.grouped)

    def add(self, name: str, node: Any, x: Sum, shape: tuple[int, ...]) -> Sum:
        self.nodes[name], self.shapes[name] = node, shape
        self.edges += [(source, name) for source in x]
        return (name,)

    def area(self, x: Sum) -> int:
        [area] = {self.areas.get(source, 1) for source in x}
        return area

    def spiking_conv(self, conv: nn.Conv2d, norm: BatchNorm | None, neuron: LIF, x: Sum) -> Sum:
        name = self.names[id(neuron)]
        return self.lif(name, neuron, self.conv(f"{name}_synapse", conv, norm, x))

    def pre_activation(self, part: PreActivation, x: Sum) -> Sum:
        name = self.names[id(part.neuron)]
        return self.conv(
            f"{name}_out",
            part.conv,
            None,
            self.lif(name, part.neuron, self.norm(f"{name}_norm", part.bn, x)),
        )

    def conv(self, name: str, conv: nn.Conv2d, norm: BatchNorm | None, x: Sum) -> Sum:
        gain, offset = (
            (np.ones(conv.out_channels), np.zeros(conv.out_channels))
            if norm is None
            else gain_and_offset(norm)
        )
        weight = _float64(conv.weight) * gain[:, None, None, None] / self.area(x)
        if conv.bias is not None:
            offset = offset + gain * _float64(conv.bias)
        stride, padding, dilation = (
            tuple(int(n) for n in pair) for pair in (conv.stride, conv.padding, conv.dilation)
        )
        size = self.shapes[x[0]][1:]
        out = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(size, padding, dilation, weight.shape[2:], stride, strict=True)
        ]
        node = self.nir.Conv2d(
            size,
            weight.astype(np.float32),
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=conv.groups,
            bias=offset.astype(np.float32),
        )
        return self.add(name, node, x, (len(weight), *out))

    def norm(self, name: str, norm: BatchNorm, x: Sum) -> Sum:
        gain, offset = (values.astype(np.float32) for values in gain_and_offset(norm))
        shape = self.shapes[x[0]]
        # A diagonal and not a group a channel: nir's own check of shapes is wrong for groups.
        node = self.nir.Conv2d(
            shape[1:],
            np.diag(gain)[:, :, None, None],
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=1,
            bias=offset,
        )
        return self.add(name, node, x, shape)

    def dense(self, name: str, linear: nn.Linear, x: Sum) -> Sum:
        """Write a dense layer. With one weight a channel of the map before it, it reads the map's
        mean.
        """
        weight = _float64(linear.weight) / self.area(x)
        positions = self.shapes[x[0]][0] // linear.in_features
        weight = weight.repeat(positions, 1) / positions
        return self.add(
            name,
            self.nir.Affine(weight.astype(np.float32), _float64(linear.bias).astype(np.float32)),
            x,
            weight.shape[:1],
        )

    def flatten(self, name: str, x: Sum) -> Sum:
        shape, area = self.shapes[x[0]], self.area(x)
        self.areas[name] = area
        return self.add(name, flatten_node(shape), x, (int(np.prod(shape)),))

    def pool(self, x: Sum, size: int, name: str = "") -> Sum:
        if size == 1:
            return x
        name, two = name or f"{x[0]}_pool", np.array([size, size])
        channels, height, width = self.shapes[x[0]]
        self.areas[name] = size**2
        return self.add(
            name,
            self.nir.SumPool2d(two, two, np.array([0, 0])),
            x,
            (channels, height // size, width // size),
        )

    def any_of(self, name: str, x: Sum, size: int) -> Sum:
        """Write max pooling of spikes: neurons without a memory that fire where any of a window
        does.
        """
        summed = self.pool(x, size, f"{name}_pool")
        shape = self.shapes[summed[0]]
        ones = np.ones((shape[0], 1, 1, 1), np.float32)
        node = self.nir.Conv2d(
            shape[1:],
            ones,
            stride=(1, 1),
            padding=(0, 0),
            dilation=(1, 1),
            groups=shape[0],
            bias=np.zeros(shape[0], np.float32),
        )
        self.grouped = True
        y = self.add(f"{name}_synapse", node, summed, shape)
        values = (np.full(shape, value, np.float32) for value in (self.dt, 1, 0, 0.5, 0))
        return self.add(name, self.nir.LIF(*values), y, shape)

    def lif(self, name: str, neuron: LIF, x: Sum) -> Sum:
        if neuron.v_reset != 0 or not neuron.decay_input:
            found = f"v_reset={neuron.v_reset}, decay_input={neuron.decay_input}"
            raise InputError(
                f"network: a LIF with {found} cannot be exported, expected v_reset=0 and"
                " decay_input=True; train with those"
            )
        shape = self.shapes[x[0]]
        values = (
            np.full(shape, value, np.float32)
            for value in (neuron.tau * self.dt, 1, 0, neuron.v_threshold, 0)
        )
        return self.add(name, self.nir.LIF(*values), x, shape)


def gain_and_offset(norm: BatchNorm) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute gain [C] and offset [C] of a batch norm in evaluation mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    # NaN is refused, with its node, when the graph is read
    with np.errstate(invalid="ignore"):
        gain = _float64(norm.weight) / np.sqrt(_float64(norm.running_var) + norm.eps)
    return gain, _float64(norm.bias) - _float64(norm.running_mean) * gain


def _float64(tensor: Tensor) -> NDArray[np.float64]:
    return tensor.detach().double().cpu().numpy()
