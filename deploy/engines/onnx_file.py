"""Check ONNX files of bundles before ONNX Runtime opens them.

ONNX Runtime follows whatever a file says: it reads tensors from other files of the machine, loops
without end and calls operators of other vendors. So a file may hold only what our own graphs hold:
these messages, fields and operators. Field numbers are those of onnx.proto.
"""

from pathlib import Path
from typing import Literal, NamedTuple

from tmkt.deploy.engines.onnx_read import Graph
from tmkt.deploy.engines.onnx_shapes import RULES
from tmkt.deploy.engines.protobuf import LENGTH, VARINT, DamagedError, fields
from tmkt.errors import InputError

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


class _Part(NamedTuple):
    """A message still to be walked; `in_body`: it is in the body of a Scan."""

    message: Message
    data: memoryview
    in_body: bool


def check_onnx(content: bytes, path: Path) -> Graph:
    """Check an ONNX file that was read from `path`, and give its graph.

    Raises InputError if it holds anything that our own graphs do not hold.
    """
    try:
        _check(content)
        return Graph.read(content)
    except DamagedError as error:
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
    count = 0
    while parts:
        message, data, in_body = parts.pop()
        for number, wire, value in fields(data):
            count += 1
            if count > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS} fields")
            held = _FIELDS[message].get(number)
            if held is None:
                forbidden = _FORBIDDEN.get((message, number), f"field {number} of a {message}")
                raise ValueError(forbidden)
            if held == "data":
                continue
            if held == "side":
                if wire != VARINT or not any(byte & 127 for byte in value):
                    raise ValueError("an empty tensor")
                continue
            if wire != LENGTH:
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
    ours = name.decode("latin-1") in (RULES if in_body else {"Scan", *RULES})
    if not ours:
        place = " in the body of a Scan" if in_body else ""
        raise ValueError(f"the operator {_shown(name)}{place}")


def _shown(name: bytes) -> str:
    return ascii(name[:40].decode("ascii", "replace"))
