"""Normalisation of NIR graphs from elsewhere, for networks that read events or channels."""

from dataclasses import replace
from math import isqrt, prod
from typing import TYPE_CHECKING

from tmkt.errors import Unsaid
from tmkt.nir.errors import refuse
from tmkt.nir.graph import DEFAULT_DT, Dense, Flatten, Node, OrderedGraph, Shape
from tmkt.nir.normalise import normalise_nodes
from tmkt.nir.to_nir import ordered_to_nir

if TYPE_CHECKING:
    import nir


def normalise(
    graph: OrderedGraph, sensor: tuple[int, int] | None, channels: bool = False
) -> "tuple[nir.NIRGraph, dict[str, list[str]]]":
    """Convert a graph to a nir.NIRGraph in this project's form, its time constants for steps of
    1e-4 s; returns the changes of each node, too, by name.

    `channels`: the network reads channels of spikes, in any shape; else events of a camera, and
    `sensor` is (height, width) of a flat input. InputError, naming the node, for what cannot be
    brought into this form.
    """
    shape = graph.input_shape if channels else _camera_shape(graph, sensor)
    normal, notes = normalise_nodes(graph)
    nodes = list(normal.nodes)
    if shape != graph.input_shape:
        flat = "input_flat"
        nodes = [
            replace(node, sources=tuple(flat if s == graph.input_name else s for s in node.sources))
            for node in nodes
        ]
        nodes.insert(0, Node(flat, Flatten(), (graph.input_name,), graph.input_shape))
    written = replace(normal, input_shape=shape, nodes=_flattened(nodes, shape), dt=DEFAULT_DT)
    return ordered_to_nir(written), notes


def _flattened(nodes: list[Node], input_shape: Shape) -> tuple[Node, ...]:
    """Put the Flatten back that some writers leave out between a map and a dense synapse: others
    would apply the synapse to the map's last axis alone.
    """
    shapes: dict[str, Shape] = {}
    flat: dict[str, str] = {}
    done: list[Node] = []
    for node in nodes:
        sources = node.sources
        if isinstance(node.operation, Dense):
            for source in sources:
                shape = shapes.get(source, input_shape)
                if len(shape) > 1 and source not in flat:
                    flat[source] = f"{source}_flat"
                    done.append(Node(flat[source], Flatten(), (source,), (prod(shape),)))
            sources = tuple(flat.get(source, source) for source in sources)
        done.append(replace(node, sources=sources))
        shapes[node.name] = node.shape
    return tuple(done)


def _camera_shape(graph: OrderedGraph, sensor: tuple[int, int] | None) -> tuple[int, int, int]:
    """Find (2, height, width): event recordings have two polarities."""
    shape = graph.input_shape
    if len(shape) == 1:
        if sensor is None:
            way_out = (
                "say --dataset spikes for channels, or --sensor WIDTHxHEIGHT for 2 polarities, each"
                " row by row"
            )
            found = f"a flat input of {shape[0]}"
            expected = "channels of spikes, or an image of events"
            message = str(refuse(graph.input_name, found, expected, way_out))
            side = isqrt(shape[0] // 2)
            if 2 * side**2 == shape[0] and side > 1:
                raise Unsaid(message, "--sensor", f"{side}x{side}")
            raise Unsaid(message, "--dataset", "spikes")
        if 2 * sensor[0] * sensor[1] != shape[0]:
            raise refuse(
                graph.input_name,
                f"a flat input of {shape[0]}",
                f"2 x {sensor[0]} x {sensor[1]}",
                "give the right --sensor, or --dataset spikes for channels",
            )
        return (2, *sensor)
    if len(shape) != 3 or shape[0] != 2:
        way_out = "say --dataset spikes for channels, or train it on both polarities, off and on"
        raise refuse(
            graph.input_name,
            f"an input of {shape}",
            "(2, height, width), the two polarities of events",
            way_out,
        )
    if sensor is not None and sensor != shape[1:]:
        raise refuse(
            graph.input_name,
            f"an input of {shape}",
            f"(2, {sensor[0]}, {sensor[1]})",
            "leave --sensor out",
        )
    return (2, shape[1], shape[2])
