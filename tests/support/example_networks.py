"""Networks with made-up batch norm statistics, so that nothing in a fold cancels out, and frames
for them.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from spikingjelly.activation_based import functional

from tmkt.networks import SpikingNetwork
from tmkt.recipe import NetworkRecipe


def make_network(
    shape: tuple[int, int, int] = (2, 34, 34),
    channels: tuple[int, ...] = (8, 12, 16),
    strides: tuple[int, ...] = (2, 1, 1),
    pools: tuple[int, ...] = (1, 2, 2),
    tau: float = 2.0,
    classes: int = 10,
    seed: int = 0,
) -> SpikingNetwork:
    """Build an untrained network whose layers all spike at a few per cent to a fifth."""
    torch.manual_seed(seed)
    recipe = NetworkRecipe(
        channels=list(channels), strides=list(strides), pools=list(pools), tau=tau, threshold=0.5
    )
    net = SpikingNetwork(recipe, shape, classes)
    for block in net.blocks:
        block.bn.weight.data.uniform_(0.8, 2.0)
        block.bn.bias.data.normal_(0, 0.3)
        block.bn.running_mean.normal_(0, 0.1)
        block.bn.running_var.uniform_(0.02, 0.2)
    return net.eval()


def make_frames(
    samples: int, steps: int, shape: tuple[int, int, int], max_count: int = 1, seed: int = 0
) -> NDArray[np.uint8]:
    """Sparse random event counts, uint8 [N, T, C, H, W]."""
    rng = np.random.default_rng(seed)
    return (rng.random((samples, steps, *shape)) < 0.06).astype(np.uint8) * rng.integers(
        1, max_count + 1, (samples, steps, *shape)
    ).astype(np.uint8)


def torch_run(
    net: SpikingNetwork, frames: NDArray[np.uint8]
) -> tuple[NDArray[np.float32], dict[str, NDArray[np.uint8]]]:
    """The network itself in torch: logits summed over T [N, K], and the spikes of every block [N,
    T, C, H, W] before its pool.
    """
    spikes: dict[str, NDArray[np.uint8]] = {}

    def keep(name: str):
        def hook(_module: torch.nn.Module, _inputs: object, out: torch.Tensor) -> None:
            spikes[name] = out.transpose(0, 1).numpy().astype(np.uint8)

        return hook

    hooks = [
        block.neuron.register_forward_hook(keep(f"conv{i + 1}"))
        for i, block in enumerate(net.blocks)
    ]
    with torch.no_grad():
        functional.reset_net(net)
        logits = net(torch.from_numpy(frames).float().transpose(0, 1)).logits.sum(0).numpy()
    for hook in hooks:
        hook.remove()
    return logits, spikes
