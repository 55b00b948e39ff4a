"""Model of the integer program, which every exact engine runs: its types and their checks.

A program is a list of layers. Each synapse of a layer comes from an earlier layer, from the input,
or from the layer itself (recurrent). Within a time step, layer after layer is computed; all states
are zero before the first step. `arithmetic.py` holds the rule of a neuron, docs/program.md all
semantics.
"""

from dataclasses import dataclass
from math import prod
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.program.arithmetic import (
    BIAS_RANGE,
    DECAY_ONE,
    MAX_COUNT,
    MAX_DELAY,
    MAX_ODD_WEIGHT,
    MAX_POOLED,
    MAX_SCALE,
    MAX_SUM,
    MAX_THRESHOLD,
    MAX_WEIGHT,
)

INPUT = "input"
Shape = tuple[int, ...]
# Of neurons of a layer, sites of the input, and positions in a stride, padding or dilation, which
# must fit an int32. Our limit, far above any chip: a damaged file must not ask for all memory.
MAX_NEURONS = 2**24


@dataclass(frozen=True)
class Synapse:
    """Weights from one source to the layer that holds the synapse.

    `source`: the name of an earlier layer, of the layer itself, or "input".
    conv: `weight` int16 [C_out, C_in / groups, K_y, K_x]; stride, padding and dilation as (y, x).
    dense: `weight` int16 [N_out, N_in] over the source flattened in C, H, W order; the fields of a
    convolution keep their defaults.
    `pool` k > 1: the source's spikes are first summed over k x k windows (stride k, remainder
    dropped). The weights are already divided by the window's area, so this is average pooling.
    `delays`: only of a dense synapse, uint8 of the weight's shape, 0..62 steps. What the source
    sends at step t arrives through weight [o, i] at step t + delays[o, i]; None: all zero.

    A convolution may give one row or column more than the layer's shape: the layer keeps the first
    ones. A recurrent synapse (dense, its source the layer itself) adds one step: with no delay, the
    spikes of step t arrive at t + 1. What has not arrived at a sample's end is lost.
    """

    source: str
    kind: Literal["conv", "dense"]
    weight: NDArray[np.int16]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    pool: int = 1
    delays: NDArray[np.uint8] | None = None


@dataclass(frozen=True)
class Layer:
    """Neurons of one shape, (C, H, W) or (N,), and the synapses that feed them.

    `bias`: int32 [C] or [N].
    `fires`: a layer that does not is an integrator; its threshold is not used.
    `scale`: the integer that turned float weights into these, if known. membrane / (64 * scale) is
    the float network's membrane in units of its threshold.
    """

    name: str
    shape: Shape
    synapses: tuple[Synapse, ...]
    bias: NDArray[np.int32]
    threshold: int
    voltage_decay: int
    current_decay: int = DECAY_ONE
    fires: bool = True
    scale: int | None = None

    @property
    def neurons(self) -> int:
        """Number of neurons."""
        return prod(self.shape)

    def steps_back(self, synapse: Synapse) -> int:
        """Return how many earlier steps of its source one of the layer's synapses needs.

        This is its longest delay, and one more if it is recurrent.
        """
        longest = 0 if synapse.delays is None else int(synapse.delays.max(initial=0))
        return longest + (synapse.source == self.name)


@dataclass(frozen=True)
class Program:
    """The integer network, checked when it is made.

    `input_shape`: (C, H, W) or (N,).
    `readout`: the last layer answers by its membrane after the last step, or by its spike count.
    """

    input_shape: Shape
    max_count: int
    layers: tuple[Layer, ...]
    readout: Literal["membrane", "spikes"]

    def __post_init__(self) -> None:
        check(self)

    def shape_of(self, source: str) -> Shape:
        """Return the shape of a layer by its name, or of the input."""
        if source == INPUT:
            return self.input_shape
        return next(layer.shape for layer in self.layers if layer.name == source)

    @property
    def classes(self) -> int:
        """Number of classes: the neurons of the last layer."""
        return self.layers[-1].neurons


def pooled(shape: Shape, pool: int) -> Shape:
    """Return the shape after summing pool x pool windows."""
    return shape if pool == 1 else (shape[0], shape[1] // pool, shape[2] // pool)


def conv_shape(synapse: Synapse, source: Shape) -> tuple[int, int, int]:
    """Return the output shape (C, H, W) of a convolution of `source`, before the layer's crop."""
    _, *size = pooled(source, synapse.pool)
    kernel = synapse.weight.shape[2:]
    settings = zip(size, synapse.padding, synapse.dilation, kernel, synapse.stride, strict=True)
    out = [(n + 2 * p - d * (k - 1) - 1) // s + 1 for n, p, d, k, s in settings]
    return (synapse.weight.shape[0], out[0], out[1])


def largest_input(program: Program, synapse: Synapse) -> int:
    """Return the most that one weight of a synapse can meet: a count, summed over its pool."""
    return (program.max_count if synapse.source == INPUT else 1) * synapse.pool**2


def largest_sum(program: Program, layer: Layer) -> int:
    """Bound |a|, the sum of synaptic input, over all neurons of a layer and all possible inputs.

    It is reached if every source site fires its most in one step. Delays change nothing: a weight
    delivers the value of one step of its source, whichever step that was.
    """
    total = np.zeros(layer.bias.shape, np.int64)
    for synapse in layer.synapses:
        w = np.abs(synapse.weight.astype(np.int64)).reshape(synapse.weight.shape[0], -1).sum(1)
        # a dense synapse has a row for every neuron of a channel
        total += largest_input(program, synapse) * w.reshape(len(total), -1).max(1)
    return int(total.max(initial=0))


def check(program: Program) -> None:
    """Check that all shapes fit and every integer is in its range.

    Raises InputError, which names the layer, the value and the limit.
    """
    _require(len(program.layers) > 0, "layers", "none", "at least one")
    count = program.max_count
    ok = _whole(count) and 1 <= count <= MAX_COUNT
    _require(ok, "max_count", count, f"1..{MAX_COUNT}")
    ok = len(program.input_shape) in (1, 3) and _fits(program.input_shape)
    expected = f"(C, H, W) or (N,), at most {MAX_NEURONS} sites"
    _require(ok, "input shape", program.input_shape, expected)
    ok = program.readout in ("membrane", "spikes")
    _require(ok, "readout", program.readout, "membrane or spikes")
    known: dict[str, Shape] = {INPUT: program.input_shape}
    for layer in program.layers:
        name = f"layer {layer.name!r}"
        ok = layer.name not in known and "/" not in layer.name and layer.name != ""
        _require(ok, "layer names", layer.name, "unique, without '/'")
        _check_neurons(layer, name)
        for synapse in layer.synapses:
            _check_source(synapse, layer, name, known)
            source = layer.shape if synapse.source == layer.name else known[synapse.source]
            _check_synapse(synapse, name, source, layer.shape)
            most, at = largest_input(program, synapse), f"{name} counts summed by a pool"
            _require(most <= MAX_POOLED, at, most, f"at most {MAX_POOLED}")
        worst = largest_sum(program, layer)
        _require(worst < MAX_SUM, f"{name} largest sum of weights", worst, f"below {MAX_SUM}")
        known[layer.name] = layer.shape
    last = program.layers[-1]
    by_spikes = program.readout == "spikes"
    expected = f"one that fits a {program.readout} read-out"
    _require(by_spikes == last.fires, f"layer {last.name!r}", f"fires = {last.fires}", expected)


def _require(ok: bool, name: str, found: object, expected: str) -> None:
    if not ok:
        raise InputError(
            f"program, {name}: found {found}, expected {expected}; export the network again"
        )


def _whole(*values: object) -> bool:
    return all(type(value) is int for value in values)


def _fits(shape: Shape) -> bool:
    return _whole(*shape) and min(shape) > 0 and prod(shape) <= MAX_NEURONS


def _check_neurons(layer: Layer, name: str) -> None:
    fits = len(layer.shape) in (1, 3) and _fits(layer.shape)
    expected = f"(C, H, W) or (N,), at most {MAX_NEURONS} neurons"
    _require(fits, f"{name} shape", layer.shape, expected)
    ok = _whole(layer.threshold) and 0 <= layer.threshold <= MAX_THRESHOLD
    _require(ok, f"{name} threshold", layer.threshold, f"0..{MAX_THRESHOLD}")
    for what, decay in (("voltage", layer.voltage_decay), ("current", layer.current_decay)):
        ok = _whole(decay) and 0 <= decay <= DECAY_ONE
        _require(ok, f"{name} {what} decay", decay, f"0..{DECAY_ONE}")
    _require(type(layer.fires) is bool, f"{name} fires", layer.fires, "true or false")
    ok = layer.scale is None or (_whole(layer.scale) and 0 < layer.scale <= MAX_SCALE)
    expected = f"null or a whole number above 0, at most {MAX_SCALE}"
    _require(ok, f"{name} scale", layer.scale, expected)
    bias = layer.bias
    _require(bias.dtype == np.int32, f"{name} bias", bias.dtype, "int32")
    shape = layer.shape[:1]
    _require(bias.shape == shape, f"{name} bias shape", bias.shape, str(shape))
    found = low, high = int(bias.min(initial=0)), int(bias.max(initial=0))
    ok = low >= BIAS_RANGE[0] and high <= BIAS_RANGE[1]
    _require(ok, f"{name} bias", found, f"{BIAS_RANGE[0]}..{BIAS_RANGE[1]}")
    _require(len(layer.synapses) > 0, f"{name} synapses", "none", "at least one")


def _check_source(synapse: Synapse, layer: Layer, name: str, known: dict[str, Shape]) -> None:
    if synapse.source == layer.name:
        at = f"{name} synapse from itself"
        _require(synapse.kind == "dense", at, synapse.kind, "dense")
        _require(layer.fires, at, "a layer that does not fire", "one that fires")
        return
    expected = f"one of {list(known)} or the layer itself"
    _require(synapse.source in known, f"{name} source", synapse.source, expected)


def _check_synapse(synapse: Synapse, name: str, source: Shape, target: Shape) -> None:
    w = synapse.weight
    _require(w.dtype == np.int16, f"{name} weights", w.dtype, "int16")
    high = int(np.abs(w.astype(np.int64)).max(initial=0))
    _require(high <= MAX_WEIGHT, f"{name} largest |weight|", high, f"at most {MAX_WEIGHT}")
    ok = high <= MAX_ODD_WEIGHT or not np.any(w & 1)
    expected = f"even ones, or none above {MAX_ODD_WEIGHT} (8-bit mantissa)"
    _require(ok, f"{name} weights", f"odd ones above {MAX_ODD_WEIGHT}", expected)
    settings = (*synapse.stride, *synapse.padding, *synapse.dilation, synapse.groups, synapse.pool)
    ok = len(settings) == 8 and _whole(*settings)
    expected = "whole numbers, two each for stride, padding, dilation"
    _require(ok, f"{name} synapse settings", settings, expected)
    at = f"{name} pool"
    ok = synapse.pool >= 1 and (synapse.pool == 1 or len(source) == 3)
    _require(ok, at, synapse.pool, "1, or more on (C, H, W)")
    ok = min(pooled(source, synapse.pool)) > 0
    _require(ok, at, synapse.pool, f"one that fits into the source's shape {source}")
    if synapse.kind == "dense":
        _check_dense(synapse, name, pooled(source, synapse.pool), target)
    else:
        _check_conv(synapse, name, source, target)


def _check_dense(synapse: Synapse, name: str, source: Shape, target: Shape) -> None:
    w, delays = synapse.weight, synapse.delays
    _require(w.ndim == 2, f"{name} weight shape", w.shape, "(N_out, N_in)")
    expected = (prod(target), prod(source))
    _require(w.shape == expected, f"{name} weight shape", w.shape, str(expected))
    if delays is None:
        return
    _require(delays.dtype == np.uint8, f"{name} delays", delays.dtype, "uint8")
    same = delays.shape == w.shape
    _require(same, f"{name} shape of the delays", delays.shape, f"the weight's, {w.shape}")
    longest = int(delays.max(initial=0))
    _require(longest <= MAX_DELAY, f"{name} longest delay", longest, f"0..{MAX_DELAY} steps")


def _check_conv(synapse: Synapse, name: str, source: Shape, target: Shape) -> None:
    w, groups = synapse.weight, synapse.groups
    _require(synapse.kind == "conv", f"{name} synapse kind", synapse.kind, "conv or dense")
    expected = "none, as Lava delays dense synapses alone"
    _require(synapse.delays is None, f"{name} delays", "some on a convolution", expected)
    ok = w.ndim == 4 and len(source) == 3 and len(target) == 3
    _require(ok, f"{name} shapes", (w.shape, source, target), "conv on (C, H, W)")
    ok = groups >= 1 and min(*synapse.stride, *synapse.dilation) >= 1 and min(synapse.padding) >= 0
    _require(ok, f"{name} conv settings", synapse.stride, "positive")
    _require(w.size > 0, f"{name} weight shape", w.shape, "no side of 0")
    ok = w.shape[0] == target[0] and w.shape[0] % groups == 0 and w.shape[1] * groups == source[0]
    _require(ok, f"{name} channels", w.shape, f"{source[0]} to {target[0]}")
    full = conv_shape(synapse, source)
    cropped = (full[1] - target[1], full[2] - target[2])
    _require(min(cropped) >= 0, f"{name} shape", target, f"at most {full}")
    _require(_fits(full), f"{name} convolution's own shape", full, f"at most {MAX_NEURONS} sites")
    most = max(*synapse.stride, *synapse.padding, *synapse.dilation)
    at = f"{name} largest stride, padding or dilation"
    _require(most <= MAX_NEURONS, at, most, f"at most {MAX_NEURONS}")
