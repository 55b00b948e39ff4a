"""A network as a placement sees it: shapes and connections, no weights. Made from a program, a
recipe or a NIR graph.
"""

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np

from tmkt.errors import InputError
from tmkt.nir.file import read_nir
from tmkt.nir.graph import Conv, Delay, Dense, Flatten, Neuron, Node, OrderedGraph, Pool, Scale
from tmkt.nir.order import order
from tmkt.program.lava_form import relay_neurons
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.recipe import NetworkRecipe

BITS = 8  # of a weight that is not an integer yet: what an export uses unless told


@dataclass(frozen=True)
class Connection:
    """The synapses from one source (a layer's name, or "input"), as in
    `tmkt.program.model.Synapse`; `kernel` is (y, x) before pooling is unrolled.

    `weight_bits`: sign included. `delay_steps`: the longest synaptic delay.
    """

    source: str
    kind: Literal["conv", "dense"]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pool: int = 1
    weight_bits: int = BITS
    delay_steps: int = 0


@dataclass(frozen=True)
class Population:
    """The neurons of one layer, (C, H, W) or (N,), and what feeds them; without connections they
    are input on cores.
    """

    name: str
    shape: tuple[int, ...]
    connections: tuple[Connection, ...]
    fires: bool = True

    @property
    def neurons(self) -> int:
        return prod(self.shape)


@dataclass(frozen=True)
class Network:
    """Layers in an order in which each comes after its sources (a recurrent connection names its
    own layer).

    `relay_neurons`: those that would hold spikes back where branches of unequal length meet, if no
    synapse had delays (None: not known).
    """

    input_shape: tuple[int, ...]
    layers: tuple[Population, ...]
    relay_neurons: int | None = None

    def shape_of(self, source: str) -> tuple[int, ...]:
        """The shape of a layer by name, or of the input."""
        return next(
            (layer.shape for layer in self.layers if layer.name == source), self.input_shape
        )


def volume(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """A shape as (C, H, W); (N,) counts as (N, 1, 1)."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (prod(shape), 1, 1)


def from_program(program: Program) -> Network:
    """The network of an integer program; a weight takes the bits that its layer's integers need
    once their common power of two is out.
    """
    return Network(
        program.input_shape,
        tuple(_population(layer) for layer in program.layers),
        relay_neurons(program),
    )


def _population(layer: Layer) -> Population:
    return Population(
        layer.name,
        layer.shape,
        tuple(_connection(synapse) for synapse in layer.synapses),
        layer.fires,
    )


def _connection(s: Synapse) -> Connection:
    delay = 0 if s.delays is None else int(s.delays.max(initial=0))
    if s.kind == "dense":
        return Connection(s.source, "dense", pool=s.pool, weight_bits=_bits(s), delay_steps=delay)
    kernel = (s.weight.shape[2], s.weight.shape[3])
    return Connection(
        s.source, "conv", kernel, s.stride, s.padding, s.dilation, s.groups, s.pool, _bits(s), delay
    )


def _bits(synapse: Synapse) -> int:
    magnitudes = np.abs(synapse.weight.astype(np.int64))
    together = int(
        np.bitwise_or.reduce(magnitudes, axis=None)
    )  # its trailing zeros are those that all weights share
    if together == 0:
        return 1
    shift = (together & -together).bit_length() - 1
    return int(magnitudes.max() >> shift).bit_length() + 1


def from_recipe(recipe: NetworkRecipe, input_shape: tuple[int, int, int], classes: int) -> Network:
    """The network that a recipe will train, with the shapes that its export will have: a map that
    is pooled loses its remainder.

    InputError if strides and pools leave nothing of the input.
    """
    layers: list[Population] = []
    source, pool = INPUT, 1
    size = input_shape[1:]
    for i, (channels, stride, next_pool) in enumerate(
        zip(recipe.channels, recipe.strides, recipe.pools, strict=True)
    ):
        height, width = (((n - 1) // stride + 1) // next_pool * next_pool for n in size)
        size = (height, width)
        if min(size) < 1:
            found = (
                f"strides {recipe.strides} and pools {recipe.pools} leave nothing of a"
                f" {input_shape[1:]} input"
            )
            raise InputError(
                f"network: {found}, expected at least one row and column; use fewer or smaller ones"
            )
        connection = Connection(source, "conv", (3, 3), (stride, stride), (1, 1), pool=pool)
        source, pool = f"conv{i + 1}", next_pool
        layers.append(Population(source, (channels, *size), (connection,)))
        size = (height // next_pool, width // next_pool)
    layers.append(
        Population("readout", (classes,), (Connection(source, "dense", pool=pool),), fires=False)
    )
    return Network(input_shape, tuple(layers))


def from_nir(path: Path) -> Network:
    """The network of a .nir file: layers of neurons, and a last synapse as the read-out. Weights
    will have BITS bits.

    InputError for a file or graph that cannot be read, and for a synapse without neurons behind it
    other than the last.
    """
    return from_graph(order(read_nir(path)))


def from_graph(graph: OrderedGraph) -> Network:
    """As `from_nir`, of an ordered graph. Several synapses may feed one layer, and one layer
    several synapses.
    """
    nodes = {node.name: node for node in graph.nodes}
    fed = {name: [node for node in graph.nodes if name in node.sources] for name in nodes}
    layers: list[Population] = []
    for node in graph.nodes:
        last = isinstance(node.operation, Conv | Dense) and not fed[node.name]
        if not isinstance(node.operation, Neuron) and not last:
            continue
        synapses = [node] if last else [_synapse(nodes, name, node) for name in node.sources]
        layers.append(
            Population(
                node.name,
                node.shape,
                tuple(_nir_connection(nodes, graph.input_name, s) for s in synapses),
                _fires(node),
            )
        )
    if not layers:
        raise InputError(
            "NIR graph: no layer of neurons and no synapse, expected at least one; export the"
            " network again"
        )
    return _cropped(Network(graph.input_shape, tuple(layers)))


def _fires(node: Node) -> bool:
    return isinstance(node.operation, Neuron) and node.operation.fires


def _synapse(nodes: dict[str, Node], name: str, neurons: Node) -> Node:
    found = nodes.get(name)
    while (
        found is not None and isinstance(found.operation, Scale | Delay) and len(found.sources) == 1
    ):
        found = nodes.get(found.sources[0])
    if found is None or not isinstance(found.operation, Conv | Dense):
        what = "the input" if found is None else f"a {type(found.operation).__name__}"
        raise InputError(
            f"NIR graph, node {neurons.name!r}: neurons fed by {what}, expected Conv2d, Affine or"
            " Linear before them; add one"
        )
    return found


def _nir_connection(nodes: dict[str, Node], start: str, synapse: Node) -> Connection:
    pool, at = 1, synapse
    while True:
        sources = (*at.sources, *at.past)
        if len(sources) != 1:
            raise InputError(
                f"NIR graph, node {at.name!r}: sums {list(sources)}, expected one source; put a"
                " synapse on each branch"
            )
        if sources[0] == start:
            source = INPUT
            break
        at = nodes[sources[0]]
        if isinstance(at.operation, Neuron):
            source = at.name
            break
        if isinstance(at.operation, Pool):
            pool *= at.operation.size
        elif not isinstance(at.operation, Flatten | Scale | Delay):
            raise InputError(
                f"NIR graph, node {synapse.name!r}: fed by the synapse {at.name!r}, expected"
                " neurons between them; add them"
            )
    operation = synapse.operation
    if isinstance(operation, Conv):
        kernel = (operation.weight.shape[2], operation.weight.shape[3])
        return Connection(
            source,
            "conv",
            kernel,
            operation.stride,
            operation.padding,
            operation.dilation,
            operation.groups,
            pool,
        )
    return Connection(source, "dense", pool=pool)


def _cropped(network: Network) -> Network:
    """Rows and columns that every reader of a layer drops in its pooling are not computed, as in
    the export.
    """
    layers = []
    for layer in network.layers:
        pools = {
            c.pool for other in network.layers for c in other.connections if c.source == layer.name
        }
        if len(layer.shape) == 3 and len(pools) == 1:
            pool = pools.pop()
            layer = replace(
                layer, shape=(layer.shape[0], *(n // pool * pool for n in layer.shape[1:]))
            )
        layers.append(layer)
    return replace(network, layers=tuple(layers))
