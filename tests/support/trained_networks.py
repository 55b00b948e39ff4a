"""Tiny networks trained on event streams of handwritten digits, as NIR graphs: each in seconds."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from torch.nn import functional

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.events.frames import InputContract
from tmkt.export.targets.nir import write_nir
from tmkt.export.targets.onnx import write_onnx
from tmkt.program.model import Program

SHAPE = (2, 10, 10)
CLASSES = 10
DT = 1e-3
TRAINED_STEPS = 12
Parts = tuple[Any, Program, list[dict[str, Any]]]  # NIR graph, program, quantisation report


@dataclass(frozen=True)
class Trained:
    """Settings of a training. `tau` in steps; None: neurons without leak (nir.IF)."""

    seed: int
    width: int = 4
    tau: float | None = 2.0
    biased: bool = True


def digits(
    samples: int, steps: int, seed: int, rate: float = 0.5
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Draw events of digits, uint8 [N, T, 2, 10, 10]: on from bright and off from dark pixels.

    `rate`: the events a step of a white pixel.
    """
    rng = np.random.default_rng(seed)
    images, labels = load_digits(return_X_y=True)
    chosen = rng.integers(0, len(images), samples)
    bright = np.pad(images[chosen].reshape(-1, 8, 8) / 16, ((0, 0), (1, 1), (1, 1)))
    rates = np.stack([bright, 0.3 * (1 - bright)], 1) * rate
    drawn = rng.random((samples, steps, *SHAPE)) < rates[:, None]
    return drawn.astype(np.uint8), labels[chosen].astype(np.int64)


def rate_of(setting: Trained, steps: int) -> float:
    """Return a rate of events at which a network works: those that hardly leak get as many events
    in 300 steps as in 10.
    """
    rates = {2.0: 0.5, 20.0: 0.3}
    return rates.get(setting.tau or 0, min(1.0, 6 / steps))


class _Spike(torch.autograd.Function):
    """Heaviside step with the derivative of an arc tangent."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x)
        return (x >= 0).float()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        [x] = ctx.saved_tensors
        return gradient / (1 + (torch.pi * x) ** 2)


def _neurons(x: torch.Tensor, tau: float | None) -> torch.Tensor:
    """Run neurons with threshold 1 and a hard reset on inputs [T, N, ...]."""
    v, out = torch.zeros_like(x[0]), []
    for driven in x:
        v = v + driven if tau is None else v + (driven - v) / tau
        fired = _Spike.apply(v - 1.0)
        out.append(fired)
        v = v * (1 - fired.detach())
    return torch.stack(out)


def train(setting: Trained, iterations: int = 50) -> nir.NIRGraph:
    """Train two convolutions and a dense read-out; give the graph."""
    torch.manual_seed(setting.seed)
    torch.set_num_threads(1)
    width, tau, biased = setting.width, setting.tau, setting.biased
    first = torch.nn.Conv2d(2, width, 3, padding=1, bias=biased)
    second = torch.nn.Conv2d(width, 2 * width, 3, padding=1, bias=biased)
    last = torch.nn.Linear(2 * width * 4, CLASSES, bias=biased)
    for layer, gain in ((first, 5.0), (second, 8.0)):
        layer.weight.data *= gain * (1.0 if tau is None else tau)
    parameters = [p for layer in (first, second, last) for p in layer.parameters()]
    optimiser = torch.optim.Adam(parameters, 0.02)
    for step in range(iterations):
        frames, labels = digits(32, TRAINED_STEPS, 1000 * setting.seed + step)
        x = torch.from_numpy(frames).float().transpose(0, 1)
        for conv in (first, second):
            summed = conv(x.flatten(0, 1)).unflatten(0, x.shape[:2])
            spikes = _neurons(summed, tau)
            pooled = functional.avg_pool2d(spikes.flatten(0, 1), 2)
            x = pooled.unflatten(0, x.shape[:2])
        loss = functional.cross_entropy(last(x.flatten(2)).sum(0), torch.from_numpy(labels))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return _graph([first, second], last, setting)


def _graph(convs: list[torch.nn.Conv2d], last: torch.nn.Linear, setting: Trained) -> nir.NIRGraph:
    def array(values: torch.Tensor | None, size: int) -> NDArray[np.float32]:
        return np.zeros(size, np.float32) if values is None else values.detach().numpy().copy()

    nodes: dict[str, Any] = {}
    size = SHAPE[1]
    for number, conv in enumerate(convs, 1):
        channels = conv.out_channels
        nodes[f"conv{number}_synapse"] = nir.Conv2d(
            (size, size),
            array(conv.weight, 0),
            (1, 1),
            (1, 1),
            (1, 1),
            1,
            array(conv.bias, channels),
        )
        one = np.ones((channels, size, size), np.float32)
        if setting.tau is None:
            nodes[f"conv{number}"] = nir.IF(one / DT, one, 0 * one)
        else:
            nodes[f"conv{number}"] = nir.LIF(setting.tau * DT * one, one, 0 * one, one, 0 * one)
        nodes[f"pool{number}"] = nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
        size //= 2
    channels = convs[-1].out_channels
    shape = {"input": np.array([channels, size, size])}
    nodes["flatten"] = nir.Flatten(shape, 0, -1)
    nodes["readout"] = nir.Affine(array(last.weight, 0), array(last.bias, CLASSES))
    names = ["input", *nodes, "output"]
    every = {
        "input": nir.Input({"input": np.array(SHAPE)}),
        **nodes,
        "output": nir.Output({"output": np.array([CLASSES])}),
    }
    edges = list(pairwise(names))
    return nir.NIRGraph(every, edges, {"dt": DT}, type_check=False)


def write_bundle(path: Path, parts: Parts, steps: int, onnx: Program | None = None) -> Bundle:
    """Write a bundle with network.nir and network.onnx. `onnx`: another program for the latter."""
    network, program, report = parts
    contract = InputContract(program.input_shape[1:], steps, 1000, program.max_count)
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    files = {
        bundles.NIR: lambda p: write_nir(network, p),
        bundles.ONNX: lambda p: write_onnx(onnx or program, p),
    }
    classes = [str(i) for i in range(program.classes)]
    return bundles.write(path, program, contract, classes, origin, report, files)
