"""Shapes of what the operators of our ONNX graphs give, and what they cost.

One rule an operator (https://onnx.ai/onnx/operators/, opset 21), for the inputs and attributes that
our graphs use; anything else is a ValueError.
"""

from collections.abc import Callable
from math import prod

from tmkt.deploy.engines.onnx_read import MAX_AXES, MAX_KNOWN, Node, Tensor

Shape = tuple[int, ...]
Inputs = list[Tensor]
Result = tuple[Tensor, int]  # what an operator gives, and its multiplications or copies


def apply(node: Node, inputs: Inputs) -> Result:
    """Give the result of an operator (not of Scan), and the operations that it takes."""
    if node.operator not in RULES:
        raise ValueError(f"the operator {node.operator[:40]!a}")
    rule, attributes = RULES[node.operator]
    if other := node.numbers.keys() - attributes:
        raise ValueError(f"the attribute {min(other)[:40]!a} of the operator {node.operator!a}")
    try:
        given, operations = rule(node, inputs)
    except (IndexError, KeyError, ZeroDivisionError):
        raise ValueError(f"the operator {node.operator!a} with too little input") from None
    if len(given.shape) > MAX_AXES or min(given.shape, default=0) < 0:
        raise ValueError(f"the shape {str(list(given.shape))[:60]}")
    if given.values is not None and len(given.values) > MAX_KNOWN:
        given = Tensor(given.shape)
    return given, max(operations, prod(given.shape), *(prod(x.shape) for x in inputs))


def _broadcast(shapes: list[Shape]) -> Shape:
    """Give the shape of an operation on each pair of elements."""
    axes = max(len(shape) for shape in shapes)
    sides = zip(*[(1,) * (axes - len(shape)) + shape for shape in shapes], strict=True)
    shape = []
    for side in sides:
        wide = {n for n in side if n != 1}
        if len(wide) > 1:
            raise ValueError(f"shapes that do not fit each other: {str(shapes)[:60]}")
        shape.append(wide.pop() if wide else 1)
    return tuple(shape)


def _values(tensor: Tensor) -> tuple[int, ...]:
    if tensor.values is None:
        raise ValueError("a shape that depends on data")
    return tensor.values


def _axis(axis: int, axes: int) -> int:
    if not -axes <= axis < axes:
        raise ValueError(f"the axis {axis} of {axes}")
    return axis % axes


def _elementwise(_: Node, inputs: Inputs) -> Result:
    return Tensor(_broadcast([x.shape for x in inputs])), 0


def _same(_: Node, inputs: Inputs) -> Result:
    return Tensor(inputs[0].shape), 0


def _shape(node: Node, inputs: Inputs) -> Result:
    [start], [end] = (
        node.numbers.get(name, [value]) for name, value in (("start", 0), ("end", 99))
    )
    sides = inputs[0].shape[start:end]
    return Tensor((len(sides),), sides), 0


def _concat(node: Node, inputs: Inputs) -> Result:
    first = inputs[0].shape
    axis = _axis(node.numbers["axis"][0], len(first))
    if len({(*x.shape[:axis], 0, *x.shape[axis + 1 :]) for x in inputs}) > 1:
        raise ValueError("shapes that do not fit each other in a Concat")
    side = sum(x.shape[axis] for x in inputs)
    lists = [x.values for x in inputs]
    values = None
    if len(first) == 1 and None not in lists:
        values = tuple(n for known in lists if known is not None for n in known)
    return Tensor((*first[:axis], side, *first[axis + 1 :]), values), 0


def _slice(_: Node, inputs: Inputs) -> Result:
    data, *rest = inputs
    starts, ends, axes = map(_values, rest)
    shape = list(data.shape)
    if len({_axis(axis, len(shape)) for axis in axes}) < len(axes):
        raise ValueError("a Slice that names an axis twice")
    for start, end, axis in zip(starts, ends, axes, strict=True):
        shape[axis] = len(range(*slice(start, end).indices(shape[axis])))
    return Tensor(tuple(shape)), 0


def _reshape(_: Node, inputs: Inputs) -> Result:
    data, wanted = inputs
    shape, size = list(_values(wanted)), prod(data.shape)
    if min(shape, default=1) < -1 or 0 in shape or shape.count(-1) > 1:
        raise ValueError(f"a Reshape to {str(shape)[:60]}")
    if -1 in shape:
        known = -prod(shape)
        shape[shape.index(-1)] = size // known
    if prod(shape) != size:
        raise ValueError(f"a Reshape of {str(data.shape)[:60]} to {str(shape)[:60]}")
    return Tensor(tuple(shape)), 0


def _expand(_: Node, inputs: Inputs) -> Result:
    data, wanted = inputs
    shape = _values(wanted)
    if min(shape, default=1) < 1:
        raise ValueError(f"an Expand to {str(list(shape))[:60]}")
    return Tensor(_broadcast([data.shape, shape])), 0


def _unsqueeze(_: Node, inputs: Inputs) -> Result:
    data, wanted = inputs
    axes = len(data.shape) + len(_values(wanted))
    new = {_axis(axis, axes) for axis in _values(wanted)}
    sides = iter(data.shape)
    return Tensor(tuple(1 if i in new else next(sides) for i in range(axes))), 0


def _transpose(node: Node, inputs: Inputs) -> Result:
    shape, order = inputs[0].shape, node.numbers["perm"]
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"a Transpose by {str(order)[:60]}")
    return Tensor(tuple(shape[i] for i in order)), 0


def _reduce_sum(node: Node, inputs: Inputs) -> Result:
    data, wanted = inputs
    shape = data.shape
    axes = {_axis(axis, len(shape)) for axis in _values(wanted)}
    if node.numbers["keepdims"] != [0]:
        raise ValueError("a ReduceSum that keeps axes")
    return Tensor(tuple(n for i, n in enumerate(shape) if i not in axes)), 0


def _matmul(_: Node, inputs: Inputs) -> Result:
    (*batch, rows, inner), (*others, depth, columns) = inputs[0].shape, inputs[1].shape
    if inner != depth:
        raise ValueError(f"a MatMul of {inputs[0].shape} and {inputs[1].shape}"[:80])
    shape = (*_broadcast([tuple(batch), tuple(others)]), rows, columns)
    return Tensor(shape), prod(shape) * inner


def _windows(node: Node, sides: Shape, kernel: Shape) -> Shape:
    """Give the sides of the map that a kernel makes, which is moved over one of these sides."""
    axes, numbers = len(sides), node.numbers
    strides = numbers.get("strides", [1] * axes)
    dilations = numbers.get("dilations", [1] * axes)
    pads = numbers.get("pads", [0] * (2 * axes))
    if len(strides) != axes or len(dilations) != axes or len(pads) != 2 * axes:
        raise ValueError(f"a {node.operator} of {axes} axes with other settings")
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0:
        raise ValueError(f"a {node.operator} with settings below 1")
    settings = zip(sides, kernel, strides, dilations, pads[:axes], pads[axes:], strict=True)
    return tuple((n + a + b - d * (k - 1) - 1) // s + 1 for n, k, s, d, a, b in settings)


def _conv(node: Node, inputs: Inputs) -> Result:
    data, weight = inputs[0].shape, inputs[1].shape
    [groups] = node.numbers.get("group", [1])
    fits = len(data) == len(weight) > 2 and data[1] == weight[1] * groups
    if not fits:
        raise ValueError(f"a Conv of {data} with {weight}"[:80])
    shape = (data[0], weight[0], *_windows(node, data[2:], weight[2:]))
    return Tensor(shape), prod(shape) * prod(weight[1:])


def _average_pool(node: Node, inputs: Inputs) -> Result:
    data, kernel = inputs[0].shape, tuple(node.numbers["kernel_shape"])
    shape = (*data[:2], *_windows(node, data[2:], kernel))
    return Tensor(shape), prod(shape) * prod(kernel)


_MANY = frozenset(("pads", "strides"))
# By operator: its rule, and the attributes of whole numbers that the rule knows.
RULES: dict[str, tuple[Callable[[Node, Inputs], Result], frozenset[str]]] = {
    **dict.fromkeys(
        ("Add", "Equal", "Greater", "GreaterOrEqual", "LessOrEqual", "Mul", "Sub", "Where", "Clip"),
        (_elementwise, frozenset()),
    ),
    **dict.fromkeys(("Identity", "Round", "ThresholdedRelu"), (_same, frozenset())),
    "Cast": (_same, frozenset(("to",))),
    "Shape": (_shape, frozenset(("start", "end"))),
    "Concat": (_concat, frozenset(("axis",))),
    "Slice": (_slice, frozenset()),
    "Reshape": (_reshape, frozenset()),
    "Expand": (_expand, frozenset()),
    "Unsqueeze": (_unsqueeze, frozenset()),
    "Transpose": (_transpose, frozenset(("perm",))),
    "ReduceSum": (_reduce_sum, frozenset(("keepdims",))),
    "MatMul": (_matmul, frozenset()),
    "Conv": (_conv, _MANY | {"dilations", "group", "kernel_shape"}),
    "AveragePool": (_average_pool, _MANY | {"kernel_shape"}),
}
