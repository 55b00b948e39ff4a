"""The form of a program that Lava and the chip hold: no pools, no crops, branches of equal length.

Branches must have equal length because every synapse takes one step there.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.program.model import INPUT, Program, Synapse, pooled

MAX_UNROLLED = 2**27  # weights of one synapse; ours, Lava holds several copies of them


class WiredLayer(Protocol):
    """A layer and its synapses, whether its weights are integers yet or not."""

    @property
    def name(self) -> str: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def synapses(self) -> tuple[Synapse, ...]: ...
    @property
    def fires(self) -> bool: ...


def fits_netx(program: Program) -> bool:
    """Tell if Lava's netx can express the program: each layer reads only the layer before it.

    It does so through one synapse. A dense layer may read itself as well, if neither synapse has
    delays (lava-dl 0.6.0, lava/lib/dl/netx/blocks/process.py).
    """
    before = INPUT
    for layer in program.layers:
        forward = [synapse for synapse in layer.synapses if synapse.source != layer.name]
        recurrent = [synapse for synapse in layer.synapses if synapse.source == layer.name]
        if [synapse.source for synapse in forward] != [before] or len(recurrent) > 1:
            return False
        if recurrent and (
            forward[0].kind != "dense"
            or recurrent[0].pool > 1
            or any(s.delays is not None for s in layer.synapses)
        ):
            return False
        if forward[0].kind == "dense" and len(layer.shape) == 3:
            return False
        before = layer.name
    return True


def lags(layers: Sequence[WiredLayer]) -> dict[str, int]:
    """Count the steps by which each layer's neurons are updated later than the first layer's.

    Every synapse takes one step, and a layer must wait for the latest of its sources. The input has
    -1.
    """
    lag = {INPUT: -1}
    for layer in layers:
        lag[layer.name] = 1 + max(
            (lag[synapse.source] for synapse in layer.synapses if synapse.source != layer.name),
            default=-1,
        )
    return lag


def relays(layers: Sequence[WiredLayer]) -> dict[str, int]:
    """Count the extra steps, at most, by which spikes of a layer must arrive later; by layer.

    So many copies of the layer's neurons hold them back; each sends what it got a step before. They
    are needed because Lava's convolution has no delays (its dense synapses have). All readers of a
    layer share them. The input needs none: its source can send it again, later.
    """
    lag, fires = lags(layers), {layer.name: layer.fires for layer in layers}
    most: dict[str, int] = {}
    for layer in layers:
        for synapse in layer.synapses:
            wait = lag[layer.name] - 1 - lag[synapse.source]
            if synapse.source != layer.name and wait > 0 and fires.get(synapse.source, False):
                most[synapse.source] = max(most.get(synapse.source, 0), wait)
    return most


def relay_neurons(layers: Sequence[WiredLayer]) -> int:
    """Count the neurons that the relays take: the price of branches on a chip."""
    shapes = {layer.name: layer.shape for layer in layers}
    return sum(steps * int(np.prod(shapes[name])) for name, steps in relays(layers).items())


def unroll(synapse: Synapse, source: tuple[int, ...], target: tuple[int, ...]) -> Synapse:
    """Rewrite a synapse without pool and crop.

    It then reads the source's own sites and gives exactly the target's shape. A convolution after a
    pool gets each weight repeated over the window, and stride and padding times the pool. netx pads
    both ends by the same number, so zeros at the kernel's end hold back a convolution that would
    give too many rows or columns.

    InputError for maps that are no multiples of the pool, and for more than MAX_UNROLLED weights.
    """
    pool = synapse.pool
    if synapse.kind == "dense":
        _check_unrolled(synapse, len(synapse.weight) * prod(source))
        delays = None if synapse.delays is None else _unroll_dense(synapse.delays, pool, source)
        return replace(
            synapse, weight=_unroll_dense(synapse.weight, pool, source), delays=delays, pool=1
        )
    if any(n % pool for n in source[1:]):
        raise InputError(
            f"synapse from {synapse.source!r}: sums {pool} x {pool} windows of a {source[1]} x"
            f" {source[2]} map, expected multiples of {pool} for Lava; crop the map"
        )
    weight, dilation = synapse.weight, synapse.dilation
    stride, padding = ((y * pool, x * pool) for y, x in (synapse.stride, synapse.padding))
    size = [d * (k - 1) + 1 for d, k in zip(dilation, weight.shape[2:], strict=True)]
    # The least e for which floor((n + 2 * padding - size - e) / stride) + 1 is the target's size.
    extra = [
        max(0, n + 2 * p - pool * k - s * out + 1)
        for n, p, k, s, out in zip(source[1:], padding, size, stride, target[1:], strict=True)
    ]
    spreads = dilation != (1, 1) and (pool > 1 or any(extra))
    kernel = size if spreads else weight.shape[2:]
    sides = [n * pool + e for n, e in zip(kernel, extra, strict=True)]
    _check_unrolled(synapse, prod((*weight.shape[:2], *sides)))
    if spreads:
        spread = np.zeros((*weight.shape[:2], *size), np.int16)
        spread[:, :, :: dilation[0], :: dilation[1]] = weight
        weight, dilation = spread, (1, 1)
    weight = weight.repeat(pool, 2).repeat(pool, 3)
    weight = np.pad(weight, ((0, 0), (0, 0), (0, extra[0]), (0, extra[1])))
    return replace(
        synapse, weight=weight, stride=stride, padding=padding, dilation=dilation, pool=1
    )


def _check_unrolled(synapse: Synapse, weights: int) -> None:
    if weights > MAX_UNROLLED:
        raise InputError(
            f"synapse from {synapse.source!r}: {weights} weights when unrolled for Lava, expected"
            f" at most {MAX_UNROLLED}; use a smaller pool, dilation or crop, or export without it:"
            " --target onnx,c"
        )


def _unroll_dense(values: NDArray[Any], pool: int, source: tuple[int, ...]) -> NDArray[Any]:
    """Turn [N_out, N_in] weights or delays of the pooled source into those of the source."""
    if pool == 1:
        return values
    outputs, (channels, height, width) = len(values), pooled(source, pool)
    unrolled = np.zeros(
        (outputs, *source), values.dtype
    )  # rows and columns that the pool drops keep 0
    windows = values.reshape(outputs, channels, height, width).repeat(pool, 2).repeat(pool, 3)
    unrolled[:, :, : height * pool, : width * pool] = windows
    return unrolled.reshape(outputs, -1)
