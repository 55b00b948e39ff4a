"""NIR graphs by hand."""

from itertools import pairwise
from typing import Any

import nir
import numpy as np
from numpy.typing import NDArray

DT = 1e-4


def full(value: float, *shape: int) -> NDArray[np.float32]:
    return np.full(shape, value, np.float32)


def lif(
    *shape: int,
    tau: float = 2 * DT,
    r: float = 1.0,
    leak: float = 0.0,
    threshold: float = 1.0,
    reset: float = 0.0,
) -> nir.LIF:
    return nir.LIF(
        full(tau, *shape),
        full(r, *shape),
        full(leak, *shape),
        full(threshold, *shape),
        full(reset, *shape),
    )


def weights(*shape: int, seed: int = 0, scale: float = 1.0) -> NDArray[np.float32]:
    return (scale * np.random.default_rng(seed).normal(0, 1, shape)).astype(np.float32)


def conv(
    channels: int,
    inputs: int,
    size: int = 3,
    padding: Any = 1,
    groups: int = 1,
    scale: float = 1.0,
    seed: int = 0,
) -> nir.Conv2d:
    """Without the input's shape, which some exporters leave out."""
    w = weights(channels, inputs // groups, size, size, seed=seed, scale=scale)
    return nir.Conv2d(
        None, w, (1, 1), padding, (1, 1), groups, weights(channels, seed=seed + 1, scale=0.1)
    )


def affine(outputs: int, inputs: int, scale: float = 0.5, seed: int = 0) -> nir.Affine:
    return nir.Affine(
        weights(outputs, inputs, seed=seed, scale=scale), weights(outputs, seed=seed + 1, scale=0.1)
    )


def flatten(*shape: int, start: int = 0) -> nir.Flatten:
    node = nir.Flatten(None, 0, -1)
    node.start_dim, node.input_type = start, {"input": np.array(shape)}
    return node


def graph(
    shape: tuple[int, ...],
    nodes: dict[str, Any],
    edges: list[tuple[str, str]] | None = None,
    metadata: dict[str, Any] | None = None,
) -> nir.NIRGraph:
    """Nodes in a chain between an input and an output, unless `edges` say otherwise."""
    everything = {
        "input": nir.Input({"input": np.array(shape)}),
        **nodes,
        "output": nir.Output({"output": np.array([1])}),
    }
    return nir.NIRGraph(
        everything,
        edges or list(pairwise(everything)),
        {"dt": DT} if metadata is None else metadata,
        type_check=False,
    )


def frames(
    shape: tuple[int, ...], samples: int = 3, steps: int = 12, rate: float = 0.3, seed: int = 0
) -> NDArray[np.uint8]:
    return (np.random.default_rng(seed).random((samples, steps, *shape)) < rate).astype(np.uint8)
