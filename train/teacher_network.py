"""The teacher's residual network (He et al., arXiv 1512.03385).

Its tensors have the names that torchvision and timm use.
"""

import re

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class _Block(nn.Module):
    """A residual block: two 3x3 convolutions, or a bottleneck of 1x1, 3x3 and 1x1.

    In a bottleneck the 3x3 convolution takes the stride, as in torchvision.
    """

    def __init__(self, kernels: tuple[int, ...], widths: tuple[int, ...], stride: int) -> None:
        super().__init__()
        self.depth = len(kernels)
        strided = self.depth - 2
        for i, kernel in enumerate(kernels):
            conv = nn.Conv2d(
                widths[i],
                widths[i + 1],
                kernel,
                stride if i == strided else 1,
                kernel // 2,
                bias=False,
            )
            self.add_module(f"conv{i + 1}", conv)
            self.add_module(f"bn{i + 1}", nn.BatchNorm2d(widths[i + 1]))
        self.downsample: nn.Sequential | None = None
        if stride != 1 or widths[0] != widths[-1]:
            self.downsample = nn.Sequential(
                nn.Conv2d(widths[0], widths[-1], 1, stride, bias=False), nn.BatchNorm2d(widths[-1])
            )

    def forward(self, x: Tensor) -> Tensor:
        y = x
        for i in range(1, self.depth + 1):
            y = self.get_submodule(f"bn{i}")(self.get_submodule(f"conv{i}")(y))
            y = F.relu(y) if i < self.depth else y
        return F.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet(nn.Module):
    """A residual network from images [B, channels, H, W] to logits [B, classes].

    `stages` lists the blocks of each stage, and a block is the list of its widths from the input
    on: two convolutions or three. A stem of 7x7 has stride 2 and is pooled by 2, as in torchvision;
    a stem of 3x3 does neither, as is usual for small images.
    """

    def __init__(
        self, channels: int, stem: int, stages: list[list[tuple[int, ...]]], classes: int
    ) -> None:
        super().__init__()
        self.channels, self.stem = channels, stem
        width = stages[0][0][0]
        self.conv1 = nn.Conv2d(channels, width, stem, 2 if stem == 7 else 1, stem // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.stages = len(stages)
        for i, blocks in enumerate(stages):
            made = [
                _Block((3, 3) if len(widths) == 3 else (1, 3, 1), widths, 2 if i and not j else 1)
                for j, widths in enumerate(blocks)
            ]
            self.add_module(f"layer{i + 1}", nn.Sequential(*made))
        self.fc = nn.Linear(stages[-1][-1][-1], classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        if self.stem == 7:
            x = F.max_pool2d(x, 3, 2, 1)
        for i in range(self.stages):
            x = self.get_submodule(f"layer{i + 1}")(x)
        logits: Tensor = self.fc(x.mean((2, 3)))
        return logits


def small_resnet(channels: int, width: int, classes: int) -> ResNet:
    """Make a ResNet for the small images of event cameras.

    It has three stages of one block each: `width` channels, twice and four times as many. The size
    is our choice.
    """
    stages: list[list[tuple[int, ...]]] = [
        [(width, width, width)],
        [(width, 2 * width, 2 * width)],
        [(2 * width, 4 * width, 4 * width)],
    ]
    return ResNet(channels, 3, stages, classes)


def resnet_from_tensors(tensors: dict[str, Tensor]) -> ResNet:
    """Build the network of a checkpoint's tensors, with these weights.

    Depth and widths are read off the tensors' names and shapes: ResNet-18, 34, 50, 101, 152 and
    Wide ResNet of torchvision and timm, with one, two or three input channels. Raises ValueError
    for tensors of anything else; nothing larger than the tensors themselves is allocated.
    """
    stages: list[list[tuple[int, ...]]] = []
    numbered = {}
    for name in tensors:
        if found := re.fullmatch(r"layer([1-9])\.(\d{1,3})\.conv([123])\.weight", name):
            numbered[tuple(int(number) for number in found.groups())] = tuple(tensors[name].shape)
    for (_, block, conv), shape in sorted(numbered.items()):
        if conv == 1:
            if block == 0:
                stages.append([])
            widths: tuple[int, ...] = shape[1::-1]
        else:
            widths = (*stages[-1].pop(), shape[0]) if stages and stages[-1] else ()
        if len(shape) != 4 or not stages or not widths:
            raise ValueError("has no layer1.0.conv1 and so on, each of four dimensions")
        stages[-1].append(widths)
    shapes = {
        name: tuple(tensors[name].shape)
        for name in ("conv1.weight", "fc.weight")
        if name in tensors
    }
    if (
        len(shapes) < 2
        or not stages
        or any(len(widths) < 3 for blocks in stages for widths in blocks)
    ):
        raise ValueError("has no conv1, layer1 and fc as a ResNet of torchvision or timm")
    if (
        len(shapes["conv1.weight"]) != 4
        or shapes["conv1.weight"][2] not in (3, 7)
        or shapes["conv1.weight"][1] not in (1, 2, 3)
    ):
        raise ValueError(
            f"conv1 has the shape {shapes['conv1.weight']}, expected 1 to 3 channels and a 3x3 or"
            " 7x7 kernel"
        )
    with torch.device("meta"):  # shapes first: a mismatch shows before anything is allocated
        net = ResNet(
            shapes["conv1.weight"][1], shapes["conv1.weight"][2], stages, shapes["fc.weight"][0]
        )
    wanted = {name: tensor.shape for name, tensor in net.state_dict().items()}
    for name in sorted(wanted.keys() | tensors.keys()):
        given = tuple(tensors[name].shape) if name in tensors else None
        expected = tuple(wanted[name]) if name in wanted else None
        if given != expected and not (given is None and name.endswith("num_batches_tracked")):
            raise ValueError(f"{name} has the shape {given}, expected {expected}")
    missing = {name: torch.tensor(0) for name in wanted.keys() - tensors.keys()}
    net.load_state_dict(
        {
            name: tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in (tensors | missing).items()
        },
        assign=True,
    )
    return net
