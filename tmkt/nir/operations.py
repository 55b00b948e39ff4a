"""Conversion of a NIR node to an operation: numbers checked, broadcast, conventions applied."""

from math import prod
from typing import Any

import numpy as np

from tmkt.errors import InputError
from tmkt.nir.conventions import Settled
from tmkt.nir.errors import kind, refuse, require
from tmkt.nir.file import import_nir
from tmkt.nir.graph import (
    Conv,
    Delay,
    Dense,
    Flatten,
    Floats,
    Operation,
    Pool,
    Scale,
    Shape,
)
from tmkt.nir.neurons import neurons
from tmkt.nir.parameters import broadcast, describe, float_array, whole_pair
from tmkt.program.model import MAX_NEURONS

MAX_DELAY_STEPS = 1000  # our limit: so many steps are kept in memory
KNOWN = (
    "Conv1d, Conv2d, Linear, Affine, Scale, SumPool2d, AvgPool2d, Flatten, IF, LIF, CubaLIF, LI,"
    " CubaLI, I, Threshold, Delay"
)


def operation(name: str, node: Any, shape: Shape, settled: Settled) -> tuple[Operation, Shape, str]:
    """Convert a NIR node that reads inputs of `shape`.

    Returns the operation, its output's shape, and a note on how the node was read. InputError for
    an unknown node, or for numbers that do not fit.
    """
    nir = import_nir()
    if isinstance(node, nir.Conv1d | nir.Conv2d):
        return _convolution(name, node, shape)
    if isinstance(node, nir.Affine | nir.Linear):
        return _dense(name, node, shape)
    if isinstance(node, nir.Scale):
        factor = broadcast(name, "scale", node.scale, shape)
        return Scale(factor), shape, f"times {describe(factor)}"
    if isinstance(node, nir.SumPool2d | nir.AvgPool2d):
        return _pool(name, node, shape)
    if isinstance(node, nir.Flatten):
        return Flatten(), (int(np.prod(shape)),), _flatten_note(name, node, shape)
    if isinstance(node, nir.Delay):
        return _delay(name, node, shape, settled)
    if isinstance(
        node, nir.IF | nir.LIF | nir.CubaLIF | nir.I | nir.LI | nir.CubaLI | nir.Threshold
    ):
        neuron, note = neurons(name, node, shape, settled)
        return neuron, shape, note
    raise InputError(
        f"NIR graph, node {name!r}: is {kind(node)}, known are {KNOWN}; export a network"
        " made of those"
    )


def _convolution(name: str, node: Any, shape: Shape) -> tuple[Conv, Shape, str]:
    weight, notes = float_array(name, "weights", node.weight), []
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
        np.zeros(len(weight), np.float32)
        if node.bias is None
        else float_array(name, "bias", node.bias)
    )
    groups = whole_pair(name, "groups", node.groups, 1)[0]
    require(
        weight.shape[1] * groups == shape[0] and len(weight) % groups == 0,
        name,
        weight.shape,
        f"weights for {shape[0]} channels in {groups} groups",
    )
    require(bias.shape == weight.shape[:1], name, bias.shape, f"a bias of {weight.shape[:1]}")
    stride, dilation = (
        whole_pair(name, "stride", node.stride, 1),
        whole_pair(name, "dilation", node.dilation, 1),
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
        padding = whole_pair(name, "padding", node.padding, 0)
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
    padded = (shape[0], *(n + 2 * p for n, p in zip(shape[1:], padding, strict=True)))
    require(
        prod(padded) <= 2 * MAX_NEURONS,
        name,
        f"a padded input of shape {padded}",
        f"at most {2 * MAX_NEURONS} values",
        "correct padding and dilation",
    )
    output = (len(weight), *size)
    require(
        prod(output) <= MAX_NEURONS,
        name,
        f"an output of shape {output}",
        f"at most {MAX_NEURONS} values",
        "make the input or the network smaller",
    )
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
        Conv(weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups),
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
    weight = float_array(name, "weights", node.weight)
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
        float_array(name, "bias", node.bias)
        if getattr(node, "bias", None) is not None
        else np.zeros(len(weight), np.float32)
    )
    require(bias.shape == weight.shape[:1], name, bias.shape, f"a bias of {weight.shape[:1]}")
    return Dense(weight, bias), (len(weight),), note


def _pool(name: str, node: Any, shape: Shape) -> tuple[Pool, Shape, str]:
    kernel, stride = (
        whole_pair(name, "kernel_size", node.kernel_size, 1),
        whole_pair(name, "stride", node.stride, 1),
    )
    padding = whole_pair(name, "padding", node.padding, 0)
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


def _delay(name: str, node: Any, shape: Shape, settled: Settled) -> tuple[Delay, Shape, str]:
    steps = broadcast(name, "delay", node.delay, shape).astype(np.float64) / settled.dt
    whole = np.rint(steps)
    found = f"delays of {describe(steps)} time steps"
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
    return Delay(whole.astype(np.int64)), shape, f"{describe(whole)} time steps later"


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
