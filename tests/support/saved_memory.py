"""Bytes that Knowledge Transfer's step keeps for its backward pass, counted as torch keeps them and
on paper.
"""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from tmkt.networks import SpikingNetwork
from tmkt.networks.vgg import VGGSNN_CHANNELS, VGGSNN_POOLS
from tmkt.recipe import MethodRecipe, NetworkRecipe
from tmkt.train.methods.base import Batch
from tmkt.train.methods.kt import KnowledgeTransfer

SIDE, STEPS, PAIRS = 48, 10, 120  # of the published step


def kept_bytes(net: SpikingNetwork, losses: Callable[[], Tensor]) -> int:
    """Run a forward pass and count the bytes of all tensors that its backward pass needs.

    Each storage counts once. Where blocks are computed again, their inputs are counted, which no
    hook sees.
    """
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage  # held, so that no other one gets its place
        return tensor

    def keep_input(_module: nn.Module, inputs: tuple[Tensor]) -> None:
        keep(inputs[0])

    blocks = net.blocks if net.recompute else []
    hooks = [block.register_forward_pre_hook(keep_input) for block in blocks]
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        total = losses()
    for hook in hooks:
        hook.remove()
    assert total.requires_grad
    return sum(storage.nbytes() for storage in kept.values())


def kt_bytes_per_pair_and_step(
    device: torch.device, precision: str, again: bool, side: int = SIDE
) -> float:
    """Count what KT's step on VGGSNN keeps for each pair and time step of `side` x `side` pixels.

    It is what grows with the batch: a step of 4 pairs keeps so much more than one of 2. `again`:
    blocks are computed again in the backward pass (train.recompute).
    """
    # On a CPU, batch norm over all steps at once keeps what that of a GPU does in either form.
    norm = "per-step" if device.type == "cuda" else "whole"
    torch.manual_seed(0)
    recipe = NetworkRecipe(name="vggsnn", surrogate="triangle", norm=norm)
    net = SpikingNetwork(recipe, (2, side, side), 10).to(device).train()
    net.recompute = again
    method = KnowledgeTransfer(MethodRecipe(name="kt"), net, 1).to(device)
    kept = []
    for pairs in (2, 4):
        batch = Batch(
            recordings=(torch.rand(1, pairs, 2, side, side, device=device) < 0.1).float(),
            images=torch.rand(pairs, 2, side, side, device=device),
            labels=torch.arange(pairs, device=device),
        )

        def losses(batch: Batch = batch) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
                return method.losses(net, batch, np.random.default_rng(0), 0.1).total

        kept.append(kept_bytes(net, losses))
    return (kept[1] - kept[0]) / 2


def memory_gb(device: torch.device) -> dict[str, float]:
    """Count GB of the published step, 120 pairs and 10 time steps, by precision."""
    found = {}
    for precision in ("fp32", "bf16"):
        for again in (False, True):
            name = f"{precision}, computed again" if again else precision
            each = kt_bytes_per_pair_and_step(device, precision, again)
            found[name] = each * PAIRS * STEPS / 1e9
    return found


def vggsnn_values(side: int) -> tuple[int, int]:
    """Count on paper what VGGSNN's convolutions take in and give out, a sample and time step."""
    taken, given, before = 0, 0, 2
    for channels, pool in zip(VGGSNN_CHANNELS, VGGSNN_POOLS, strict=True):
        taken += before * side**2
        given += channels * side**2
        before, side = channels, side // pool
    return taken, given
