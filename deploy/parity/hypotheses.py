"""Hypotheses of what went wrong in a layer: rules or weights with one change each."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.parity.rules import Rule
from tmkt.program.arithmetic import DECAY_ONE, MAX_THRESHOLD
from tmkt.program.model import INPUT, Layer, Program, Synapse

Weights = NDArray[np.int16]


@dataclass(frozen=True)
class Hypothesis:
    """A possible cause, and the rule and layer that reproduce it.

    `cause` is a word or two; `explanation` a clause on what the engine seems to do.
    """

    cause: str
    explanation: str
    rule: Rule
    layer: Layer


def hypotheses(
    program: Program, layer: Layer, rule: Rule, exact: bool = True
) -> Iterator[Hypothesis]:
    """Yield the hypotheses without a fitted number, the most specific first.

    The first wins where several explain the same. Not `exact`: the engine is the float network,
    which neither rounds nor has limits, and may fire at the threshold; none of that is a fault.
    """

    def altered(cause: str, explanation: str, **fields: object) -> Hypothesis:
        return Hypothesis(cause, explanation, replace(rule, **fields), layer)  # type: ignore[arg-type]

    if layer.fires and exact:
        yield altered(
            "threshold rule",
            "fires at the threshold (>=), not only above it (>)",
            at_threshold=True,
        )
    if exact:
        yield from _of_integers(altered)
    if layer.fires:
        yield altered(
            "reset",
            "a spike subtracts the threshold (soft reset), expected a reset to 0",
            reset="subtract",
        )
        yield altered(
            "reset", "a spike does not reset the membrane, expected a reset to 0", reset="none"
        )
    else:
        for threshold in {layer.threshold, MAX_THRESHOLD}:
            yield altered(
                "reset",
                f"the read-out fires above {threshold} and resets, expected an integrator",
                fires=True,
                threshold=threshold << 6,
            )
    for steps, word in ((1, "late"), (-1, "early")):
        yield altered("delay", f"its input comes one step too {word}", late=steps)
        yield altered("delay", f"the layer runs one step too {word}", all_late=steps)
    if any(synapse.delays is not None for synapse in layer.synapses):
        undelayed = tuple(replace(synapse, delays=None) for synapse in layer.synapses)
        yield Hypothesis(
            "delay",
            "the synapses' delays are not applied",
            rule,
            replace(layer, synapses=undelayed),
        )
    yield altered("bias", "the bias is not added", biased=False)
    yield from _reweighted(program, layer, rule)


def _of_integers(altered: Callable[..., Hypothesis]) -> Iterator[Hypothesis]:
    """Yield the hypotheses on rounding and on the limits of the state."""
    for rounding, word in (("floor", "down (floor)"), ("nearest", "to the nearest integer")):
        yield altered("rounding", f"decays round {word}, not toward zero", rounding=rounding)
    for state, how, explanation in (
        ("membrane", "unbounded", "has no limit, expected saturation at +-(2^23 - 1)"),
        ("membrane", "wraps", "wraps at 24 bits, expected saturation"),
        ("current", "unbounded", "has no limit, expected a wrap at 24 bits"),
        ("current", "saturates", "saturates, expected a wrap at 24 bits"),
    ):
        yield altered("saturation", f"the {state} {explanation}", **{state: how})


def _reweighted(program: Program, layer: Layer, rule: Rule) -> Iterator[Hypothesis]:
    def last_first(synapse: Synapse) -> Weights:
        """Reorder a dense synapse's weights for a source read as H, W, C instead of C, H, W."""
        channels, height, width = program.shape_of(synapse.source)
        inner = (height // synapse.pool, width // synapse.pool, channels)
        return (
            synapse.weight.reshape(-1, *inner).transpose(0, 3, 1, 2).reshape(synapse.weight.shape)
        )

    def is_conv(synapse: Synapse) -> bool:
        return synapse.kind == "conv"

    def is_square(synapse: Synapse) -> bool:
        return is_conv(synapse) and synapse.weight.shape[2] == synapse.weight.shape[3]

    def is_flattened(synapse: Synapse) -> bool:
        return (
            synapse.kind == "dense"
            and synapse.delays is None
            and len(program.shape_of(synapse.source)) == 3
        )

    def sees_polarity(synapse: Synapse) -> bool:
        return (
            is_conv(synapse)
            and synapse.source == INPUT
            and program.input_shape[0] == 2
            and synapse.groups == 1
        )

    def always(_synapse: Synapse) -> bool:
        return True

    changes: list[tuple[str, str, Callable[[Synapse], bool], Callable[[Synapse], Weights]]] = [
        (
            "kernel flip",
            "the kernel is flipped in both axes (convolution, not cross-correlation)",
            is_conv,
            lambda s: s.weight[:, :, ::-1, ::-1],
        ),
        ("kernel flip", "the kernel is flipped in y", is_conv, lambda s: s.weight[:, :, ::-1]),
        ("kernel flip", "the kernel is flipped in x", is_conv, lambda s: s.weight[..., ::-1]),
        (
            "axis order",
            "the kernel's x and y are swapped",
            is_square,
            lambda s: s.weight.swapaxes(2, 3),
        ),
        (
            "axis order",
            "its input is flattened as H, W, C, expected C, H, W",
            is_flattened,
            last_first,
        ),
        ("polarity", "on and off events are swapped", sees_polarity, lambda s: s.weight[:, ::-1]),
        ("weight scale", "the weights are halved", always, lambda s: s.weight >> 1),
        ("weight scale", "the weights are doubled", always, lambda s: s.weight << 1),
    ]
    for cause, explanation, applies, change in changes:
        synapses = tuple(replace(s, weight=change(s)) if applies(s) else s for s in layer.synapses)
        if any(
            not np.array_equal(new.weight, old.weight)
            for new, old in zip(synapses, layer.synapses, strict=True)
        ):
            yield Hypothesis(cause, explanation, rule, replace(layer, synapses=synapses))


def other_decay(layer: Layer, rule: Rule, which: str, decays: NDArray[np.int64]) -> Hypothesis:
    """Return the hypothesis that the voltage or current decay is one of `decays` [D], in order.

    The one in the middle is run.
    """
    right, found = getattr(layer, f"{which}_decay"), int(decays[len(decays) // 2])
    span = f"{found}" if len(decays) == 1 else f"{decays[0]} to {decays[-1]}"
    explanation = f"the {which} decay is {span} of {DECAY_ONE}, expected {right}"
    if 0 < right < DECAY_ONE:
        explanation += f" (as with a time step {found / right:.3g} times as long)"
    fields = {f"{which}_decay": found}
    return Hypothesis("dt", explanation, replace(rule, **fields), layer)  # type: ignore[arg-type]


def other_threshold(layer: Layer, rule: Rule, low: int, high: int | None) -> Hypothesis:
    """Return the hypothesis that the threshold lies in low..high, in units of the membrane.

    `high` None: nothing fired.
    """
    if high is None:
        span, run = f"at least {low / 64:g}, or nothing fires", low
    else:
        one_value = low >> 6 == high >> 6
        span = f"{low / 64:g}" + ("" if one_value else f" to {high / 64:g}")
        run = (low + high) // 2
    return Hypothesis(
        "threshold",
        f"the threshold is {span}, expected {layer.threshold}",
        replace(rule, threshold=run),
        layer,
    )
