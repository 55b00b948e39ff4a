"""Ordering of NIR graphs: graphs within graphs are opened, loops through neurons cut, and each node
comes after its sources.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from tmkt.errors import InputError
from tmkt.nir.conventions import Conventions, settle
from tmkt.nir.errors import refuse, require
from tmkt.nir.file import import_nir
from tmkt.nir.graph import Node, OrderedGraph, Shape
from tmkt.nir.operations import operation
from tmkt.program.model import MAX_NEURONS

if TYPE_CHECKING:
    import nir

MAX_VALUES = 2 * MAX_NEURONS  # of all nodes' outputs together: parameters take 20 bytes for each
Edges = list[tuple[str, str]]


def order(
    graph: "nir.NIRGraph", conventions: Conventions | None = None, strict: bool = False
) -> OrderedGraph:
    """Check a graph and put it in order, by the conventions that are asked for, or that the file
    tells (`tmkt.nir.conventions`; `strict` as in `settle`).

    There must be one Input and one Output. Several edges into a node are summed. A connection from
    neurons through one synapse back to themselves is recurrent: it brings the spikes of the step
    before. InputError, naming the node, for longer loops, unknown nodes and shapes that do not fit.
    """
    nir = import_nir()
    nodes, edges = _opened(graph)
    start, end = (_only(nodes, kind) for kind in (nir.Input, nir.Output))
    inner = {name: node for name, node in nodes.items() if name not in (start, end)}
    settled = settle(inner, graph.metadata, conventions or Conventions(), strict)
    sources = {name: tuple(a for a, b in edges if b == name) for name in nodes}
    past = _cut_loops(inner, edges)
    shapes: dict[str, Shape] = {start: _input_shape(start, nodes, edges)}
    notes = list(settled.notes)
    if len(shapes[start]) != len(_shape(start, nodes[start])):
        notes.append(f"input {_shape(start, nodes[start])} read as {shapes[start]}")
    ordered: list[Node] = []
    values = int(np.prod(shapes[start]))
    waiting = list(inner)
    while waiting:
        name = next(
            (
                name
                for name in waiting
                if all(s in shapes or s in past[name] for s in sources[name]) and sources[name]
            ),
            None,
        )
        if name is None:
            stuck = waiting[0]
            what = (
                "has no source"
                if not sources[stuck]
                else "is part of a loop without delay, or behind one"
            )
            raise refuse(
                stuck,
                what,
                "a feed-forward graph, or loops from neurons through one synapse to themselves",
                "remove the loop",
            )
        waiting.remove(name)
        now = tuple(s for s in sources[name] if s not in past[name])
        found = {shapes[s] for s in now} | {_looped_shape(s, inner[s]) for s in past[name]}
        if len(found) > 1:
            raise refuse(
                name, f"sums inputs of shapes {sorted(found)}", "one shape", "correct the graph"
            )
        done, shape, note = operation(name, inner[name], found.pop(), settled)
        shapes[name] = shape
        values += int(np.prod(shape, dtype=float))
        require(
            values <= MAX_VALUES,
            name,
            f"{values} values a time step with the nodes before it",
            f"at most {MAX_VALUES}",
            "make the input or the network smaller",
        )
        before = "; the spikes of the step before" if past[name] else ""
        ordered.append(
            Node(
                name,
                done,
                sources=now,
                shape=shape,
                past=past[name],
                note=f"{type(inner[name]).__name__}: {note}{before}",
            )
        )
    if len(sources[end]) != 1 or not ordered or sources[end][0] not in inner:
        raise refuse(end, f"fed by {list(sources[end])}", "one node", "export one output")
    dead = [name for name in inner if not any(a == name for a, _ in edges)]
    if dead:
        raise refuse(
            dead[0],
            "feeds nothing",
            "that all nodes lead to the output, which is fed by the last node alone",
            "export one output",
        )
    last = next(node for node in ordered if node.name == sources[end][0])
    if any(last.name in node.sources for node in ordered):
        raise refuse(
            last.name,
            "feeds the output and other nodes",
            "the output to be fed by the last node alone",
            "export one output",
        )
    ordered.remove(last)
    return OrderedGraph(start, shapes[start], (*ordered, last), settled.dt, tuple(notes))


def _only(nodes: Mapping[str, Any], kind: type) -> str:
    names = [name for name, node in nodes.items() if isinstance(node, kind)]
    if len(names) != 1:
        raise InputError(
            f"NIR graph: {len(names)} {kind.__name__} nodes, expected one; export a network with a"
            " single one"
        )
    return names[0]


def _opened(graph: "nir.NIRGraph") -> tuple[dict[str, Any], Edges]:
    """List all nodes and edges. Nodes of a graph within the graph are called "outer.inner"; its
    input and output are bridged.
    """
    nir = import_nir()
    nodes: dict[str, Any] = {}
    edges: Edges = [(str(a), str(b)) for a, b in graph.edges]
    for name, node in graph.nodes.items():
        if not isinstance(node, nir.NIRGraph):
            nodes[name] = node
            continue
        inside, within = _opened(node)
        start, end = (f"{name}.{_only(inside, kind)}" for kind in (nir.Input, nir.Output))
        edges = [(end if a == name else a, start if b == name else b) for a, b in edges]
        edges += [(f"{name}.{a}", f"{name}.{b}") for a, b in within]
        nodes.update({f"{name}.{key}": value for key, value in inside.items()})
        for gate in (start, end):
            before, after = [a for a, b in edges if b == gate], [b for a, b in edges if a == gate]
            edges = [edge for edge in edges if gate not in edge] + [
                (a, b) for a in before for b in after
            ]
            del nodes[gate]
    if len(set(edges)) != len(edges):
        twice = next(edge for edge in edges if edges.count(edge) > 1)
        raise InputError(
            f"NIR graph: the edge {twice} is there twice, expected once; remove one, or double the"
            " weights"
        )
    unknown = {name for edge in edges for name in edge} - set(nodes)
    if unknown:
        raise InputError(
            f"NIR graph: an edge names {sorted(unknown)[0]!r}, expected one of the nodes; correct"
            " the graph"
        )
    return nodes, edges


def _cut_loops(nodes: Mapping[str, Any], edges: Edges) -> dict[str, tuple[str, ...]]:
    """Find for every node the neurons whose spikes of the step before it takes.

    Those are neurons that lead back to themselves through a path of nodes.
    """
    nir = import_nir()
    firing = nir.LIF | nir.IF | nir.CubaLIF | nir.Threshold
    past: dict[str, tuple[str, ...]] = dict.fromkeys(nodes, ())
    after = {name: [b for a, b in edges if a == name] for name in nodes}
    for neuron, node in nodes.items():
        if not isinstance(node, firing):
            continue
        for first in after[neuron]:
            at, seen = first, {first}
            while (
                at != neuron and len(after.get(at, ())) == 1 and not isinstance(nodes[at], firing)
            ):
                at = after[at][0]
                if at in seen or at not in nodes:
                    break
                seen.add(at)
            if at == neuron:
                require(
                    first != neuron,
                    neuron,
                    "a loop without a synapse",
                    "a Linear or Affine in it",
                    "add one",
                )
                joined = next(
                    (
                        name
                        for name in sorted(seen - {neuron})
                        if sum(b == name for _, b in edges) > 1
                    ),
                    None,
                )
                require(
                    joined is None,
                    str(joined),
                    "a loop that other nodes feed, too",
                    "one source",
                    "give the loop a synapse of its own",
                )
                past[first] = (*past[first], neuron)
    return past


def _looped_shape(name: str, node: Any) -> Shape:
    """Find the shape of neurons that a loop reaches before they are in order, by their
    parameters.
    """
    value: Any = getattr(node, "v_threshold", getattr(node, "threshold", 0.0))
    shape = tuple(int(n) for n in np.shape(value))
    require(
        len(shape) > 0 and int(np.prod(shape)) > 0,
        name,
        f"parameters of shape {shape} in a loop",
        "one number a neuron",
        "write them in full",
    )
    return shape


def _shape(name: str, node: Any) -> Shape:
    try:
        shape = tuple(int(n) for n in np.asarray(node.input_type["input"]).reshape(-1))
    except (TypeError, ValueError):
        raise refuse(
            name, "no shape", "the shape of the input", "write it into the Input node"
        ) from None
    require(
        0 < len(shape) <= 4 and min(shape) > 0 and np.prod(shape, dtype=float) <= MAX_NEURONS,
        name,
        f"shape {shape}",
        f"(C, H, W), (C, N) or (N,) of at most {MAX_NEURONS} values",
    )
    return shape


def _input_shape(start: str, nodes: Mapping[str, Any], edges: Edges) -> Shape:
    """Find the input's shape as the nodes read it: without a batch of one, and channels [C, N] as
    a map of one row.
    """
    nir = import_nir()
    shape = _shape(start, nodes[start])
    readers = [nodes[b] for a, b in edges if a == start]
    if len(shape) == 4:
        require(
            shape[0] == 1, start, f"shape {shape}", "(C, H, W)", "write the input without its batch"
        )
        shape = shape[1:]
    if len(shape) == 2:
        if shape[0] > 1 or any(isinstance(reader, nir.Conv1d) for reader in readers):
            return (shape[0], 1, shape[1])
        return shape[1:]  # a batch of one
    return shape
