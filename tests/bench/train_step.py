"""One step of training (forward, loss, backward, AdamW), ours against plain SpikingJelly: the
N-MNIST recipe's network on events alone, and VGGSNN.

Both start from the same weights and get the same batch and the same loss; drawing and augmenting
the batch is on neither side. VGGSNN is Knowledge Transfer's at 48x48 with two streams of four
samples; memory is the peak of a process that does nothing else.
"""

import multiprocessing
import resource
from collections.abc import Callable, Iterator

import torch
from networks import (
    VGGSNN_CLASSES,
    VGGSNN_SHAPE,
    VGGSNN_STEPS,
    nmnist_frames,
    nmnist_network,
    random_frames,
    sequential,
)
from report import Comparison, Options, Table, alternate, main, ms
from spikingjelly.activation_based import functional
from torch.nn import functional as F

from tmkt import console
from tmkt.networks import SpikingNetwork
from tmkt.recipe import NetworkRecipe, TrainRecipe, load_recipe
from tmkt.train import RECIPES
from tmkt.train.optimiser import make_optimizer

VGGSNN_BATCH, DENSITY = 4, 0.05
Step = Callable[[], torch.Tensor]


def benchmark(options: Options) -> Iterator[Table]:
    batch = load_recipe("nmnist-fewshot", RECIPES).train.batch
    yield _table(
        "train-step",
        f"the N-MNIST network, T = 10, batch {batch}",
        _nmnist_steps(batch),
        9,
        options,
        [],
    )
    if options.quick:
        return
    console.note("VGGSNN's training step ...")
    memory = []
    for side in ("ours", "SpikingJelly"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            memory.append(pool.apply(_peak, (side, options.threads)))
    name = f"VGGSNN 48x48, T = {VGGSNN_STEPS}, two streams, batch {VGGSNN_BATCH}"
    yield _table("train-step-vggsnn", name, _vggsnn_steps(), 3, options, memory)


def _table(
    case: str, name: str, steps: dict[str, Step], rounds: int, options: Options, memory: list[float]
) -> Table:
    losses = [
        float(step().detach()) for step in steps.values()
    ]  # the first step starts from the same weights
    if abs(losses[0] / losses[1] - 1) > 0.02:
        raise AssertionError(f"the two networks' losses differ: {losses}")
    seconds = alternate(steps, rounds)
    rows = [
        [side, ms(s), *([f"{memory[i]:.2f}"] if memory else [])]
        for i, (side, s) in enumerate(seconds.items())
    ]
    return Table(
        f"A training step of {name}",
        ["", "ms a step", *(["GB at its peak, Python and torch included"] if memory else [])],
        rows,
        [Comparison(f"{case}/ours-vs-spikingjelly", seconds["ours"], seconds["SpikingJelly"])],
        [
            f"threads: {options.threads} each, on the CPU, float32; losses before the first update:"
            f" {losses[0]:.4f} and {losses[1]:.4f}"
        ],
    )


def _nmnist_steps(batch: int) -> dict[str, Step]:
    x = torch.from_numpy(nmnist_frames(batch)).float().transpose(0, 1).contiguous()
    return _steps(nmnist_network, x, torch.arange(batch) % 10, streams=1)


def _vggsnn() -> SpikingNetwork:
    torch.manual_seed(0)
    return SpikingNetwork(NetworkRecipe(name="vggsnn"), VGGSNN_SHAPE, VGGSNN_CLASSES)


def _vggsnn_steps(only: str | None = None) -> dict[str, Step]:
    frames = random_frames((VGGSNN_STEPS, VGGSNN_BATCH, *VGGSNN_SHAPE), DENSITY)
    return _steps(
        _vggsnn, torch.from_numpy(frames).float(), torch.arange(VGGSNN_BATCH), streams=2, only=only
    )


def _steps(
    make: Callable[[], SpikingNetwork],
    x: torch.Tensor,
    labels: torch.Tensor,
    streams: int,
    only: str | None = None,
) -> dict[str, Step]:
    """A step on the sum of the streams' losses; every stream is a forward pass of its own, as the
    methods do it.
    """
    steps: dict[str, Step] = {}
    if only != "SpikingJelly":
        net = make().train()
        steps["ours"] = _step(net, lambda: net(x).logits, labels, streams)
    if only != "ours":
        other = sequential(make(), folded=False).train()

        def forward() -> torch.Tensor:
            functional.reset_net(other)
            logits: torch.Tensor = other(x)
            return logits

        steps["SpikingJelly"] = _step(other, forward, labels, streams)
    return steps


def _step(net: torch.nn.Module, forward: Step, labels: torch.Tensor, streams: int) -> Step:
    optimizer = make_optimizer(net, torch.nn.Module(), TrainRecipe(steps=1, learning_rate=1e-4))

    def step() -> torch.Tensor:
        total = torch.stack(
            [F.cross_entropy(forward().mean(0), labels) for _ in range(streams)]
        ).sum()
        optimizer.zero_grad(set_to_none=True)
        total.backward()
        optimizer.step()
        return total

    return step


def _peak(side: str, threads: int) -> float:
    """GB that the process of three steps holds at most."""
    torch.set_num_threads(threads)
    step = _vggsnn_steps(side)[side]
    for _ in range(3):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    main(benchmark)
