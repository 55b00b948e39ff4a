"""From a float network's nodes to layers: what feeds each layer of neurons, as synapses from other
layers of neurons or from the input.

All that lies between two layers of neurons is linear, so it becomes part of the synapses: pools
(`Synapse.pool`), sums (several synapses into one layer), a gain and an offset a channel after a
convolution (batch norm on a residual stream), a dense read-out of a convolution's values.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.graph import Conv, Delay, Dense, Flatten, Neuron, Node, Pool
from tmkt.program.arithmetic import MAX_DELAY
from tmkt.program.model import INPUT, Synapse, pooled

Doubles = NDArray[np.float64]
_MAX_COMPOSED = (
    2**27
)  # weights of a dense synapse that stands for a convolution and what reads it, ours


@dataclass(frozen=True)
class FloatLayer:
    """One layer of a lowered network, in float64: the weights that act on the membrane, in units of
    the threshold.

    `synapses` hold everything but the weights, which are in `weights`, in the same order: two
    synapses with the same weights, as those from the terms of a sum have, share one array. `decay`
    is dt / tau, 0 for neurons that do not leak; `current_decay` dt / tau_syn, 1 without a current.
    A bias enters the membrane: before a current, which it would enter, it stands for what it comes
    to once the current has settled.
    """

    name: str
    shape: tuple[int, ...]
    synapses: tuple[Synapse, ...]
    weights: tuple[Doubles, ...]
    bias: Doubles
    decay: float
    fires: bool
    current_decay: float = 1.0


@dataclass(frozen=True)
class _Spikes:
    """What some spiking layers (or the input) send, summed, as one term: (source, pool, divisor of
    the weights that read it).

    `delay`: steps later, for each value; None: none.
    """

    terms: tuple[tuple[str, int, int], ...]
    delay: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class _Current:
    """A sum of synapses, and a bias [C] or [N]. `shape` before it was flattened; `node`: the last
    synapse node in it.
    """

    node: Node
    synapses: tuple[Synapse, ...]
    weights: tuple[Doubles, ...]
    bias: Doubles
    shape: tuple[int, ...]


def lower(network: FloatNetwork) -> list[FloatLayer]:
    """Gives the layers in order, the last one a read-out that integrates unless it spikes. A map
    that is only read through pools is cropped to what they read. InputError, naming the node, for
    what is no sum of synapses between neurons.
    """
    ordered = network.graph
    values: dict[str, _Spikes | _Current] = {ordered.input_name: _Spikes(((INPUT, 1, 1),))}
    shapes = {INPUT: ordered.input_shape}
    layers: list[FloatLayer] = []
    for node in ordered.nodes:
        shapes.update(dict.fromkeys(node.past, node.shape))
        given = _sum(
            node,
            [
                *(values[source] for source in node.sources),
                *(_Spikes(((source, 1, 1),)) for source in node.past),
            ],
        )
        operation = node.operation
        if isinstance(operation, Neuron):
            if isinstance(given, _Spikes):
                raise refuse(
                    node,
                    "neurons without a synapse before them",
                    "Conv2d, Affine or Linear there",
                    "add one",
                )
            if not operation.fires and node is not ordered.nodes[-1]:
                raise refuse(
                    node,
                    "an integrator that never fires",
                    "one at the end alone, as read-out",
                    "put firing neurons there",
                )
            layers.append(_neurons(node, given))
            values[node.name], shapes[node.name] = _Spikes(((node.name, 1, 1),)), node.shape
        elif isinstance(given, _Current):
            values[node.name] = (
                _late(node, given, operation)
                if isinstance(operation, Delay)
                else _composed(node, given, shapes)
            )
        elif isinstance(operation, Pool):
            if given.delay is not None:
                raise refuse(
                    node,
                    "pools what is delayed",
                    "delays just before a Linear or Affine",
                    "put the Delay after the pooling",
                )
            area = operation.size**2 if operation.average else 1
            values[node.name] = _Spikes(
                tuple(
                    (source, pool * operation.size, divisor * area)
                    for source, pool, divisor in given.terms
                )
            )
        elif isinstance(operation, Flatten):
            values[node.name] = given
        elif isinstance(operation, Delay):
            before = 0 if given.delay is None else given.delay.reshape(node.shape)
            values[node.name] = replace(given, delay=operation.steps + before)
        elif isinstance(operation, Conv | Dense):
            values[node.name] = _synapses(node, given)
        else:
            raise refuse(
                node,
                f"a {type(operation).__name__}",
                "Conv2d, Affine, Linear, pools and neurons",
                "fold it into the weights",
            )
    last = ordered.nodes[-1]
    end = values[last.name]
    if isinstance(end, _Current) and end.node is last:  # a read-out that integrates
        layers.append(
            FloatLayer(last.name, last.shape, end.synapses, end.weights, end.bias, 0.0, False)
        )
    elif not layers or last.name != layers[-1].name:
        raise refuse(
            last,
            f"a {type(last.operation).__name__} is the last node",
            "an Affine or neurons",
            "end the network with one",
        )
    return [replace(layer, shape=_read(layer, layers)) for layer in layers]


def refuse(node: Node, found: str, expected: str, way_out: str) -> InputError:
    """The error for a node that no program can hold."""
    return InputError(f"NIR graph, node {node.name!r}: {found}, expected {expected}; {way_out}")


def _sum(node: Node, given: list[_Spikes | _Current]) -> _Spikes | _Current:
    """What a node reads: the sum of its sources."""
    spikes = [value for value in given if isinstance(value, _Spikes)]
    currents = [value for value in given if isinstance(value, _Current)]
    if not currents:
        if len(spikes) > 1 and any(value.delay is not None for value in spikes):
            raise refuse(
                node,
                "sums delayed inputs",
                "one input, or none delayed",
                "put a synapse on each branch",
            )
        return _Spikes(tuple(term for value in spikes for term in value.terms), spikes[0].delay)
    if spikes:
        found = f"sums what neurons send and what {currents[0].node.name!r} gives"
        raise refuse(
            node,
            found,
            "all of one kind",
            "put neurons after that synapse, or a synapse before the sum",
        )
    synapses = tuple(synapse for value in currents for synapse in value.synapses)
    weights = tuple(weight for value in currents for weight in value.weights)
    bias = np.sum([value.bias for value in currents], axis=0)
    return _Current(currents[-1].node, synapses, weights, bias, currents[-1].shape)


def _synapses(node: Node, given: _Spikes) -> _Current:
    """One synapse from each term, all with the node's weights."""
    operation = node.operation
    assert isinstance(operation, Conv | Dense)
    weight, bias = _numbers(node, operation)
    by_divisor = {divisor: weight / divisor for _, _, divisor in given.terms}
    empty = np.zeros(0, np.int16)
    synapses = []
    for source, pool, _ in given.terms:
        if isinstance(operation, Conv):
            synapses.append(
                Synapse(
                    source,
                    "conv",
                    empty,
                    operation.stride,
                    operation.padding,
                    operation.dilation,
                    operation.groups,
                    pool,
                )
            )
        else:
            delays = (
                None
                if given.delay is None
                else _delays(node, np.broadcast_to(given.delay.reshape(-1), weight.shape))
            )
            synapses.append(Synapse(source, "dense", empty, pool=pool, delays=delays))
    if isinstance(operation, Conv) and given.delay is not None:
        raise refuse(
            node,
            "a convolution of delayed inputs",
            "none delayed, as the chip delays dense synapses alone",
            "use a Linear, or no Delay",
        )
    return _Current(
        node,
        tuple(synapses),
        tuple(by_divisor[divisor] for _, _, divisor in given.terms),
        bias,
        node.shape,
    )


def _delays(node: Node, steps: NDArray[np.int64]) -> NDArray[np.uint8]:
    if int(steps.max(initial=0)) > MAX_DELAY:
        raise refuse(
            node,
            f"a delay of {steps.max()} steps",
            f"at most {MAX_DELAY}",
            "use a larger time step, or shorter delays",
        )
    return np.ascontiguousarray(steps, np.uint8)


def _late(node: Node, given: _Current, delay: Delay) -> _Current:
    """Currents whose synapses all take more steps."""
    if any(synapse.kind != "dense" for synapse in given.synapses):
        raise refuse(
            node,
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
        raise refuse(node, "infinite or undefined weights", "numbers", "train the network again")
    if not weight.any():
        raise refuse(
            node,
            "all weights are 0",
            "at least one other",
            "the layer is dead: train the network again",
        )
    return weight, bias


def _composed(node: Node, given: _Current, shapes: dict[str, tuple[int, ...]]) -> _Current:
    """What a node makes of currents, where synapses can: flat ones, ones with a gain and an offset
    a channel, dense sums of convolutions.
    """
    operation, convolutions = (
        node.operation,
        all(synapse.kind == "conv" for synapse in given.synapses),
    )
    if isinstance(operation, Flatten):
        return given
    gain = _gain(operation) if isinstance(operation, Conv) and convolutions else None
    if isinstance(operation, Conv) and gain is not None:
        _, bias = _numbers(node, operation)
        scaled = _once_each(given.weights, lambda _, weight: weight * gain[:, None, None, None])
        return replace(given, node=node, weights=scaled, bias=given.bias * gain + bias)
    if isinstance(operation, Dense) and convolutions:
        reader, bias = _numbers(node, operation)

        def compose(i: int, weight: Doubles) -> Doubles:
            synapse = given.synapses[i]
            source = pooled(shapes[synapse.source], synapse.pool)
            if len(reader) * np.prod(source) > _MAX_COMPOSED:
                raise refuse(
                    node,
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
        return _Current(node, dense, _once_each(given.weights, compose), offset + bias, node.shape)
    raise refuse(
        node,
        f"a {type(operation).__name__} after the synapse {given.node.name!r}",
        "LIF or IF neurons",
        "put neurons between",
    )


def _gain(operation: Conv) -> Doubles | None:
    """The factors [C] of a convolution that only scales and shifts each channel by itself; None if
    it does more.
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
    return (
        weight.diagonal()
        if weight.shape == (channels, channels) and not weight[~np.eye(channels, dtype=bool)].any()
        else None
    )


def _once_each(
    weights: tuple[Doubles, ...], make: Callable[[int, Doubles], Doubles]
) -> tuple[Doubles, ...]:
    """`make` of each array and its first place; arrays that synapses share stay shared."""
    made: dict[int, Doubles] = {}
    for i, weight in enumerate(weights):
        if id(weight) not in made:
            made[id(weight)] = make(i, weight)
    return tuple(made[id(weight)] for weight in weights)


def _through(
    reader: Doubles, weight: Doubles, synapse: Synapse, source: tuple[int, ...]
) -> Doubles:
    """Dense weights [K, C * H * W] that do what a convolution of [C, H, W] and `reader` [K, C_out,
    H_out, W_out] after it do.
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


def _neurons(node: Node, given: _Current) -> FloatLayer:
    neuron = node.operation
    assert isinstance(neuron, Neuron)

    def uniform(what: str, values: NDArray[np.float32]) -> float:
        if np.any(values != values.flat[0]):
            raise refuse(
                node,
                f"{what} from {values.min()} to {values.max()}",
                "one value for the layer",
                "train with a shared one",
            )
        return float(values.flat[0])

    for what, values in (("v_reset", neuron.reset), ("v_leak", neuron.leak)):
        if values.any():
            raise refuse(
                node,
                f"{what} {values.flat[np.abs(values).argmax()]}",
                f"{what} 0",
                "shift membrane, threshold and bias so that it is 0",
            )
    decay = 0.0 if neuron.decay is None else uniform("dt / tau", neuron.decay)
    if not 0 <= decay <= 1:
        raise refuse(
            node, f"dt / tau = {decay:g}", "0..1", "use a smaller dt, or train with a larger tau"
        )
    gain = uniform("r", neuron.r) * (1.0 if neuron.decay is None else decay)
    threshold = uniform("v_threshold", neuron.threshold)
    if gain <= 0:
        raise refuse(node, f"input gain {gain:g}", "above 0", "correct r, tau or dt")
    current_decay = 1.0
    bias = given.bias * (gain / threshold)
    if neuron.current_decay is not None and neuron.gain is not None:
        current_decay = uniform("dt / tau_syn", neuron.current_decay)
        gain *= uniform("w_in", neuron.gain)
        bias = given.bias * (gain / threshold / current_decay)
    weights = _once_each(given.weights, lambda _, weight: weight * (gain / threshold))
    return FloatLayer(
        node.name, node.shape, given.synapses, weights, bias, decay, neuron.fires, current_decay
    )


def _read(layer: FloatLayer, layers: list[FloatLayer]) -> tuple[int, ...]:
    """The layer's shape without the rows and columns at the end that nothing reads, because all
    that does reads whole windows.
    """
    pools = {
        synapse.pool
        for other in layers
        for synapse in other.synapses
        if synapse.source == layer.name
    }
    if len(layer.shape) != 3 or not pools:
        return layer.shape
    channels, *size = layer.shape
    return (channels, *(max(n // pool * pool for pool in pools) for n in size))
