"""Neurons of NIR files: parameters checked, conventions applied."""

from typing import Any

import numpy as np

from tmkt.nir.conventions import Settled
from tmkt.nir.errors import refuse, require
from tmkt.nir.graph import Floats, Neuron, Shape
from tmkt.nir.parameters import broadcast, describe


def neurons(name: str, node: Any, shape: Shape, settled: Settled) -> tuple[Neuron, str]:
    """Convert a node of neurons; returns them and a note on how they were read.

    InputError for time constants or thresholds that are not positive, and where dt / tau is
    above 1.
    """
    kind, dt = type(node).__name__, np.float32(settled.dt)

    def given(what: str, absent: float = 0.0) -> Floats:
        value = getattr(node, what, None)
        return (
            np.full(shape, absent, np.float32)
            if value is None
            else broadcast(name, what, value, shape)
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
                f"dt / {what} = {describe(ratio)}",
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
            f"no memory, fires at {describe(threshold)}",
        )
    current_decay = gain = None
    per_step = settled.inputs == "per-step"
    parts = []
    if kind.startswith("Cuba"):
        current_decay = share("tau_syn")
        gain = given("w_in", 1.0) * (np.float32(1) if per_step else current_decay)
        parts.append(
            f"current keeps {describe(1 - current_decay)} a step, takes {describe(gain)} of an"
            " input"
        )
    r = given("r", 1.0)
    decay = None
    if kind in ("IF", "I"):
        r = r if per_step else r * dt
        parts.append(f"membrane keeps all, takes {describe(r)} of an input")
    else:
        decay = share("tau_mem" if kind.startswith("Cuba") else "tau")
        parts.append(
            f"membrane keeps {describe(1 - decay)} a step, takes {describe(decay * r)} of an input"
        )
    if leak.any():
        parts.append(f"leaks to {describe(leak)}")
    parts.append(
        f"fires at {describe(threshold)}, resets to {describe(reset)}"
        if fires
        else "never fires: its membrane after the last step is the answer"
    )
    return Neuron(
        decay,
        r,
        leak=leak,
        threshold=threshold,
        reset=reset,
        current_decay=current_decay,
        gain=gain,
        fires=fires,
        strict=strict,
    ), "; ".join(parts)
