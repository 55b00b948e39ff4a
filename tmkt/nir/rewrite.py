"""A graph while it is rewritten: new nodes, and the factors that are still to go into weights."""

from dataclasses import replace

import numpy as np

from tmkt.nir.errors import refuse
from tmkt.nir.graph import Conv, Delay, Dense, Floats, Node, OrderedGraph, Shape


class Rewrite:
    """Nodes rewritten so far.

    `done`: the new nodes by name, in order. `notes`: changes of each node of the old graph.
    `factor`: what a node's outputs still have to be multiplied with, in the weights of its
    readers. `readers`: names of the nodes that read a node.
    """

    def __init__(self, graph: OrderedGraph) -> None:
        self.done: dict[str, Node] = {}
        self.notes: dict[str, list[str]] = {}
        self.factor: dict[str, Floats] = {}
        self.shapes: dict[str, Shape] = {
            graph.input_name: graph.input_shape,
            **{node.name: node.shape for node in graph.nodes},
        }
        self.readers = {
            name: [node.name for node in graph.nodes if name in (*node.sources, *node.past)]
            for name in self.shapes
        }
        self.last = graph.nodes[-1].name
        self._instead: dict[str, tuple[str, ...]] = {}

    def note(self, name: str, text: str) -> None:
        """Note a change of a node."""
        self.notes.setdefault(name, []).append(text)

    def with_new_sources(self, node: Node) -> Node:
        """Replace sources that were removed by what they read."""
        sources = (new for old in node.sources for new in self._instead.get(old, (old,)))
        return replace(node, sources=tuple(sources))

    def remove(self, node: Node) -> None:
        """Leave a node out: its readers read its sources."""
        self._instead[node.name] = node.sources
        for source in node.sources:
            self.readers[source] = self.readers[node.name]

    def insert(self, name: str, operation: Conv | Dense, before: Node) -> Node:
        """Put a node between `before` and its sources; returns `before` with its new source."""
        while name in self.shapes:
            name += "_"
        self.done[name] = Node(name, operation, before.sources, before.shape)
        self.shapes[name], self.readers[name] = before.shape, [before.name]
        return replace(before, sources=(name,))

    def common_factor(self, node: Node) -> Floats | None:
        """Find the factor that all sources of a node share; InputError where they differ."""
        factors = [self.factor.get(source) for source in node.sources]
        first = factors[0] if factors else None
        for other in factors[1:]:
            same = (
                other is None
                if first is None
                else other is not None and bool(np.array_equal(first, other))
            )
            if not same:
                raise refuse(
                    node.name,
                    f"sums {list(node.sources)}, which are scaled differently",
                    "one scale",
                    "put a synapse on each branch",
                )
        return first

    def own_synapses(self, node: Node) -> list[str]:
        """Name the synapses before a node, also through delays.

        Empty unless all its sources are synapses that it alone reads.
        """
        found = []
        for source in node.sources:
            at = source
            while (
                at in self.done
                and isinstance(self.done[at].operation, Delay)
                and len(self.done[at].sources) == 1
            ):
                at = self.done[at].sources[0]
            alone = all(len(self.readers[name]) == 1 for name in (source, at))
            synapse = at in self.done and isinstance(self.done[at].operation, Conv | Dense)
            if not synapse or not alone:
                return []
            found.append(at)
        return found

    def comes_from_synapse(self, source: str) -> bool:
        """Tell whether a source is a synapse, or delays of one."""
        while source in self.done and isinstance(self.done[source].operation, Delay):
            source = self.done[source].sources[0]
        return source in self.done and isinstance(self.done[source].operation, Conv | Dense)

    def multiply(self, synapses: list[str], factor: Floats) -> None:
        """Multiply weights and biases of synapses by a factor for each of their outputs."""
        for name in synapses:
            node = self.done[name]
            assert isinstance(node.operation, Conv | Dense)
            gain = (
                factor.reshape(-1)
                if isinstance(node.operation, Dense)
                else factor_by_channel(name, factor)
            )
            ones = [1] * (node.operation.weight.ndim - 1)
            weight = node.operation.weight * gain.reshape(-1, *ones)
            self.done[name] = replace(
                node,
                operation=replace(node.operation, weight=weight, bias=node.operation.bias * gain),
            )


def factor_by_channel(name: str, factor: Floats) -> Floats:
    """Reduce a factor [C, H, W] to [C]; InputError about the node `name` where it differs within a
    channel.
    """
    if np.any(factor != factor[:, :1, :1]):
        raise refuse(
            name,
            "a Scale that differs within a channel",
            "one number a channel",
            "flatten before it, or train with a shared one",
        )
    return np.ascontiguousarray(factor[:, 0, 0])
