"""Terms of the lowering: sums of spikes, and sums of synaptic currents.

Between two layers of neurons everything is linear, so each node turns one of these terms into
another.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmkt.nir.errors import kind, refuse
from tmkt.nir.graph import Conv, Delay, Dense, Flatten, Node, Pool
from tmkt.program.arithmetic import MAX_DELAY
from tmkt.program.model import Synapse, pooled

Doubles = NDArray[np.float64]
# weights of a dense synapse that stands for a convolution and its reader: our limit
_MAX_COMPOSED = 2**27


@dataclass(frozen=True)
class Source:
    """Spikes of one layer (or the input) as a node reads them: summed over windows of `pool` x
    `pool`, in weights divided by `divisor`.
    """

    name: str
    pool: int = 1
    divisor: int = 1


@dataclass(frozen=True)
class Spikes:
    """Sum of the spikes of some sources. `delay`: steps by which each value is late; None: none."""

    sources: tuple[Source, ...]
    delay: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Current:
    """Sum of synapses and a bias [C] or [N].

    `node`: the last node that was made part of it. `shape`: of the sum, before any Flatten.
    `weights` belong to `synapses` in order, as in `FloatLayer`.
    """

    node: Node
    synapses: tuple[Synapse, ...]
    weights: tuple[Doubles, ...]
    bias: Doubles
    shape: tuple[int, ...]


def added(node: Node, terms: list[Spikes | Current]) -> Spikes | Current:
    """Add the terms that a node reads; InputError where spikes and currents meet, or delayed
    spikes.
    """
    spikes = [term for term in terms if isinstance(term, Spikes)]
    currents = [term for term in terms if isinstance(term, Current)]
    if not currents:
        if len(spikes) > 1 and any(term.delay is not None for term in spikes):
            raise refuse(
                node.name,
                "sums delayed inputs",
                "one input, or none delayed",
                "put a synapse on each branch",
            )
        return Spikes(tuple(s for term in spikes for s in term.sources), spikes[0].delay)
    if spikes:
        raise refuse(
            node.name,
            f"sums what neurons send and what {currents[0].node.name!r} gives",
            "all of one kind",
            "put neurons after that synapse, or a synapse before the sum",
        )
    synapses = tuple(synapse for term in currents for synapse in term.synapses)
    weights = tuple(weight for term in currents for weight in term.weights)
    bias = np.sum([term.bias for term in currents], axis=0)
    return Current(currents[-1].node, synapses, weights, bias, currents[-1].shape)


def pooled_spikes(node: Node, pool: Pool, given: Spikes) -> Spikes:
    """Pool spikes; the area of an average goes into the weights that read them."""
    if given.delay is not None:
        raise refuse(
            node.name,
            "pools what is delayed",
            "delays just before a Linear or Affine",
            "put the Delay after the pooling",
        )
    area = pool.size**2 if pool.average else 1
    return Spikes(
        tuple(Source(s.name, s.pool * pool.size, s.divisor * area) for s in given.sources)
    )


def delayed_spikes(node: Node, delay: Delay, given: Spikes) -> Spikes:
    """Delay spikes by more steps."""
    before = 0 if given.delay is None else given.delay.reshape(node.shape)
    return replace(given, delay=delay.steps + before)


def synapses_of(node: Node, operation: Conv | Dense, given: Spikes) -> Current:
    """Read spikes through one synapse a source, all with the node's weights."""
    weight, bias = _numbers(node, operation)
    by_divisor = {source.divisor: weight / source.divisor for source in given.sources}
    empty = np.zeros(0, np.int16)
    synapses = []
    for source in given.sources:
        if isinstance(operation, Conv):
            synapses.append(
                Synapse(
                    source.name,
                    "conv",
                    weight=empty,
                    stride=operation.stride,
                    padding=operation.padding,
                    dilation=operation.dilation,
                    groups=operation.groups,
                    pool=source.pool,
                )
            )
        else:
            delays = (
                None
                if given.delay is None
                else _delays(node, np.broadcast_to(given.delay.reshape(-1), weight.shape))
            )
            synapses.append(Synapse(source.name, "dense", empty, pool=source.pool, delays=delays))
    if isinstance(operation, Conv) and given.delay is not None:
        raise refuse(
            node.name,
            "a convolution of delayed inputs",
            "none delayed, as the chip delays dense synapses alone",
            "use a Linear, or no Delay",
        )
    weights = tuple(by_divisor[source.divisor] for source in given.sources)
    return Current(node, tuple(synapses), weights, bias, node.shape)


def composed(node: Node, given: Current, shapes: dict[str, tuple[int, ...]]) -> Current:
    """Apply a node to currents, where synapses can express the result.

    They can for a Flatten, for a delay of dense synapses, for a gain and an offset a channel after
    convolutions (batch norm), and for a Dense after convolutions. InputError for anything else.
    """
    operation = node.operation
    convolutions = all(synapse.kind == "conv" for synapse in given.synapses)
    if isinstance(operation, Flatten):
        return given
    if isinstance(operation, Delay):
        return _delayed_current(node, operation, given)
    gain = _channel_gain(operation) if isinstance(operation, Conv) and convolutions else None
    if isinstance(operation, Conv) and gain is not None:
        _, bias = _numbers(node, operation)
        scaled = once_each(given.weights, lambda _, weight: weight * gain[:, None, None, None])
        return replace(given, node=node, weights=scaled, bias=given.bias * gain + bias)
    if isinstance(operation, Dense) and convolutions:
        return _dense_after_convolutions(node, operation, given, shapes)
    raise refuse(
        node.name,
        f"{kind(operation)} after the synapse {given.node.name!r}",
        "LIF or IF neurons",
        "put neurons between",
    )


def once_each(
    weights: tuple[Doubles, ...], make: Callable[[int, Doubles], Doubles]
) -> tuple[Doubles, ...]:
    """Map arrays by `make`, which gets an array and its first place; shared arrays stay shared."""
    made: dict[int, Doubles] = {}
    for i, weight in enumerate(weights):
        if id(weight) not in made:
            made[id(weight)] = make(i, weight)
    return tuple(made[id(weight)] for weight in weights)


def _delays(node: Node, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
    if int(steps.max(initial=0)) > MAX_DELAY:
        raise refuse(
            node.name,
            f"a delay of {steps.max()} steps",
            f"at most {MAX_DELAY}",
            "use a larger time step, or shorter delays",
        )
    return np.ascontiguousarray(steps, np.uint8)


def _delayed_current(node: Node, delay: Delay, given: Current) -> Current:
    if any(synapse.kind != "dense" for synapse in given.synapses):
        raise refuse(
            node.name,
            "delays a convolution",
            "dense synapses, which are all that the chip delays",
            "use a Linear, or no Delay",
        )
    late = []
    for synapse, weight in zip(given.synapses, given.weights, strict=True):
        before = (
            np.zeros(weight.shape, np.int64)
            if synapse.delays is None
            else synapse.delays.astype(np.int64)
        )
        late.append(replace(synapse, delays=_delays(node, before + delay.steps.reshape(-1, 1))))
    return replace(given, node=node, synapses=tuple(late))


def _numbers(node: Node, operation: Conv | Dense) -> tuple[Doubles, Doubles]:
    weight, bias = operation.weight.astype(np.float64), operation.bias.astype(np.float64)
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise refuse(
            node.name, "infinite or undefined weights", "numbers", "train the network again"
        )
    if not weight.any():
        raise refuse(
            node.name,
            "all weights are 0",
            "at least one other",
            "the layer is dead: train the network again",
        )
    return weight, bias


def _dense_after_convolutions(
    node: Node, operation: Dense, given: Current, shapes: dict[str, tuple[int, ...]]
) -> Current:
    reader, bias = _numbers(node, operation)

    def compose(i: int, weight: Doubles) -> Doubles:
        synapse = given.synapses[i]
        source = pooled(shapes[synapse.source], synapse.pool)
        if len(reader) * np.prod(source) > _MAX_COMPOSED:
            raise refuse(
                node.name,
                f"a Dense after a convolution of a map {source}",
                "a smaller map",
                "put neurons between, or pool the map",
            )
        return _through(reader.reshape(-1, *given.shape), weight, synapse, source)

    dense = tuple(
        Synapse(synapse.source, "dense", synapse.weight, pool=synapse.pool)
        for synapse in given.synapses
    )
    offset = reader.reshape(len(reader), given.shape[0], -1).sum(2) @ given.bias
    return Current(node, dense, once_each(given.weights, compose), offset + bias, node.shape)


def _channel_gain(operation: Conv) -> Doubles | None:
    """Factors [C] of a convolution that only scales and shifts each channel by itself; None if it
    does more.
    """
    weight = operation.weight[:, :, 0, 0].astype(np.float64)
    channels = len(weight)
    if (
        operation.weight.shape[2:] != (1, 1)
        or operation.stride != (1, 1)
        or operation.padding != (0, 0)
    ):
        return None
    if operation.groups == channels and weight.shape[1] == 1:
        return weight[:, 0]
    square = weight.shape == (channels, channels)
    if square and not weight[~np.eye(channels, dtype=bool)].any():
        return weight.diagonal()
    return None


def _through(
    reader: Doubles, weight: Doubles, synapse: Synapse, source: tuple[int, ...]
) -> Doubles:
    """Compose a convolution of [C, H, W] and its reader [K, C_out, H_out, W_out] to dense weights
    [K, C * H * W].
    """
    (py, px), (sy, sx), (dy, dx) = synapse.padding, synapse.stride, synapse.dilation
    channels, height, width = source
    outputs, rows, columns = reader.shape[1:]
    a_group, out_group = channels // synapse.groups, outputs // synapse.groups
    full = np.zeros((len(reader), channels, height + 2 * py, width + 2 * px))
    for g in range(synapse.groups):
        into, out = slice(g * a_group, (g + 1) * a_group), slice(g * out_group, (g + 1) * out_group)
        for ky, kx in np.ndindex(weight.shape[2:]):
            y, x = dy * ky, dx * kx
            part = np.einsum("koyx,oc->kcyx", reader[:, out], weight[out, :, ky, kx])
            full[
                :, into, y : y + sy * (rows - 1) + 1 : sy, x : x + sx * (columns - 1) + 1 : sx
            ] += part
    return full[:, :, py : py + height, px : px + width].reshape(len(reader), -1)
