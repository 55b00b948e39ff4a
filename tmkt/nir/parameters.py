"""Parameters of NIR nodes: arrays and numbers, checked and in the shape of their layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.nir.errors import refuse, require
from tmkt.nir.graph import Floats, Shape


def float_array(name: str, what: str, value: Any) -> Floats:
    """Convert a parameter to float32; InputError where it holds no numbers, or NaN or Inf."""
    try:
        array = np.ascontiguousarray(value, np.float32)
    except (TypeError, ValueError):
        raise refuse(
            name, f"{what} of type {type(value).__name__}", "numbers", "correct the graph"
        ) from None
    if not np.isfinite(array).all():
        raise refuse(name, f"infinite or undefined {what}", "numbers", "train the network again")
    return array


def whole_pair(name: str, what: str, value: Any, least: int) -> tuple[int, int]:
    """Read one whole number or a pair as (y, x); InputError below `least`."""
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


def broadcast(name: str, what: str, value: Any, shape: Shape) -> Floats:
    """Broadcast a parameter to the layer's shape.

    A single number holds for all neurons, one number a channel for all neurons of the channel.
    InputError for any other shape.
    """
    array = float_array(name, what, value)
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


def describe(values: NDArray[Any]) -> str:
    """Describe an array by its value, or by its lowest and highest."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
