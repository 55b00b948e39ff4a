"""Residual networks (and SCNN), small enough for every engine, with made-up weights under which
every layer spikes at a rate of its own.
"""

from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from tmkt.networks import SpikingNetwork, resnet
from tmkt.networks.norm import BatchNorm
from tmkt.recipe import NetworkRecipe


def make_residual(
    name: str = "sew-resnet18",
    shape: tuple[int, int, int] = (2, 17, 19),
    channels: tuple[int, ...] = (4, 5, 6, 8),
    tau: float = 2.0,
    seed: int = 0,
) -> SpikingNetwork:
    """An untrained network in evaluation mode; batch norms that keep every layer between a few and
    thirty per cent.

    `channels` of the four stages, of ResNet-18 too, which a recipe has in one size only.
    """
    torch.manual_seed(seed)
    widths = list(channels) if name == "sew-resnet18" else []
    with mock.patch.object(resnet, "STAGES", channels):
        net = SpikingNetwork(
            NetworkRecipe(name=name, channels=widths, tau=tau, threshold=0.5), shape, 4
        )  # type: ignore[arg-type]
    net.train()
    if name == "scnn":  # has no batch norm that would keep it firing
        for weight in net.parameters():
            weight.data *= 3
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.weight.data.uniform_(0.8, 1.5)
            module.bias.data.uniform_(0.0, 0.4)
            module.momentum = 0.5
    with torch.no_grad():
        for _ in range(3):
            net((torch.rand(6, 4, *shape) < 0.15).float())
    return net.eval()


def residual_run(
    net: SpikingNetwork, frames: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.uint8]]]:
    """The network in torch: logits summed over T [N, K], and the spikes of every layer [N, T,
    *shape].
    """
    spikes: dict[str, NDArray[np.uint8]] = {}

    def keep(name: str):
        def hook(_module: torch.nn.Module, _inputs: object, out: torch.Tensor) -> None:
            spikes[name] = out.transpose(0, 1).numpy().astype(np.uint8)

        return hook

    hooks = [
        neuron.register_forward_hook(keep(name)) for name, neuron in net.spiking_layers().items()
    ]
    with torch.no_grad():
        logits = net(torch.from_numpy(frames).float().transpose(0, 1)).logits.sum(0).numpy()
    for hook in hooks:
        hook.remove()
    return logits, spikes
