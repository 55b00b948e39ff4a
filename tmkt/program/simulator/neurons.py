"""Loops that update a layer's neurons by the rule in tmkt/program/arithmetic.py.

Sums, spikes and states have one row of neurons a sample, in the simulator's own order: positions,
then channels.
"""

from typing import Any, NamedTuple

import numpy as np
from numba.np.unsafe.ndarray import to_fixed_tuple

from tmkt.kernels import inlined, inner, kernel
from tmkt.program import arithmetic
from tmkt.program.arithmetic import DECAY_ONE, STATE_ONE, STATE_SHIFT

# Columns of `counts`: wraps of the current, clips of the membrane, values over the threshold of
# neurons that do not fire, and active neurons.
WRAPS, CLIPS, OVER, ACTIVE = range(4)
FAULTS = {"current_wraps": WRAPS, "membrane_clips": CLIPS, "readout_over_threshold": OVER}

_wrap: Any = inlined(arithmetic.wrap)
_clip: Any = inlined(arithmetic.clip)


class Neurons(NamedTuple):
    """Numbers of a layer's neurons, for `update`; kept: 4096 minus the decay."""

    threshold: int
    voltage_kept: int
    current_kept: int
    fires: bool


class MemorylessNeurons(NamedTuple):
    """Numbers of a layer's neurons, for `update_memoryless`.

    `threshold`: in units of the membrane. `share`: what the membrane keeps of 1. `per_sum`: units
    of the membrane in one of a sum: 64, or 128 where the sums are of half weights.
    """

    threshold: float
    share: float
    per_sum: float
    fires: bool


_INTEGERS, _FLOATS = len(Neurons._fields), len(MemorylessNeurons._fields)


@inner
def _active(touched: Any, bias: Any, u: Any, v: Any) -> int:
    """Count the neurons that have something to do in a step.

    These have a bias, a membrane or current other than zero, or input. `touched` has one entry a
    block of neighbours, which is 0 if no input reached them.
    """
    flat = touched.reshape(-1)
    per_block = v.size // max(flat.size, 1)
    idle = 0
    for block in range(flat.size):
        if flat[block] == 0:
            found: Any = np.int32(0)
            for i in range(block * per_block, (block + 1) * per_block):
                found += np.int32((bias[i] == 0) & (v[i] == 0) & (u[i] == 0))
            idle += found
    return int(v.size) - idle


@kernel
def update(
    numbers: Any,
    first: int,
    bias: Any,
    sums: Any,
    touched: Any,
    spikes: Any,
    u: Any,
    v: Any,
    counts: Any,
) -> None:
    """Update M of any layer's N neurons, from the `first` on, over T steps of S samples.

    `numbers`: `Neurons` as int64 array. `bias`: int32 [N]. `sums`: int32 [S, T, M]. `touched`:
    uint8 [S, T, positions, blocks] of the M neurons, 1 where input arrived. Writes `spikes` uint8
    [S, T, N] and the state `u` and `v` int32 [S, N]; adds to `counts` int64 [S, 4].

    tz(x * kept) is taken in doubles as x * (kept / 4096): the product has fewer than 53 bits, the
    division is by a power of two and the cast rounds toward zero, so it is exact.
    """
    neurons = Neurons(*to_fixed_tuple(numbers, _INTEGERS))
    keep_u, keep_v = neurons.current_kept / DECAY_ONE, neurons.voltage_kept / DECAY_ONE
    threshold, fires = neurons.threshold << STATE_SHIFT, neurons.fires != 0
    end = first + sums.shape[2]
    bias = bias[first:end]
    for n in range(sums.shape[0]):
        membrane = v[n, first:end]
        current = u[n, first:end] if neurons.current_kept else np.zeros_like(membrane)
        for t in range(sums.shape[1]):
            counts[n, ACTIVE] += _active(touched[n, t], bias, current, membrane)
            a, fired = sums[n, t], spikes[n, t, first:end]
            wraps: Any = 0
            clips: Any = 0
            over: Any = 0
            for i in range(membrane.size):
                # the cast is arithmetic.to_word
                summed = np.int32(np.int32(current[i] * keep_u) + (a[i] << STATE_SHIFT))
                wrapped = np.int32(_wrap(summed))
                wraps += wrapped != summed
                kept = np.int32(membrane[i] * keep_v)
                value = np.int32(kept + wrapped + (bias[i] << STATE_SHIFT))
                clipped = np.int32(_clip(value))
                clips += clipped != value
                spike = clipped > threshold
                over += spike
                fired[i] = spike and fires
                current[i] = wrapped
                membrane[i] = 0 if spike and fires else clipped
            if neurons.current_kept == 0:
                current[:] = 0
            counts[n, WRAPS] += wraps
            counts[n, CLIPS] += clips
            counts[n, OVER] += 0 if fires else over


@kernel
def update_memoryless(
    numbers: Any,
    kept: Any,
    limit: Any,
    first: int,
    bias: Any,
    sums: Any,
    touched: Any,
    spikes: Any,
    v: Any,
    counts: Any,
) -> None:
    """Do the same for a layer whose current has no memory and cannot wrap (|a| < 2^17).

    It works in float32: twice as many neurons to a vector. `numbers`: `MemorylessNeurons` as
    float32 array. `kept`: 4096 times the share that the membrane keeps; None if that is a power of
    two. `limit`: MEMBRANE_LIMIT; None where no membrane can reach it, which saves a third of the
    time. The sums are overwritten.

    Exact: sums, bias and membrane are whole numbers below 2^24 (what is above is clipped all the
    same). A decay by a power of two needs no more bits; any other is cut in two, v = 4096 * high +
    low of one sign: high * kept is whole, low * share has 24 bits.
    """
    neurons = MemorylessNeurons(*to_fixed_tuple(numbers, _FLOATS))
    end = first + sums.shape[2]
    bias = bias[first:end]
    drive = bias.astype(np.float32) * np.float32(STATE_ONE)
    share, per_sum, fires = neurons.share, neurons.per_sum, neurons.fires != 0
    one = np.float32(DECAY_ONE)
    top = neurons.threshold if fires else np.float32(np.inf)
    for n in range(sums.shape[0]):
        state = v[n, first:end]
        membrane = state.astype(np.float32)
        for t in range(sums.shape[1]):
            counts[n, ACTIVE] += _active(touched[n, t], bias, membrane, membrane)
            a, fired = sums[n, t], spikes[n, t, first:end]
            for i in range(a.size):
                if kept is None:
                    decayed = np.float32(np.int32(membrane[i] * share))
                else:
                    high = np.float32(np.int32(membrane[i] * np.float32(1 / DECAY_ONE)))
                    low = membrane[i] - high * one
                    decayed = high * np.float32(kept) + np.float32(np.int32(low * share))
                value = decayed + (np.float32(a[i]) * per_sum + drive[i])
                clipped = value
                if limit is not None:
                    clipped = min(max(value, -np.float32(limit)), np.float32(limit))
                    a[i] = clipped != value  # counted apart: the loop stays one of vectors
                spike = clipped > top
                fired[i] = spike
                membrane[i] = np.float32(0) if spike else clipped
            if limit is not None:
                clips = 0
                for i in range(a.size):
                    clips += a[i]
                counts[n, CLIPS] += clips
            if not fires:
                for value in membrane:
                    counts[n, OVER] += value > neurons.threshold
        for i in range(membrane.size):
            state[i] = np.int32(membrane[i])
