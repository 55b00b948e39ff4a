"""Networks as a placement sees them: shapes and connections, no weights. Made from a program, a
recipe or a NIR graph.
"""

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

import numpy as np

from tmkt.errors import InputError
from tmkt.install import pip_install
from tmkt.nir.file import read_nir
from tmkt.nir.graph import OrderedGraph
from tmkt.nir.lower import FloatLayer, lower
from tmkt.nir.normalise import normalise_nodes
from tmkt.nir.order import order
from tmkt.program.lava_form import relay_neurons
from tmkt.program.model import Layer, Program, Synapse
from tmkt.program.weight_grid import bits_of, least_shift
from tmkt.recipe import NetworkRecipe

BITS = 8  # of a weight that is not an integer yet: the default of an export
BITS_OF_ANY = 2  # of max pooling, whose weights are 1 and 0: the sign takes one


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

    `relay_neurons`: neurons that would hold spikes back where branches of unequal length meet, if
    no synapse had delays (None: not known).
    """

    input_shape: tuple[int, ...]
    layers: tuple[Population, ...]
    relay_neurons: int | None = None

    def shape_of(self, source: str) -> tuple[int, ...]:
        """Find the shape of a layer by name, or of the input."""
        return next(
            (layer.shape for layer in self.layers if layer.name == source), self.input_shape
        )


def volume(shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Write a shape as (C, H, W); (N,) counts as (N, 1, 1)."""
    return (shape[0], shape[1], shape[2]) if len(shape) == 3 else (prod(shape), 1, 1)


def from_program(program: Program) -> Network:
    """Take the network of an integer program.

    A weight takes the bits that its layer's integers need once their common power of two is out.
    """
    layers = tuple(_population(layer) for layer in program.layers)
    return Network(program.input_shape, layers, relay_neurons(program.layers))


def from_recipe(
    recipe: NetworkRecipe, input_shape: tuple[int, int, int], classes: int, bits: str = ""
) -> Network:
    """Build the network that a recipe will train, untrained, and take the layers of its export.

    `bits`: of its weights, as `tmkt train --qat` takes them; BITS in all layers if empty.

    Needs torch. InputError where that is not installed, and where strides and pools leave nothing
    of the input.
    """
    try:
        from tmkt.networks import SpikingNetwork
        from tmkt.nir.from_network import network_to_nir
    except ModuleNotFoundError as error:
        raise InputError(
            f"the package {error.name} is not installed, and placing a recipe or a run needs it;"
            f" {pip_install('export')}, or give a bundle"
        ) from None
    network = SpikingNetwork(recipe, input_shape, classes).eval()
    return from_graph(order(network_to_nir(network)), bits)


def from_nir(path: Path) -> Network:
    """Take the network of a .nir file, of any writer. Weights will have BITS bits.

    InputError for a file that cannot be read, and for a graph that no program can hold.
    """
    return from_graph(order(read_nir(path)))


def from_graph(graph: OrderedGraph, bits: str = "") -> Network:
    """Read an ordered NIR graph, as `from_nir` does; `bits` as in `from_recipe`."""
    normal, _ = normalise_nodes(graph)
    lowered = lower(normal)
    names = [layer.name for layer in lowered if not layer.is_any]
    each = dict(zip(names, bits_of(bits or BITS, names), strict=True))
    layers = tuple(_float_population(layer, each.get(layer.name, BITS_OF_ANY)) for layer in lowered)
    return Network(graph.input_shape, layers, relay_neurons(lowered))


def _population(layer: Layer) -> Population:
    bits = max(_bits(synapse) for synapse in layer.synapses)
    connections = tuple(_connection(s, s.weight.shape, bits) for s in layer.synapses)
    return Population(layer.name, layer.shape, connections, layer.fires)


def _float_population(layer: FloatLayer, bits: int) -> Population:
    pairs = zip(layer.synapses, layer.weights, strict=True)
    connections = tuple(_connection(s, weight.shape, bits) for s, weight in pairs)
    return Population(layer.name, layer.shape, connections, layer.fires)


def _connection(s: Synapse, weights: tuple[int, ...], bits: int) -> Connection:
    """Return a synapse with weights of the shape `weights`."""
    delay = 0 if s.delays is None else int(s.delays.max(initial=0))
    if s.kind == "dense":
        return Connection(s.source, "dense", pool=s.pool, weight_bits=bits, delay_steps=delay)
    return Connection(
        s.source,
        "conv",
        kernel=(weights[2], weights[3]),
        stride=s.stride,
        padding=s.padding,
        dilation=s.dilation,
        groups=s.groups,
        pool=s.pool,
        weight_bits=bits,
        delay_steps=delay,
    )


def _bits(synapse: Synapse) -> int:
    """Bits of a synapse's weights, sign included. A synapse has one exponent: zero bits at the end
    that all its weights share take no room.
    """
    largest = int(np.abs(synapse.weight.astype(np.int64)).max())
    return (largest >> (least_shift(synapse.weight) or 0)).bit_length() + 1
