"""Read the graph of an ONNX file, as far as its shapes depend on it.

The file has been checked (`onnx_file.py`), so it has no fields but those. Field numbers are those
of onnx.proto. Raises ValueError for what is not as ONNX has it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Self, TypeVar

import numpy as np

from tmkt.deploy.engines.protobuf import FOUR_BYTES, LENGTH, VARINT, fields, integers

MAX_AXES = 8  # ours have at most 6
MAX_KNOWN = 16  # values of a constant that may be a shape or axes
_INT64 = 7
_T = TypeVar("_T")
# Fields of an attribute by its type: float, int, graph, ints.
_CONTENT = {1: 2, 2: 3, 5: 6, 7: 8}


class Tensor(NamedTuple):
    """A tensor's shape, and its values where it is a short list of int64."""

    shape: tuple[int, ...]
    values: tuple[int, ...] | None = None


@dataclass
class Node:
    """One operation: its operator, the names that it reads and gives, and its attributes."""

    operator: str = ""
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    numbers: dict[str, list[int]] = field(default_factory=dict)  # attributes of whole numbers
    body: "Graph | None" = None


@dataclass
class Graph:
    """Nodes in the file's order, constants, and inputs and outputs in order.

    A shape of an input or output has numbers and names ("T", "B").
    """

    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, list[int | str]] = field(default_factory=dict)
    outputs: dict[str, list[int | str]] = field(default_factory=dict)

    @classmethod
    def read(cls, content: bytes) -> Self:
        """Read the graph of a model."""
        graph = cls()
        for part in _messages(memoryview(content), 7):
            graph.add(part)
        return graph

    def add(self, data: memoryview) -> None:
        """Add what a message holds: a message may come in parts."""
        for number, wire, value in fields(data):
            if number == 1:
                self.nodes.append(_node(value))
            elif number == 5:
                name, tensor = _tensor(value)
                _put(self.constants, name, tensor)
            elif number in (11, 12):
                _expect(wire, LENGTH)
                name, shape = _declared(value)
                _put(self.inputs if number == 11 else self.outputs, name, shape)


def _expect(wire: int, expected: int) -> None:
    if wire != expected:
        raise ValueError(f"wire type {wire}")


def _put(values: dict[str, _T], name: str, value: _T) -> None:
    if name in values:
        raise ValueError(f"two values called {name[:40]!a}")
    values[name] = value


def _text(wire: int, value: memoryview) -> str:
    _expect(wire, LENGTH)
    return bytes(value).decode("latin-1")  # one character a byte: no two names become one


def _messages(data: memoryview, wanted: int) -> Iterator[memoryview]:
    """Yield the messages in one field of a message."""
    for number, wire, value in fields(data):
        if number == wanted:
            _expect(wire, LENGTH)
            yield value


def _node(data: memoryview) -> Node:
    node = Node()
    for number, wire, value in fields(data):
        if number == 1:
            node.inputs.append(_text(wire, value))
        elif number == 2:
            node.outputs.append(_text(wire, value))
        elif number == 4:
            node.operator = _text(wire, value)
        elif number == 5:
            _add_attribute(node, value)
    return node


def _add_attribute(node: Node, data: memoryview) -> None:
    name, kind, body = "", 0, Graph()
    numbers: list[int] = []
    found: set[int] = set()
    for number, wire, value in fields(data):
        if number == 1:
            name = _text(wire, value)
        elif number == 20:
            _expect(wire, VARINT)
            kind = integers(value)[0]
        else:
            found.add(number)
            if number == 2:
                _expect(wire, FOUR_BYTES)
            elif number == 3:
                _expect(wire, VARINT)
                numbers = integers(value)
            elif number == 6:
                _expect(wire, LENGTH)
                body.add(value)
            elif wire in (LENGTH, VARINT):  # several numbers in one field, or one in each
                numbers += integers(value)
            else:
                raise ValueError(f"wire type {wire}")
    if found != {_CONTENT.get(kind)}:
        raise ValueError(f"an attribute {name[:40]!a} of another type than it says")
    if kind == 5:
        if node.body is not None:
            raise ValueError("a node with two graphs")
        node.body = body
    elif numbers:
        _put(node.numbers, name, numbers)


def _tensor(data: memoryview) -> tuple[str, Tensor]:
    name, kind, raw = "", 0, memoryview(b"")
    shape: list[int] = []
    for number, wire, value in fields(data):
        if number == 1:
            shape += integers(value)
        elif number == 2:
            _expect(wire, VARINT)
            kind = integers(value)[0]
        elif number == 8:
            name = _text(wire, value)
        elif number == 9:
            _expect(wire, LENGTH)
            raw = value
    if len(shape) > MAX_AXES or min(shape, default=1) < 1:
        raise ValueError(f"a tensor of shape {str(shape)[:60]}")
    is_list = kind == _INT64 and len(shape) <= 1 and len(raw) <= 8 * MAX_KNOWN
    if not is_list:
        return name, Tensor(tuple(shape))
    if len(raw) != 8 * (shape[0] if shape else 1):
        raise ValueError(f"{len(raw)} bytes in a tensor of shape {shape}")
    return name, Tensor(tuple(shape), tuple(np.frombuffer(raw, "<i8").tolist()))


def _declared(data: memoryview) -> tuple[str, list[int | str]]:
    """Read the name and shape of an input or output."""
    name = ""
    shape: list[int | str] = []
    for number, wire, value in fields(data):
        if number == 1:
            name = _text(wire, value)
        elif number == 2:
            _expect(wire, LENGTH)
            for tensor in _messages(value, 1):
                for sides in _messages(tensor, 2):
                    shape += [_side(side) for side in _messages(sides, 1)]
    return name, shape


def _side(data: memoryview) -> int | str:
    side: int | str = ""
    for number, wire, value in fields(data):
        if number == 1:
            _expect(wire, VARINT)
            side = integers(value)[0]
        elif number == 2:
            side = _text(wire, value)
    return side
