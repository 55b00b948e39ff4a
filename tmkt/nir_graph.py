"""A NIR graph, read, checked and put in order: what the float network runs and what the quantiser lowers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError

if TYPE_CHECKING:
    import nir

DEFAULT_DT = 1e-4  # seconds; NIR stores no time step, every library that writes it agrees on this one
MAX_FILE_BYTES = 2**31  # of all arrays of a file together, when unpacked
Floats = NDArray[np.float32]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Conv:
    """A convolution of [C, H, W]: `weight` [C_out, C_in / groups, K_y, K_x], `bias` [C_out]; pairs are (y, x)."""

    weight: Floats
    bias: Floats
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int


@dataclass(frozen=True)
class Dense:
    """`weight` [N_out, N_in] and `bias` [N_out]."""

    weight: Floats
    bias: Floats


@dataclass(frozen=True)
class Neuron:
    """LIF or IF neurons, every parameter an array of the layer's shape.

    LIF: v += decay * ((leak - v) + r * x) with decay = dt / tau. IF (`decay` None): v += r * x with r = NIR's r * dt.
    """

    decay: Floats | None
    r: Floats
    leak: Floats
    threshold: Floats
    reset: Floats


@dataclass(frozen=True)
class Pool:
    """The sum, or the mean, of `size` x `size` windows; the remainder is dropped."""

    size: int
    average: bool


@dataclass(frozen=True)
class Flatten:
    """[C, H, W] to [C * H * W]."""


@dataclass(frozen=True)
class Node:
    """One operation: its name, the nodes whose outputs it sums ("input" stands for the input), its output's shape."""

    name: str
    operation: Conv | Dense | Neuron | Pool | Flatten
    sources: tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class OrderedGraph:
    """The nodes, each after its sources; the last one feeds the output. `dt` in seconds."""

    input_name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    dt: float


def import_nir() -> Any:
    """The nir package; InputError saying how to install it where it is missing. It brings no torch."""
    try:
        import nir
    except ImportError:
        raise InputError("the package nir is not installed, and network.nir needs it; install it with: pip install 'tmkt[export]'") from None
    return nir


def read_nir(path: Path) -> "nir.NIRGraph":
    """Reads a .nir file. InputError if it is missing, not NIR, or would unpack to more than MAX_FILE_BYTES."""
    nir = import_nir()
    import h5py

    if not path.is_file():
        raise InputError(f"{path}: no such file, expected a .nir file; export the network again")
    sizes: list[int] = []
    try:
        with h5py.File(path, "r") as file:
            file.visititems(lambda _, item: sizes.append(item.nbytes) if isinstance(item, h5py.Dataset) else None)
        if sum(sizes) > MAX_FILE_BYTES:
            raise InputError(f"{path}: unpacks to {sum(sizes)} bytes, expected at most {MAX_FILE_BYTES}; choose a smaller network")
        return nir.read(path, type_check=False)  # nir's own check is wrong for grouped convolutions and for kernels that are not square
    except (OSError, KeyError, ValueError, TypeError, AttributeError, AssertionError, RuntimeError) as error:
        raise InputError(f"{path}: not a readable NIR file ({type(error).__name__}: {str(error)[:100]}); export the network again") from None


def order(graph: "nir.NIRGraph", dt: float | None = None) -> OrderedGraph:
    """Checks a graph and orders it. `dt` overrides the time step that the graph's metadata names.

    Known nodes: Input, Output, Conv2d, Affine, Linear, LIF, IF, SumPool2d, AvgPool2d, Flatten; several edges into a node are summed.
    Anything else, a cycle, shapes that do not fit, pooling with padding or overlap: InputError naming the node.
    """
    nir = import_nir()
    if dt is None:
        dt = float(graph.metadata.get("dt", DEFAULT_DT))
    if not 0 < dt < np.inf:
        raise InputError(f"NIR graph: time step {dt}, expected a positive number of seconds; give the right dt")
    kinds = {kind: [name for name, node in graph.nodes.items() if isinstance(node, kind)] for kind in (nir.Input, nir.Output)}
    for kind, names in kinds.items():
        if len(names) != 1:
            raise InputError(f"NIR graph: {len(names)} {kind.__name__} nodes, expected one; export a network with a single one")
    [start], [end] = kinds.values()
    sources = {name: tuple(a for a, b in graph.edges if b == name) for name in graph.nodes}
    shapes: dict[str, Shape] = {start: tuple(int(n) for n in graph.nodes[start].input_type["input"])}
    nodes: list[Node] = []
    waiting = [name for name in graph.nodes if name not in (start, end)]
    while waiting:
        ready = [name for name in waiting if sources[name] and all(source in shapes for source in sources[name])]
        if not ready:
            raise InputError(f"NIR graph, node {waiting[0]!r}: unconnected or part of a cycle, expected a feed-forward graph; remove the loop")
        name = ready[0]
        waiting.remove(name)
        found = {shapes[source] for source in sources[name]}
        if len(found) > 1:
            raise InputError(f"NIR graph, node {name!r}: sums inputs of shapes {sorted(found)}, expected one shape; correct the graph")
        operation = _operation(name, graph.nodes[name], dt)
        shapes[name] = _output_shape(name, operation, found.pop())
        nodes.append(Node(name, operation, sources[name], shapes[name]))
    if len(sources[end]) != 1 or not nodes or sources[end][0] != nodes[-1].name:
        raise InputError(f"NIR graph, node {end!r}: fed by {list(sources[end])}, expected the last node alone; export one output")
    return OrderedGraph(start, shapes[start], tuple(nodes), dt)


def _floats(value: Any) -> Floats:
    return np.ascontiguousarray(value, np.float32)


def _pair(name: str, what: str, value: Any) -> tuple[int, int]:
    if isinstance(value, str | bytes):
        raise InputError(f"NIR graph, node {name!r}: {what} {value!r}, expected numbers; write the padding in pixels")
    a = np.asarray(value).astype(int).reshape(-1)
    if a.size not in (1, 2) or a.min() < 0:
        raise InputError(f"NIR graph, node {name!r}: {what} {a.tolist()}, expected one or two numbers from 0 on; correct the graph")
    return int(a[0]), int(a[-1])


def _operation(name: str, node: Any, dt: float) -> Conv | Dense | Neuron | Pool | Flatten:
    nir = import_nir()
    if isinstance(node, nir.Conv2d):
        weight = _floats(node.weight)
        bias = np.zeros(weight.shape[0], np.float32) if node.bias is None else _floats(node.bias)
        stride, padding, dilation = (_pair(name, what, getattr(node, what)) for what in ("stride", "padding", "dilation"))
        return Conv(weight, bias, stride, padding, dilation, int(node.groups))
    if isinstance(node, nir.Affine | nir.Linear):
        weight = _floats(node.weight)
        return Dense(weight, _floats(node.bias) if isinstance(node, nir.Affine) else np.zeros(weight.shape[0], np.float32))
    if isinstance(node, nir.LIF | nir.IF):
        threshold, reset = _floats(node.v_threshold), _floats(node.v_reset)
        if isinstance(node, nir.IF):
            return Neuron(None, np.float32(dt) * _floats(node.r), np.zeros_like(threshold), threshold, reset)
        decay = np.float32(dt) / _floats(node.tau)  # in float32: exact for powers of two, as 2 * dt is exactly twice dt
        return Neuron(decay, _floats(node.r), _floats(node.v_leak), threshold, reset)
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        kernel, stride, padding = (_pair(name, what, getattr(node, what)) for what in ("kernel_size", "stride", "padding"))
        if kernel != stride or kernel[0] != kernel[1] or padding != (0, 0) or kernel[0] < 1:
            found = f"kernel {kernel}, stride {stride}, padding {padding}"
            raise InputError(f"NIR graph, node {name!r}: {found}, expected a square kernel with an equal stride and no padding; change the pooling")
        return Pool(kernel[0], isinstance(node, nir.AvgPool2d))
    if isinstance(node, nir.Flatten):
        return Flatten()
    known = "Conv2d, Affine, Linear, LIF, IF, SumPool2d, AvgPool2d, Flatten"
    raise InputError(f"NIR graph, node {name!r}: is a {type(node).__name__}, known are {known}; export a network made of those")


def _output_shape(name: str, operation: Conv | Dense | Neuron | Pool | Flatten, shape: Shape) -> Shape:
    def require(ok: bool, found: object, expected: str) -> None:
        if not ok:
            raise InputError(f"NIR graph, node {name!r}: found {found}, expected {expected}; correct the graph")

    if isinstance(operation, Conv):
        w, groups = operation.weight, operation.groups
        require(len(shape) == 3 and w.ndim == 4 and groups >= 1, (shape, w.shape), "a convolution of [C, H, W]")
        require(w.shape[1] * groups == shape[0] and w.shape[0] % groups == 0, w.shape, f"weights for {shape[0]} channels in {groups} groups")
        require(operation.bias.shape == w.shape[:1], operation.bias.shape, f"a bias of {w.shape[:1]}")
        require(min(operation.stride + operation.dilation) >= 1, operation.stride, "stride and dilation from 1 on")
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(shape[1:], operation.padding, operation.dilation, w.shape[2:], operation.stride, strict=True)
        ]
        require(min(size) >= 1, shape, f"an input as large as the kernel {w.shape[2:]}")
        return (w.shape[0], *size)
    if isinstance(operation, Dense):
        w = operation.weight
        require(w.ndim == 2 and shape == w.shape[1:], (shape, w.shape), "weights [N_out, N_in] for a flat input")
        require(operation.bias.shape == w.shape[:1], operation.bias.shape, f"a bias of {w.shape[:1]}")
        return (w.shape[0],)
    if isinstance(operation, Neuron):
        arrays = [a for a in (operation.decay, operation.r, operation.leak, operation.threshold, operation.reset) if a is not None]
        require(all(a.shape == shape for a in arrays), [a.shape for a in arrays], f"parameters of shape {shape}")
        require(all(np.isfinite(a).all() for a in arrays), "infinite or undefined parameters", "numbers")
        require(bool((operation.threshold > 0).all()), f"threshold {operation.threshold.min()}", "a threshold above 0")
        return shape
    if isinstance(operation, Pool):
        require(len(shape) == 3 and min(shape[1:]) >= operation.size, shape, f"a map of at least {operation.size} x {operation.size}")
        return (shape[0], shape[1] // operation.size, shape[2] // operation.size)
    return (int(np.prod(shape)),)


def spiking(nodes: Sequence[Node]) -> list[str]:
    """The names of the spiking layers, in order."""
    return [node.name for node in nodes if isinstance(node.operation, Neuron)]
