"""One step of a training: losses, gradients, the check for NaN, the optimiser."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from tmkt.errors import Diverged
from tmkt.networks import SpikingNetwork
from tmkt.recipe import TrainRecipe
from tmkt.train import distributed
from tmkt.train.health import first_layer_with_nan, gradients_finite
from tmkt.train.measure import accuracy
from tmkt.train.methods.base import Batch, Method
from tmkt.train.optimiser import learning_rate, set_rate


@dataclass(frozen=True)
class Learner:
    """The parts of a training that each step changes, and the recipe that it follows."""

    net: SpikingNetwork
    method: Method
    optimizer: torch.optim.Optimizer
    recipe: TrainRecipe
    device: torch.device


@dataclass(frozen=True)
class StepResult:
    """The outcome of a step.

    `metrics` holds the losses, the accuracy on the batch's deployed stream and the learning rate.
    `stop` tells that some process was asked to stop.
    """

    metrics: dict[str, float]
    stop: bool


def train_step(
    learner: Learner, batch: Batch, step: int, rng: np.random.Generator, stop: bool
) -> StepResult:
    """Train on this process's shard of a batch; `step` counts from 0.

    All processes share `stop` and the means of their metrics. Raises Diverged, with the step and
    the first layer, where the loss or a gradient is NaN or Inf.
    """
    recipe, optimizer, device = learner.recipe, learner.optimizer, learner.device
    bf16 = recipe.precision == "bf16"
    with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
        shard_rng = distributed.ShardGenerator(rng.bit_generator)
        losses = learner.method.losses(learner.net, batch, shard_rng, step / recipe.steps)
    rate = learning_rate(step, recipe)
    set_rate(optimizer, rate)
    optimizer.zero_grad(set_to_none=True)
    losses.total.backward()
    distributed.average_gradients(
        parameter for group in optimizer.param_groups for parameter in group["params"]
    )
    found = {
        "loss": losses.total,
        **{f"loss_{name}": value for name, value in losses.parts.items()},
        "accuracy": accuracy(losses.logits, batch.labels),
    }
    finite = gradients_finite(learner.net, learner.method)
    told = [torch.tensor(stop), finite, *(value.detach() for value in found.values())]
    # Read at once: the host waits for a GPU once a step.
    told = [value.to(device, torch.float64, non_blocking=True) for value in told]
    stops, all_finite, *means = distributed.mean_over_processes(torch.stack(told)).tolist()
    metrics = dict(zip(found, means, strict=True))
    if not (math.isfinite(metrics["loss"]) and all_finite == 1.0):
        _raise_diverged(learner, batch, step, metrics["loss"])
    optimizer.step()
    return StepResult({**metrics, "learning_rate": rate}, stops > 0)


def _raise_diverged(learner: Learner, batch: Batch, step: int, loss: float) -> None:
    where = first_layer_with_nan(learner.net, batch.deployed)
    with distributed.together():  # all processes are here: loss and gradients are those of all
        raise Diverged(
            f"training diverged at step {step + 1} (loss {loss:.3g}, first NaN or Inf in {where});"
            f" lower train.learning_rate = {learner.recipe.learning_rate}"
        )
