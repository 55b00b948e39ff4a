"""One step of training (forward, loss, backward, AdamW) on the N-MNIST recipe's network, of events alone: ours against plain SpikingJelly.

Both start from the same weights and get the same batch and the same loss; drawing and augmenting the batch is on neither side.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from networks import nmnist_frames, nmnist_network, sequential
from report import Comparison, Options, Table, alternate, main, ms
from spikingjelly.activation_based import functional
from torch.nn import functional as F

from tmkt.recipe import load_recipe
from tmkt.train import RECIPES
from tmkt.train.methods import METHODS, Batch
from tmkt.train.trainer import make_optimizer

ROUNDS = 9


def benchmark(options: Options) -> Iterator[Table]:
    recipe = load_recipe("nmnist-fewshot", RECIPES, ["method.name=target-only"])
    x = torch.from_numpy(nmnist_frames(recipe.train.batch)).float().transpose(0, 1).contiguous()
    labels = torch.arange(recipe.train.batch) % 10
    net, other = nmnist_network().train(), sequential(nmnist_network(), folded=False).train()
    method, rng = METHODS[recipe.method.name](recipe.method, net, recipe.data.bins), np.random.default_rng(0)

    def ours() -> torch.Tensor:
        return method.losses(net, Batch(x, None, labels), rng, 0.0).total

    def theirs() -> torch.Tensor:
        functional.reset_net(other)
        return F.cross_entropy(other(x).mean(0), labels)

    if not torch.allclose(ours(), theirs(), rtol=1e-4):
        raise AssertionError("the two networks' losses differ")
    runs = {"ours": _step(ours, net, recipe.train), "SpikingJelly": _step(theirs, other, recipe.train)}
    seconds = alternate(runs, ROUNDS)
    yield Table(
        f"A training step of the N-MNIST network, T = {len(x)}, batch {recipe.train.batch}",
        ["", "ms a step"],
        [[name, ms(s)] for name, s in seconds.items()],
        [Comparison("train-step/ours-vs-spikingjelly", seconds["ours"], seconds["SpikingJelly"])],
        [f"threads: {options.threads} each, on the CPU; losses equal before the first step"],
    )


def _step(loss: Callable[[], torch.Tensor], net: torch.nn.Module, recipe: object) -> Callable[[], None]:
    optimizer = make_optimizer(list(net.parameters()), recipe)

    def step() -> None:
        total = loss()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main(benchmark)
