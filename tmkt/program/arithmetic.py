"""Integer arithmetic of the neurons: all constants, and the rule of one time step.

This module is the contract in code; docs/program.md explains it. Its functions are slow and plain,
so that anyone can read them. Every exact engine takes its constants from here and is tested
against `step` (tests/tmkt/test_arithmetic.py). The rule is that of Lava's fixed-point LIF, which
Intel calls bit-accurate with Loihi (lava-nc 0.10.0, lava/proc/lif/models.py).
"""

from typing import NamedTuple

# Units. A state (current or membrane) counts in 1/64 of a weight: sums, biases and thresholds are
# shifted left by 6 bits before they meet it. A decay counts in 1/4096.
STATE_SHIFT = 6
STATE_ONE = 1 << STATE_SHIFT
DECAY_SHIFT = 12
DECAY_ONE = 1 << DECAY_SHIFT

# States have 24 bits. A current above its limit, or at or below its negative, wraps once by the
# span: +2^23 stays, -2^23 wraps. Lava holds it in an int32, so that its sum wraps to 32 bits first.
# This matters only where a current has memory and sums above 2^18: one wrap then leaves more than
# 24 bits, and the current may grow. A membrane saturates at plus and minus its limit.
CURRENT_LIMIT = 2**23
CURRENT_SPAN = 2**24
WORD_LIMIT = 2**31
WORD_SPAN = 2**32
MEMBRANE_LIMIT = 2**23 - 1

# Ranges of a program's integers.
MAX_WEIGHT = 254  # of even weights: 8 bits and a sign, of which the lowest is not stored
MAX_ODD_WEIGHT = 127
MAX_THRESHOLD = 2**17 - 1
BIAS_RANGE = (-4096, 4095)  # 13 bits
MAX_COUNT = 255  # of the input, in one site and step
MAX_DELAY = 62  # steps: Lava's netx clips to it (lava-dl 0.6.0, lava/lib/dl/netx/hdf5.py)
MAX_SCALE = 2**31  # of the weights; far above any that a quantiser chooses
MAX_POOLED = 2**30 - 1  # sum over a pool's window: C holds twice as much in an int32
MAX_SUM = 2**23  # Lava's convolution wraps its sum to 24 bits: every |a| must stay below


class Neuron(NamedTuple):
    """Settings of one neuron. One that does not fire is an integrator and ignores its threshold."""

    bias: int
    threshold: int
    voltage_decay: int
    current_decay: int
    fires: bool


class State(NamedTuple):
    """Current u and membrane v of one neuron; both are zero when a sample starts."""

    current: int = 0
    membrane: int = 0


def tz(x: int) -> int:
    """Divide by 4096 and round toward zero."""
    return x >> DECAY_SHIFT if x >= 0 else -(-x >> DECAY_SHIFT)


def to_word(current: int) -> int:
    """Wrap the sum of a kept current and synaptic input to 32 bits, as an int32 does."""
    if current >= WORD_LIMIT:
        return current - WORD_SPAN
    if current < -WORD_LIMIT:
        return current + WORD_SPAN
    return current


def wrap(current: int) -> int:
    """Wrap a current to 24 bits, once."""
    if current > CURRENT_LIMIT:
        return current - CURRENT_SPAN
    if current <= -CURRENT_LIMIT:
        return current + CURRENT_SPAN
    return current


def clip(membrane: int) -> int:
    """Saturate a membrane at 24 bits."""
    return min(max(membrane, -MEMBRANE_LIMIT), MEMBRANE_LIMIT)


def step(neuron: Neuron, state: State, a: int) -> tuple[State, bool]:
    """Update a neuron by one time step; return its new state and whether it spikes.

    `a` is the sum over its synapses of weight times input, below MAX_SUM in absolute value.
    """
    kept_current = tz(state.current * (DECAY_ONE - neuron.current_decay))
    current = wrap(to_word(kept_current + (a << STATE_SHIFT)))
    kept_membrane = tz(state.membrane * (DECAY_ONE - neuron.voltage_decay))
    membrane = clip(kept_membrane + current + (neuron.bias << STATE_SHIFT))
    spikes = neuron.fires and membrane > neuron.threshold << STATE_SHIFT
    return State(current, 0 if spikes else membrane), spikes
