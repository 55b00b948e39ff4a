"""The optimiser of a training and the schedule of its learning rate."""

import math

import torch
from torch import nn

from tmkt.recipe import TrainRecipe


def learning_rate(step: int, recipe: TrainRecipe) -> float:
    """Give the rate of a step, counted from 0: a linear warm-up, then a cosine down to 1 %."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    share = (step - recipe.warmup_steps) / max(recipe.steps - recipe.warmup_steps, 1)
    return recipe.learning_rate * (0.01 + 0.99 * (1.0 + math.cos(math.pi * share)) / 2.0)


def make_optimizer(parameters: list[nn.Parameter], recipe: TrainRecipe) -> torch.optim.Optimizer:
    """Make AdamW, with weight decay on matrices and kernels but not on biases and batch norm."""
    decayed = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)
