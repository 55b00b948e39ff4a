"""Ranges that a program's currents and membranes cannot leave, whatever its input: interval
arithmetic over time steps, layer by layer.

Each step takes every source at its extremes: a count of 0 or of the most that the input allows, a
spike or none. The rule of a neuron (`arithmetic.py`) grows with its current, its membrane and its
sum, so the extremes of one step follow from those of the step before. A bound may be larger than
what any input reaches: spikes of a layer are taken to be free of each other.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.program.arithmetic import (
    CURRENT_LIMIT,
    DECAY_ONE,
    DECAY_SHIFT,
    MAX_THRESHOLD,
    MEMBRANE_LIMIT,
    STATE_SHIFT,
)
from tmkt.program.model import Layer, Program, largest_input

LONGEST = 10_000  # steps that are looked at: a bundle takes no more; ours
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class LayerRange:
    """Range of one layer over so many steps, before any neuron is reset, in 1/64 of a weight.

    `current` and `membrane`: (lowest, highest) over all neurons and inputs; `membrane_limit`: what
    the highest must not exceed (of a read-out also the largest threshold, above which a chip's
    neuron fires; the lowest is that of 24 bits). `holds`: steps for which nothing wraps, clips or
    fires that must not; None: any number up to LONGEST. `proved`: it holds for the steps asked for.
    """

    layer: str
    current: tuple[int, int]
    membrane: tuple[int, int]
    membrane_limit: int
    holds: int | None
    proved: bool

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "current": list(self.current),
            "membrane": list(self.membrane),
            "membrane_limit": self.membrane_limit,
            "holds": self.holds,
            "proved": self.proved,
        }

    @property
    def current_share(self) -> float:
        """Most that the current takes of its limit."""
        return max(-self.current[0], self.current[1]) / CURRENT_LIMIT

    @property
    def membrane_share(self) -> float:
        """Most that the membrane takes of its limits."""
        low, high = self.membrane
        return max(-low / MEMBRANE_LIMIT, high / self.membrane_limit)


def prove(program: Program, steps: int) -> list[LayerRange]:
    """Bound every layer's current and membrane over the first `steps` steps of a sample.

    A layer of which `holds` is a number has left its range in the next step, for some input that
    these bounds do not exclude; its ranges are those of the steps before that, as far as `steps`.
    """
    silent = {layer.name for layer in program.layers if not layer.fires}
    return [_range(program, layer, steps, silent) for layer in program.layers]


def _range(program: Program, layer: Layer, steps: int, silent: set[str]) -> LayerRange:
    low, high = _sums(program, layer, silent)
    bias = layer.bias.astype(np.int64)
    # a neuron with a smaller sum and a smaller bias than another never comes first
    lower = _Side(layer, *_extremes(low, bias, -1), sign=-1)
    upper = _Side(layer, *_extremes(high, bias, 1), sign=1)
    holds: int | None = None
    current = membrane = (0, 0)
    for step in range(max(steps, LONGEST)):
        still = [lower.step(), upper.step()]
        if not (lower.sound and upper.sound):
            holds = step
            break
        if step < steps:
            current = (min(current[0], lower.u_extreme), max(current[1], upper.u_extreme))
            membrane = (min(membrane[0], lower.v_extreme), max(membrane[1], upper.v_extreme))
        if all(still):  # and will be for ever
            break
    return LayerRange(
        layer.name,
        current,
        membrane,
        upper.limit,
        holds,
        proved=holds is None or holds >= steps,
    )


def _sums(program: Program, layer: Layer, silent: set[str]) -> tuple[Integers, Integers]:
    """Bound the sum a of every neuron of a dense layer, or of every channel of a map: the lowest
    and the highest, of the shape of the bias.

    Delays change nothing: a weight delivers the value of one step of its source.
    """
    low, high = (np.zeros(layer.bias.shape, np.int64) for _ in range(2))
    for synapse in layer.synapses:
        if synapse.source in silent:
            continue
        w = synapse.weight.astype(np.int64).reshape(len(synapse.weight), -1)
        most = largest_input(program, synapse)
        # of a map, a dense synapse has a row for every neuron of a channel
        below = most * np.minimum(w, 0).sum(1).reshape(len(low), -1).min(1)
        above = most * np.maximum(w, 0).sum(1).reshape(len(low), -1).max(1)
        low, high = low + below, high + above
    return low, high


def _extremes(sums: Integers, bias: Integers, sign: int) -> tuple[Integers, Integers]:
    """Keep the neurons that none exceeds in both sum and bias."""
    order = np.lexsort((-sign * bias, -sign * sums))
    ahead = np.maximum.accumulate(sign * bias[order])
    kept = order[np.concatenate([[True], sign * bias[order][1:] > ahead[:-1]])]
    return sums[kept], bias[kept]


class _Side:
    """The lowest (`sign` -1) or the highest (1) current and membrane of a layer's neurons."""

    def __init__(self, layer: Layer, sums: Integers, bias: Integers, sign: int) -> None:
        self.layer, self.sign = layer, sign
        self.drive = sums << STATE_SHIFT
        self.bias = bias << STATE_SHIFT
        self.u = np.zeros_like(sums)
        self.v = np.zeros_like(sums)
        self.u_extreme = self.v_extreme = 0
        self.limit = MEMBRANE_LIMIT
        if sign > 0 and not layer.fires:
            self.limit = min(self.limit, MAX_THRESHOLD << STATE_SHIFT)

    def step(self) -> bool:
        """Go on by one step; tell whether nothing changed."""
        u = _kept(self.u, self.layer.current_decay) + self.drive
        v = _kept(self.v, self.layer.voltage_decay) + u + self.bias
        self.u_extreme, self.v_extreme = (
            int(x.max() if self.sign > 0 else x.min()) for x in (u, v)
        )
        if self.layer.fires:  # above its threshold a neuron is reset to 0
            most = self.layer.threshold << STATE_SHIFT if self.sign > 0 else 0
            v = np.minimum(v, most)
        same = bool(np.array_equal(u, self.u) and np.array_equal(v, self.v))
        self.u, self.v = u, v
        return same

    @property
    def sound(self) -> bool:
        """Tell whether neither current nor membrane has left its range."""
        if self.sign > 0:
            return self.u_extreme <= CURRENT_LIMIT and self.v_extreme <= self.limit
        return self.u_extreme > -CURRENT_LIMIT and self.v_extreme >= -self.limit


def _kept(state: Integers, decay: int) -> Integers:
    """Compute tz(state * (4096 - decay)), toward zero."""
    product = state * (DECAY_ONE - decay)
    return np.asarray(np.sign(product) * (np.abs(product) >> DECAY_SHIFT), np.int64)
