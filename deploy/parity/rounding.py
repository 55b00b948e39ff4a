"""Effects of quantisation on a layer that are no fault: how far its membranes may be from float.

The quantiser changes a layer on purpose. It rounds weights and decays, and it adds to the bias what
makes up for errors of the layers before. The manifest says how much. What follows for a membrane
is computed here, step by step, from the layer's own inputs.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.parity.rules import Rule, bias_of, run_stepwise, sent_to, windows_of
from tmkt.errors import InputError
from tmkt.program.arithmetic import DECAY_ONE, STATE_ONE
from tmkt.program.model import INPUT, Layer, Synapse

Doubles = NDArray[np.float64]
# Standard deviations that a sum of rounding errors may reach, and the share of the threshold that
# float32 may be off; ours.
DEVIATIONS, FLOAT32 = 3.0, 1e-4
MOST_ERROR = 0.9  # of the weights, relative: of 2 bits, and where the manifest does not say


@dataclass(frozen=True)
class Rounding:
    """Changes that the quantiser made to a layer, in units of its weights.

    `bias` [neurons]: between the float network's bias and the one that is right on its spikes, as
    part of that makes up for the weights' mean error. `bias_error` [neurons]: how far either may be
    from it; more if the manifest does not say. `weight_error`: root mean
    square of the weights' errors.
    """

    bias: Doubles
    bias_error: Doubles
    weight_error: float


def rounding_of(layer: Layer, entry: Mapping[str, Any] | None) -> Rounding:
    """Return what the manifest's `quantisation` entry says of a layer; None: there is no entry.

    Where the entry does not say how the bias was corrected, all of the bias may be correction.
    """
    bias = bias_of(layer).astype(np.float64)
    unknown = np.abs(bias) + 0.5
    weights = np.concatenate([synapse.weight.reshape(-1) for synapse in layer.synapses])
    if entry is None:
        return Rounding(bias, unknown, float(np.gcd.reduce(weights)) / 2)
    if entry.get("bits", 8) is None:  # integers that were given, not made
        return Rounding(bias, np.zeros_like(bias), 0.0)
    relative = entry.get("weight_error_rms")
    try:
        relative = min(MOST_ERROR, float(MOST_ERROR if relative is None else relative))
        if relative < 0:
            raise ValueError
        size = float(np.sqrt(np.mean(weights.astype(np.float64) ** 2)))
        weight_error = relative * size / np.sqrt(1 - relative**2)
        if "bias_correction" not in entry:
            return Rounding(bias, unknown, weight_error)
        correction, for_weights = (
            np.asarray(values, np.float64).reshape(len(layer.bias))
            for values in (
                entry["bias_correction"],
                entry.get("bias_for_weights", np.zeros(len(layer.bias))),
            )
        )
        if not (np.isfinite(correction).all() and np.isfinite(for_weights).all()):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise InputError(
            f"manifest.json, quantisation of layer {layer.name!r}: weight_error_rms,"
            " bias_correction or bias_for_weights is not as written, expected a number and"
            f" {len(layer.bias)} numbers each; export again"
        ) from None
    spread, half = (
        np.repeat(values, layer.neurons // len(layer.bias))
        for values in (correction, for_weights / 2)
    )
    return Rounding(bias - spread - half, np.abs(half), weight_error)


def allowance(
    rule: Rule,
    layer: Layer,
    rounding: Rounding,
    sources: Mapping[str, NDArray[np.uint8]],
    sums: NDArray[Any],
    spikes: NDArray[Any] | None,
) -> NDArray[np.float32]:
    """Return how far rounding alone may move each membrane before its reset, [T, neurons].

    `spikes` [T, neurons] reset the neurons. Errors of the weights add up as independent ones of
    known size; an input that comes again brings the same error again. Errors of the decay (half a
    unit) and of the bias add up with one sign.
    """
    keep = 1 - float(rule.voltage_decay) / DECAY_ONE
    squares = _squared_responses(rule, layer, sources)
    variance, constant = np.zeros(layer.neurons), np.zeros(layer.neurons)
    out = np.empty((len(sums), layer.neurons), np.float32)
    floor = FLOAT32 * rule.threshold if layer.fires else 0.0
    steps = run_stepwise(rule, sums, rounding.bias, spikes)
    for t, (_, membrane) in enumerate(steps):
        variance = keep**2 * variance + squares[t]
        drift = STATE_ONE * rounding.bias_error + np.abs(membrane) * (0.5 / DECAY_ONE)
        constant = keep * constant + drift
        error = STATE_ONE * rounding.weight_error * np.sqrt(variance)
        out[t] = DEVIATIONS * error + constant + floor
        if spikes is not None:
            reset = spikes[t] != 0
            variance[reset] = constant[reset] = 0
    return out


def _squared_responses(
    rule: Rule, layer: Layer, sources: Mapping[str, NDArray[np.uint8]]
) -> NDArray[np.float32]:
    """Return what each step adds to the sum of the inputs' squared responses, [T, neurons].

    The response of an input is what a weight of 1 would have made of it in the membrane. Since the
    last reset it is X(t) - k X(t0), at most: (a - b)^2 <= a^2 - b^2 for a >= b >= 0.
    """
    total = np.zeros((len(sources[INPUT]), layer.neurons), np.float32)
    for synapse in layer.synapses:
        if synapse.source in sources:
            sent = sent_to(layer, synapse, sources)
            total += _summed(_growth(rule, sent), synapse, layer)
    return total


def _growth(rule: Rule, sent: Doubles) -> Doubles:
    """Return X(t)^2 - k^2 X(t - 1)^2 of the responses X of inputs [T, *shape]; k is what is kept of
    a membrane.
    """
    keep_u = 1 - float(rule.current_decay) / DECAY_ONE
    keep = 1 - float(rule.voltage_decay) / DECAY_ONE
    current, response = np.zeros_like(sent[0]), np.zeros_like(sent[0])
    out = np.empty_like(sent)
    for t, now in enumerate(sent):
        current = keep_u * current + now
        kept = keep * response
        response = kept + current
        out[t] = response**2 - kept**2
    return out


def _summed(values: Doubles, synapse: Synapse, layer: Layer) -> Doubles:
    """Sum over the inputs that each neuron has through a synapse, [T, neurons]."""
    steps, groups = len(values), synapse.groups
    if synapse.kind == "conv":
        each = values.reshape(steps, groups, -1, *values.shape[2:]).sum(2)
        seen = windows_of(each, synapse, layer.shape).sum((4, 5))
        return np.repeat(seen, layer.shape[0] // groups, axis=1).reshape(steps, -1)
    flat = values.reshape(steps, -1)
    if synapse.delays is None:
        return np.repeat(flat.sum(1, keepdims=True), layer.neurons, axis=1)
    total = np.zeros((steps, layer.neurons))
    for delay in np.unique(synapse.delays[synapse.delays < steps]):
        total[delay:] += flat[: steps - delay] @ (synapse.delays == delay).T.astype(np.float64)
    return total
