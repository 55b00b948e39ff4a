"""The optimiser of a training and the schedule of its learning rate."""

import math
from collections.abc import Iterable

import torch
from torch import nn

from tmkt.networks import SpikingNetwork
from tmkt.recipe import TrainRecipe


def learning_rate(step: int, recipe: TrainRecipe) -> float:
    """Give the rate of a step, counted from 0: a linear warm-up, then a cosine, or a step down.

    The steps of the head alone (train.head_share) and those of the whole network have a schedule
    each, as in LP-FT (Kumar et al. 2022), which trains twice.
    """
    steps = recipe.steps
    if head := recipe.frozen_steps:
        alone = step < head
        step -= 0 if alone else head
        steps = head if alone else steps - head
    highest, end = recipe.learning_rate, recipe.rate_end
    step -= step % recipe.rate_every
    if step < recipe.warmup_steps:
        risen = (step + 1) / recipe.warmup_steps
        return highest * (recipe.warmup_start + (1.0 - recipe.warmup_start) * risen)
    if recipe.schedule == "step":
        return highest * (1.0 if step < recipe.step_at * steps else end)
    share = (step - recipe.warmup_steps) / max(steps - recipe.warmup_steps, 1)
    return highest * (end + (1.0 - end) * (1.0 + math.cos(math.pi * share)) / 2.0)


def make_optimizer(
    net: SpikingNetwork, method: nn.Module, recipe: TrainRecipe
) -> torch.optim.Optimizer:
    """Make AdamW for a network and the parts of its method.

    Weight decay is for matrices and kernels, not for biases and batch norm. Each group of
    parameters has a `scale` for its learning rate: 1 for head and method, and times
    `train.layer_decay` from block to block towards the input, as in ELECTRA (Clark et al. 2020).
    """
    if recipe.layer_decay == 1.0:
        groups = _groups([*net.parameters(), *method.parameters()], recipe, 1.0)
    else:
        groups = _groups([*net.head.parameters(), *method.parameters()], recipe, 1.0)
        for below_head, block in enumerate(reversed(net.blocks), 1):
            groups += _groups(block.parameters(), recipe, recipe.layer_decay**below_head)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the learning rate of a step, of each group by its scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]


def _groups(
    parameters: Iterable[nn.Parameter], recipe: TrainRecipe, scale: float
) -> list[dict[str, object]]:
    every = list(parameters)
    return [
        {
            "params": [p for p in every if p.dim() > 1],
            "weight_decay": recipe.weight_decay,
            "scale": scale,
        },
        {"params": [p for p in every if p.dim() <= 1], "weight_decay": 0.0, "scale": scale},
    ]
