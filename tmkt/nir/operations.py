"""One node of a NIR file as an operation: its numbers checked, spread to its shape, and its
conventions applied.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.nir.conventions import Settled
from tmkt.nir.file import import_nir
from tmkt.nir.graph import (
    Conv,
    Delay,
    Dense,
    Flatten,
    Floats,
    Neuron,
    Operation,
    Pool,
    Scale,
    Shape,
)

MAX_DELAY_STEPS = 1000  # ours: what a delay keeps in memory
KNOWN = (
    "Conv1d, Conv2d, Linear, Affine, Scale, SumPool2d, AvgPool2d, Flatten, IF, LIF, CubaLIF, LI,"
    " CubaLI, I, Threshold, Delay"
)


def refuse(name: str, found: object, expected: str, way_out: str) -> InputError:
    """The error about a node."""
    return InputError(f"NIR graph, node {name!r}: {found}, expected {expected}; {way_out}")


def require(
    ok: bool, name: str, found: object, expected: str, way_out: str = "correct the graph"
) -> None:
    """Raises `refuse(...)` unless `ok`."""
    if not ok:
        raise refuse(name, f"found {found}", expected, way_out)


def operation(name: str, node: Any, shape: Shape, settled: Settled) -> tuple[Operation, Shape, str]:
    """The operation of a NIR node on inputs of `shape`, its output's shape, and how it was read, in
    words.
    """
    nir = import_nir()
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        return _convolution(name, node, shape)
    if isinstance(node, nir.Affine | nir.Linear):
        return _dense(name, node, shape)
    if isinstance(node, nir.Scale):
        factor = _spread(name, "scale", node.scale, shape)
        return Scale(factor), shape, f"times {_say(factor)}"
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        return _pool(name, node, shape)
    if isinstance(node, nir.Flatten):
        return Flatten(), (int(np.prod(shape)),), _flatten_note(name, node, shape)
    if isinstance(node, nir.Delay):
        steps = _spread(name, "delay", node.delay, shape).astype(np.float64) / settled.dt
        whole = np.rint(steps)
        found = f"delays of {_say(steps)} time steps"
        require(
            bool(np.all(np.abs(steps - whole) <= 1e-3)),
            name,
            found,
            "whole numbers of steps",
            "choose a --dt that divides them",
        )
        require(
            bool(np.all((whole >= 0) & (whole <= MAX_DELAY_STEPS))),
            name,
            found,
            f"0..{MAX_DELAY_STEPS}",
            "choose another --dt",
        )
        return Delay(whole.astype(np.int64)), shape, f"{_say(whole)} time steps later"
    if isinstance(
        node, nir.IF | nir.LIF | nir.CubaLIF | nir.I | nir.LI | nir.CubaLI | nir.Threshold
    ):
        neuron, note = _neuron(name, node, shape, settled)
        return neuron, shape, note
    raise InputError(
        f"NIR graph, node {name!r}: is a {type(node).__name__}, known are {KNOWN}; export a network"
        " made of those"
    )


def _floats(name: str, what: str, value: Any) -> Floats:
    try:
        array = np.ascontiguousarray(value, np.float32)
    except (TypeError, ValueError):
        raise refuse(
            name, f"{what} of type {type(value).__name__}", "numbers", "correct the graph"
        ) from None
    if not np.isfinite(array).all():
        raise refuse(name, f"infinite or undefined {what}", "numbers", "train the network again")
    return array


def _whole(name: str, what: str, value: Any, least: int) -> tuple[int, int]:
    """A number or a pair as (y, x)."""
    a = np.asarray(value).reshape(-1)
    good = (
        a.size in (1, 2)
        and a.dtype.kind in "iuf"
        and bool(np.all((a == np.rint(a)) & (a >= least) & (a < 2**31)))
    )
    require(
        good,
        name,
        f"{what} {np.asarray(value).tolist()}",
        f"one or two whole numbers from {least} on",
    )
    return int(a[0]), int(a[-1])


def _spread(name: str, what: str, value: Any, shape: Shape) -> Floats:
    """A parameter in the layer's shape: a single number is for all neurons, one number a channel
    for all of the channel's.
    """
    array = _floats(name, what, value)
    if array.size == 1:
        return np.full(shape, array.reshape(-1)[0], np.float32)
    if (
        array.shape != shape
        and array.size == np.prod(shape)
        and [n for n in array.shape if n > 1] == [n for n in shape if n > 1]
    ):
        array = array.reshape(shape)  # a batch of one, or a sequence [C, L] read as a map [C, 1, L]
    if len(shape) == 3 and array.size == shape[0] and array.shape[-1] in (1, shape[0]):
        array = np.broadcast_to(array.reshape(-1, 1, 1), shape)
    require(
        array.shape == shape,
        name,
        f"{what} of shape {np.shape(value)}",
        f"parameters of shape {shape}",
    )
    return np.ascontiguousarray(array)


def _say(values: NDArray[Any]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"


def _convolution(name: str, node: Any, shape: Shape) -> tuple[Conv, Shape, str]:
    weight, notes = _floats(name, "weights", node.weight), []
    if weight.ndim == 3:  # Conv1d: a map of one row
        weight = weight[:, :, None, :]
    require(
        len(shape) == 3 and weight.ndim == 4 and weight.size > 0,
        name,
        (shape, np.shape(node.weight)),
        "a convolution of [C, H, W] or [C, L]",
    )
    one_row = np.ndim(node.weight) == 3
    require(not one_row or shape[1] == 1, name, shape, "a sequence [C, L] for a Conv1d")
    bias = (
        np.zeros(len(weight), np.float32) if node.bias is None else _floats(name, "bias", node.bias)
    )
    groups = _whole(name, "groups", node.groups, 1)[0]
    require(
        weight.shape[1] * groups == shape[0] and len(weight) % groups == 0,
        name,
        weight.shape,
        f"weights for {shape[0]} channels in {groups} groups",
    )
    require(bias.shape == weight.shape[:1], name, bias.shape, f"a bias of {weight.shape[:1]}")
    stride, dilation = (
        _whole(name, "stride", node.stride, 1),
        _whole(name, "dilation", node.dilation, 1),
    )
    same = isinstance(node.padding, str | bytes) and node.padding in ("same", b"same")
    if same:
        require(
            stride == (1, 1),
            name,
            f"padding 'same' with stride {stride}",
            "stride 1",
            "write the padding in pixels",
        )
        odd = any(
            d > 1 and d * (k - 1) % 2 for d, k in zip(dilation, weight.shape[2:], strict=True)
        )
        require(
            not odd,
            name,
            f"padding 'same' with an even kernel and dilation {dilation}",
            "an odd kernel",
            "write the padding in pixels",
        )
        weight, padding = _same(weight, dilation)
        notes.append("padding 'same'")
    elif isinstance(node.padding, str | bytes):
        require(
            node.padding in ("valid", b"valid"),
            name,
            f"padding {node.padding!r}",
            "'same', 'valid' or numbers",
        )
        padding = (0, 0)
    else:
        padding = _whole(name, "padding", node.padding, 0)
    if one_row:
        stride, dilation = (1, stride[1]), (1, dilation[1])
        padding = (0, padding[1])
    size = list(shape[1:])
    if not same:
        size = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                shape[1:], padding, dilation, weight.shape[2:], stride, strict=True
            )
        ]
    require(min(size) >= 1, name, shape, f"an input as large as the kernel {weight.shape[2:]}")
    kernel = " x ".join(map(str, np.shape(node.weight)[2:]))
    notes = [
        f"{shape[0]} to {len(weight)} channels",
        f"kernel {kernel}",
        f"stride {stride}",
        f"padding {padding}",
        *notes,
    ]
    notes += [f"dilation {dilation}"] * (dilation != (1, 1)) + [f"{groups} groups"] * (groups > 1)
    return (
        Conv(weight, bias, stride, padding, dilation, groups),
        (len(weight), *size),
        ", ".join(notes),
    )


def _same(weight: Floats, dilation: tuple[int, int]) -> tuple[Floats, tuple[int, int]]:
    """A kernel and an equal padding on both sides that give what 'same' gives from the first row
    and column on.

    An odd total pads one pixel more at the end (PyTorch); a zero tap in front of the kernel takes
    the place of that (dilation 1).
    """
    padding = []
    for axis, d in ((2, dilation[0]), (3, dilation[1])):
        total = d * (weight.shape[axis] - 1)
        if total % 2:
            weight = np.concatenate([np.zeros_like(weight.take([0], axis)), weight], axis)
            padding.append(total // 2 + 1)
        else:
            padding.append(total // 2)
    return np.ascontiguousarray(weight), (padding[0], padding[1])


def _dense(name: str, node: Any, shape: Shape) -> tuple[Dense, Shape, str]:
    weight = _floats(name, "weights", node.weight)
    require(
        weight.ndim == 2 and weight.size > 0 and np.prod(shape) == weight.shape[1],
        name,
        (shape, weight.shape),
        "weights [N_out, N_in] for the input",
    )
    # On [C, H, W] NIR would apply it to the last axis alone; that all sites fit can only mean that
    # a Flatten was left out (Norse does).
    note = f"{weight.shape[1]} to {len(weight)}" + (", input flattened" if len(shape) > 1 else "")
    bias = (
        _floats(name, "bias", node.bias)
        if getattr(node, "bias", None) is not None
        else np.zeros(len(weight), np.float32)
    )
    require(bias.shape == weight.shape[:1], name, bias.shape, f"a bias of {weight.shape[:1]}")
    return Dense(weight, bias), (len(weight),), note


def _pool(name: str, node: Any, shape: Shape) -> tuple[Pool, Shape, str]:
    kernel, stride = (
        _whole(name, "kernel_size", node.kernel_size, 1),
        _whole(name, "stride", node.stride, 1),
    )
    padding = _whole(name, "padding", node.padding, 0)
    found = f"kernel {kernel}, stride {stride}, padding {padding}"
    if kernel != stride or kernel[0] != kernel[1] or padding != (0, 0):
        raise refuse(
            name,
            found,
            "a square kernel with an equal stride and no padding",
            "change the pooling, or use a convolution with that stride",
        )
    require(
        len(shape) == 3 and min(shape[1:]) >= kernel[0],
        name,
        shape,
        f"a map of at least {kernel[0]} x {kernel[0]}",
    )
    average = type(node).__name__ == "AvgPool2d"
    note = f"{'mean' if average else 'sum'} of {kernel[0]} x {kernel[0]}"
    if np.ndim(node.kernel_size) == 0 or np.size(node.kernel_size) == 1:
        note += ", one number read for both axes"
    return Pool(kernel[0], average), (shape[0], shape[1] // kernel[0], shape[2] // kernel[0]), note


def _flatten_note(name: str, node: Any, shape: Shape) -> str:
    start, end = int(node.start_dim), int(node.end_dim)
    if start == -len(shape):
        start = 0  # counted from the end: right with a batch and without
    if len(shape) <= 1 or (start == 0 and end in (-1, len(shape) - 1)):
        return f"to {int(np.prod(shape))}"
    counts_batch = start == 1 and end in (-1, len(shape))
    way_out = "flatten all axes"
    require(
        counts_batch,
        name,
        f"axes {start} to {end} of {shape}",
        "all axes, 0 to -1 (or 1 to -1, counting the batch)",
        way_out,
    )
    return f"to {int(np.prod(shape))}, axes {start} to {end} read as counting the batch"


def _neuron(name: str, node: Any, shape: Shape, settled: Settled) -> tuple[Neuron, str]:
    kind, dt = type(node).__name__, np.float32(settled.dt)

    def given(what: str, absent: float = 0.0) -> Floats:
        value = getattr(node, what, None)
        return (
            np.full(shape, absent, np.float32)
            if value is None
            else _spread(name, what, value, shape)
        )

    def share(what: str) -> Floats:
        tau = given(what)
        require(
            bool((tau > 0).all()), name, f"{what} {tau.min():g}", "time constants above 0 seconds"
        )
        with np.errstate(over="ignore"):
            ratio = dt / tau  # in float32: exact for powers of two, as 2 * dt is exactly twice dt
        share = (
            ratio
            if settled.decay == "euler"
            else (-np.expm1(-ratio.astype(np.float64))).astype(np.float32)
        )
        if not (share <= 1 + 1e-6).all():
            raise refuse(
                name,
                f"dt / {what} = {_say(ratio)}",
                "0..1",
                f"give the --dt that the network was trained with, not {settled.dt:g}",
            )
        return np.minimum(share, np.float32(1))

    fires = kind in ("IF", "LIF", "CubaLIF", "Threshold")
    threshold = given("threshold" if kind == "Threshold" else "v_threshold", 1.0)
    require(
        bool((threshold > 0).all()),
        name,
        f"threshold {threshold.min():g}",
        "a threshold above 0",
        "shift threshold and bias, or train again",
    )
    strict = settled.fires_at == ">"
    leak, reset = given("v_leak"), given("v_reset")
    if kind == "Threshold":
        one = np.ones(shape, np.float32)
        return (
            Neuron(one, one, leak, threshold, leak, strict=strict),
            f"no memory, fires at {_say(threshold)}",
        )
    current_decay = gain = None
    per_step = settled.inputs == "per-step"
    parts = []
    if kind.startswith("Cuba"):
        current_decay = share("tau_syn")
        gain = given("w_in", 1.0) * (np.float32(1) if per_step else current_decay)
        parts.append(
            f"current keeps {_say(1 - current_decay)} a step, takes {_say(gain)} of an input"
        )
    r = given("r", 1.0)
    decay = None
    if kind in ("IF", "I"):
        r = r if per_step else r * dt
        parts.append(f"membrane keeps all, takes {_say(r)} of an input")
    else:
        decay = share("tau_mem" if kind.startswith("Cuba") else "tau")
        parts.append(
            f"membrane keeps {_say(1 - decay)} a step, takes {_say(decay * r)} of an input"
        )
    if leak.any():
        parts.append(f"leaks to {_say(leak)}")
    parts.append(
        f"fires at {_say(threshold)}, resets to {_say(reset)}"
        if fires
        else "never fires: its membrane after the last step is the answer"
    )
    return Neuron(decay, r, leak, threshold, reset, current_decay, gain, fires, strict), "; ".join(
        parts
    )
