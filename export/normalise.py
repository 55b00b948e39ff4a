"""Normalisation of NIR graphs from elsewhere, for networks that read event recordings."""

from dataclasses import replace
from math import isqrt
from typing import TYPE_CHECKING

from tmkt.errors import Unsaid
from tmkt.nir.errors import refuse
from tmkt.nir.graph import DEFAULT_DT, Flatten, Node, OrderedGraph
from tmkt.nir.normalise import normalise_nodes
from tmkt.nir.to_nir import ordered_to_nir

if TYPE_CHECKING:
    import nir


def normalise(
    graph: OrderedGraph, sensor: tuple[int, int] | None
) -> "tuple[nir.NIRGraph, dict[str, list[str]]]":
    """Convert a graph to a nir.NIRGraph in this project's form, its time constants for steps of
    1e-4 s; returns the changes of each node, too, by name.

    `sensor` (height, width) of a network whose input is flat. InputError, naming the node, for what
    cannot be brought into this form.
    """
    shape = _input_shape(graph, sensor)
    normal, notes = normalise_nodes(graph)
    nodes = list(normal.nodes)
    if shape != graph.input_shape:
        flat = "input_flat"
        nodes = [
            replace(node, sources=tuple(flat if s == graph.input_name else s for s in node.sources))
            for node in nodes
        ]
        nodes.insert(0, Node(flat, Flatten(), (graph.input_name,), graph.input_shape))
    written = replace(normal, input_shape=shape, nodes=tuple(nodes), dt=DEFAULT_DT)
    return ordered_to_nir(written), notes


def _input_shape(graph: OrderedGraph, sensor: tuple[int, int] | None) -> tuple[int, int, int]:
    """Find (2, height, width): event recordings have two polarities."""
    shape = graph.input_shape
    if len(shape) == 1:
        if sensor is None:
            way_out = "say how: --sensor WIDTHxHEIGHT, of 2 polarities, each row by row"
            found = f"a flat input of {shape[0]}"
            message = str(refuse(graph.input_name, found, "an image of events", way_out))
            side = isqrt(shape[0] // 2)
            example = f"{side}x{side}" if 2 * side**2 == shape[0] else "WIDTHxHEIGHT"
            raise Unsaid(message, "--sensor", example)
        if 2 * sensor[0] * sensor[1] != shape[0]:
            raise refuse(
                graph.input_name,
                f"a flat input of {shape[0]}",
                f"2 x {sensor[0]} x {sensor[1]}",
                "give the right --sensor",
            )
        return (2, *sensor)
    if len(shape) != 3 or shape[0] != 2:
        way_out = "train it on both polarities, off and on"
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
