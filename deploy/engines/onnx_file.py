"""Check ONNX files of bundles before ONNX Runtime opens them.

ONNX Runtime follows whatever a file says: it reads tensors from other files of the machine, loops
without end and calls operators of other vendors. So a file may hold only what our own graphs hold:
these messages, fields and operators. This walk reads the protobuf wire format itself
(https://protobuf.dev/programming-guides/encoding/), as a host that runs bundles needs no `onnx`.
Field numbers are those of onnx.proto.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from tmkt.errors import InputError

# Operators of network.onnx and network-float.onnx (tmkt.export.targets).
# fmt: off
OPERATORS = frozenset((
    b"Add", b"AveragePool", b"Cast", b"Clip", b"Concat", b"Conv", b"Equal", b"Expand",
    b"Greater", b"GreaterOrEqual", b"Identity", b"LessOrEqual", b"MatMul", b"Mul", b"ReduceSum",
    b"Reshape", b"Round", b"Scan", b"Shape", b"Slice", b"Sub", b"ThresholdedRelu", b"Transpose",
    b"Unsqueeze", b"Where",
))
# fmt: on
MAX_FIELDS = 2**19  # of all messages: a hundred times those of an 18-layer network

Message = Literal["model", "opset", "graph", "node", "attribute", "body", "tensor"]
# What a field holds: a message, plain data, the name of an operator, an operator's domain, or the
# length of a tensor's side. No side is 0: a Scan over [2^62, 0] would take no memory and not end.
Content = Message | Literal["data", "operator", "domain", "side"]
_GRAPH: dict[int, Content] = {1: "node", 2: "data", 5: "tensor", 11: "data", 12: "data"}
_FIELDS: dict[Message, dict[int, Content]] = {
    # version, producer, graph, operator sets, metadata
    "model": {1: "data", 2: "data", 7: "graph", 8: "opset", 14: "data"},
    "opset": {1: "domain", 2: "data"},
    # nodes, name, initialisers, inputs, outputs
    "graph": _GRAPH,
    "body": _GRAPH,
    # inputs, outputs, name, operator, attributes
    "node": {1: "data", 2: "data", 3: "data", 4: "operator", 5: "attribute", 7: "domain"},
    # name, number, integer, graph, integers, type
    "attribute": {1: "data", 2: "data", 3: "data", 6: "body", 8: "data", 20: "data"},
    # sides, type, name, content
    "tensor": {1: "side", 2: "data", 8: "data", 9: "data"},
}
_FORBIDDEN = {
    ("model", 25): "functions of its own",
    ("tensor", 13): "a tensor in another file",
    ("tensor", 14): "a tensor in another file",
}
_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5


class _DamagedError(ValueError):
    """The bytes are not a protobuf message."""


class _Part(NamedTuple):
    """A message still to be walked; `in_body`: it is in the body of a Scan."""

    message: Message
    data: memoryview
    in_body: bool


def check_onnx(content: bytes, path: Path) -> None:
    """Check an ONNX file that was read from `path`.

    Raises InputError if it holds anything that our own graphs do not hold.
    """
    try:
        _check(content)
    except _DamagedError as error:
        raise InputError(
            f"{path}: ONNX Runtime cannot load it (no ONNX file: {error}); export the network again"
        ) from None
    except ValueError as error:
        raise InputError(
            f"{path}: found {error}, expected only what tmkt writes; export the network again"
        ) from None


def _check(content: bytes) -> None:
    """Walk all messages. Raises ValueError, which names what is found."""
    parts = [_Part("model", memoryview(content), in_body=False)]
    fields = 0
    while parts:
        message, data, in_body = parts.pop()
        for number, wire, value in _fields(data):
            fields += 1
            if fields > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            held = _FIELDS[message].get(number)
            if held is None:
                forbidden = _FORBIDDEN.get((message, number), f"field {number} of a {message}")
                raise ValueError(forbidden)
            if held == "data":
                continue
            if held == "side":
                if wire != _VARINT or not any(byte & 127 for byte in value):
                    raise ValueError("an empty tensor")
                continue
            if wire != _LENGTH:
                raise ValueError(f"wire type {wire} in field {number} of a {message}")
            if held == "operator":
                _check_operator(bytes(value), in_body)
            elif held == "domain":
                if value:
                    raise ValueError(f"operators of the domain {_shown(bytes(value))}")
            elif held == "body" and in_body:
                raise ValueError("a graph in the body of a Scan")
            else:
                parts.append(_Part(held, value, in_body or held == "body"))


def _check_operator(name: bytes, in_body: bool) -> None:
    nested = in_body and name == b"Scan"
    if name not in OPERATORS or nested:
        place = " in the body of a Scan" if in_body else ""
        raise ValueError(f"the operator {_shown(name)}{place}")


def _shown(name: bytes) -> str:
    return ascii(name[:40].decode("ascii", "replace"))


def _fields(data: memoryview) -> Iterator[tuple[int, int, memoryview]]:
    """Yield number, wire type and bytes of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = _varint(data, at, longest=5)
        number, wire = tag >> 3, tag & 7
        if tag >= 2**32 or number == 0:
            raise _DamagedError("a field's tag out of range")
        start = at
        if wire == _VARINT:
            _, at = _varint(data, at, longest=10)
        elif wire == _LENGTH:
            size, start = _varint(data, at, longest=5)
            at = start + size
        elif wire in (_EIGHT_BYTES, _FOUR_BYTES):
            at += 8 if wire == _EIGHT_BYTES else 4
        else:
            raise _DamagedError(f"wire type {wire}")
        if at > len(data):
            raise _DamagedError("a field longer than its message")
        yield number, wire, data[start:at]


def _varint(data: memoryview, at: int, longest: int) -> tuple[int, int]:
    """Read a number of at most `longest` bytes; return it and the place after it."""
    value = 0
    for i, byte in enumerate(data[at : at + longest]):
        value |= (byte & 127) << (7 * i)
        if byte < 128:
            return value, at + i + 1
    raise _DamagedError("a number without an end")
