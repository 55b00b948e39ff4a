"""Neuron rules, right and wrong: compute one layer of one sample plainly.

The right rule is that of docs/program.md. This module is independent of `tmkt.program.arithmetic`
and of the simulator on purpose: the simulator is one of the two sides that differ, and a fault in
their shared code must not hide here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Synapse

Integers = NDArray[np.int64]
CURRENT_LIMIT = 2**23  # of the current
MEMBRANE_LIMIT = 2**23 - 1  # of the membrane


@dataclass(frozen=True)
class Rule:
    """An update rule of a layer's neurons. The defaults are those of the integer program.

    Decays may be arrays [D, 1], to run D rules at once. `threshold` is in units of the membrane (64
    times the layer's). `late`: steps by which the synapses' input comes too late (negative: too
    early). `all_late`: steps by which the whole layer, with its bias, runs too late. `rounding`
    "none": decays are not rounded, as in the float network.
    """

    threshold: int
    voltage_decay: int | Integers
    current_decay: int | Integers
    fires: bool
    at_threshold: bool = False
    rounding: Literal["zero", "floor", "nearest", "none"] = "zero"
    reset: Literal["zero", "subtract", "none"] = "zero"
    membrane: Literal["saturates", "wraps", "unbounded"] = "saturates"
    current: Literal["saturates", "wraps", "unbounded"] = "wraps"
    biased: bool = True
    late: int = 0
    all_late: int = 0


def rule_of(layer: Layer) -> Rule:
    """Return the program's rule for a layer."""
    return Rule(layer.threshold << 6, layer.voltage_decay, layer.current_decay, layer.fires)


def float_rule_of(layer: Layer) -> Rule:
    """Return the rule of a float network with the program's numbers: no rounding, no limits."""
    return replace(rule_of(layer), rounding="none", membrane="unbounded", current="unbounded")


def bias_of(layer: Layer) -> Integers:
    """Return the bias of every neuron, int64 [neurons], in C, H, W order."""
    return np.repeat(layer.bias.astype(np.int64), layer.neurons // len(layer.bias))


def run(
    rule: Rule, sums: NDArray[Any], bias: NDArray[Any], given: NDArray[Any] | None = None
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Run neurons with synaptic sums [T, N] and bias [N]; `given` as in `run_stepwise`.

    Returns spikes and membranes before the reset, [T, N] each.
    """
    every_step = run_stepwise(rule, sums, bias, given)
    spikes, membranes = (np.stack(values) for values in zip(*every_step, strict=True))
    return spikes, membranes


def run_stepwise(
    rule: Rule, sums: NDArray[Any], bias: NDArray[Any], given: NDArray[Any] | None = None
) -> Iterator[tuple[NDArray[np.bool_], NDArray[Any]]]:
    """Yield spikes and membranes before the reset of each step, [N] each.

    `given` [T, N]: spikes that reset the neurons in place of their own.
    """
    u: Any = np.zeros(sums.shape[1:], np.int64)
    v: Any = np.zeros(sums.shape[1:], np.int64)
    for t in range(min(0, rule.all_late), len(sums)):
        arrived = arriving(rule, sums, t) << 6
        biased = rule.biased and t - rule.all_late >= 0
        u = _bounded(_decayed(u, rule.current_decay, rule.rounding) + arrived, rule.current)
        h = _bounded(
            _decayed(v, rule.voltage_decay, rule.rounding) + u + (64 * bias if biased else 0),
            rule.membrane,
        )
        fired = (h >= rule.threshold if rule.at_threshold else h > rule.threshold) & rule.fires
        if t >= 0:
            yield fired, h
        after = {"zero": 0, "subtract": h - rule.threshold, "none": h}[rule.reset]
        v = np.where(fired if given is None else given[t] != 0, after, h)


def arriving(rule: Rule, sums: NDArray[Any], step: int) -> Integers:
    """Return the sums [N] that arrive in a step: zeros before the first and after the last."""
    at = step - rule.late - rule.all_late
    return sums[at].astype(np.int64) if 0 <= at < len(sums) else np.zeros(sums.shape[1:], np.int64)


def _decayed(x: Any, decay: int | Integers, rounding: str) -> Any:
    product = x * (DECAY_ONE - decay)
    if rounding == "none":
        return product / DECAY_ONE
    if rounding == "zero":
        return np.sign(product) * (np.abs(product) >> 12)
    return (product + (DECAY_ONE // 2 if rounding == "nearest" else 0)) >> 12


def _bounded(x: Any, how: str) -> Any:
    if how == "saturates":
        return np.clip(x, -MEMBRANE_LIMIT, MEMBRANE_LIMIT)
    if how == "wraps":  # once, as Lava does, in an int32
        x = (x + 2**31) % 2**32 - 2**31
        return np.where(
            x > CURRENT_LIMIT,
            x - 2 * CURRENT_LIMIT,
            np.where(x <= -CURRENT_LIMIT, x + 2 * CURRENT_LIMIT, x),
        )
    return x


def synaptic_sums(layer: Layer, sources: Mapping[str, NDArray[np.uint8]]) -> NDArray[np.int32]:
    """Return the synaptic sums of one sample, int32 [T, neurons].

    `sources`: the input's frames and the layers' spikes, [T, *shape] by name. A source that is not
    there is silent.
    """
    duration = len(sources[INPUT])
    total = np.zeros((duration, layer.neurons), np.int32)
    for synapse in layer.synapses:
        if synapse.source not in sources:
            continue
        sent = sent_to(layer, synapse, sources)
        if synapse.kind == "conv":
            total += _convolved(sent, synapse, layer.shape)
        else:
            _add_dense(total, sent.reshape(duration, -1), synapse)
    return total


def sent_to(
    layer: Layer, synapse: Synapse, sources: Mapping[str, NDArray[np.uint8]]
) -> NDArray[np.float64]:
    """Return what a synapse's weights act on, [T, *shape]: pooled, and a step late in a loop."""
    sent = _pooled(sources[synapse.source], synapse.pool)
    if synapse.source == layer.name:  # a layer hears itself one step later
        sent = np.concatenate([np.zeros_like(sent[:1]), sent[:-1]])
    return sent


def _pooled(x: NDArray[np.uint8], pool: int) -> NDArray[np.float64]:
    if pool == 1:
        return x.astype(np.float64)
    steps, channels, height, width = x.shape
    whole = x[:, :, : height // pool * pool, : width // pool * pool]
    windows = whole.reshape(steps, channels, height // pool, pool, width // pool, pool)
    return np.asarray(windows.sum((3, 5)), np.float64)


def _convolved(
    x: NDArray[np.float64], synapse: Synapse, shape: tuple[int, ...]
) -> NDArray[np.int32]:
    """Cross-correlate, step by step. float64 holds every sum of a program (below 2^23) exactly."""
    windows = windows_of(x, synapse, shape)
    weights = np.split(synapse.weight.astype(np.float64), synapse.groups)
    out = np.empty((len(x), *shape), np.int32)
    for t, step in enumerate(windows):
        parts = zip(weights, np.split(step, synapse.groups), strict=True)
        out[t] = np.concatenate(
            [np.tensordot(w, part, ((1, 2, 3), (0, 3, 4))) for w, part in parts]
        )
    return out.reshape(len(x), -1)


def windows_of(
    x: NDArray[np.float64], synapse: Synapse, shape: tuple[int, ...]
) -> NDArray[np.float64]:
    """Return what each position of a convolution sees, [T, channels, H, W, ky, kx]."""
    (py, px), (sy, sx), (dy, dx) = synapse.padding, synapse.stride, synapse.dilation
    ky, kx = synapse.weight.shape[2:]
    padded = np.pad(x, ((0, 0), (0, 0), (py, py), (px, px)))
    windows = np.lib.stride_tricks.sliding_window_view(
        padded, (dy * (ky - 1) + 1, dx * (kx - 1) + 1), axis=(2, 3)
    )
    return windows[:, :, ::sy, ::sx, ::dy, ::dx][:, :, : shape[1], : shape[2]]


def _add_dense(total: NDArray[np.int32], sent: NDArray[np.float64], synapse: Synapse) -> None:
    if synapse.delays is None:
        total += (sent @ synapse.weight.T.astype(np.float64)).astype(np.int32)
        return
    for delay in np.unique(synapse.delays[synapse.delays < len(sent)]):
        weight = np.where(synapse.delays == delay, synapse.weight, 0).T.astype(np.float64)
        total[delay:] += (sent[: len(sent) - delay] @ weight).astype(np.int32)
