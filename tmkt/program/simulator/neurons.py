"""What a layer's neurons make of their sums in every step; tmkt/program/model.py states the rule."""

from typing import Any

import numpy as np

from tmkt.kernels import kernel

WRAP = 2**23  # of the current: Lava leaves +2^23 as it is and wraps -2^23
CLIP = 2**23 - 1  # of the membrane


@kernel
def _active(touched: Any, unbiased: Any, u: Any, v: Any) -> int:
    """How many neurons have something to do in a step: a bias, or a membrane or current other than
    zero, or input.
    """
    flat = touched.reshape(
        -1
    )  # one entry a block of neighbours: those that input did not reach can be idle
    per_block = v.size // max(flat.size, 1)
    idle = 0
    for block in range(flat.size):
        if flat[block] == 0:
            found: Any = np.int32(0)
            for i in range(block * per_block, (block + 1) * per_block):
                found += unbiased[i] & (v[i] == 0) & (u[i] == 0)
            idle += found
    return int(v.size) - idle


@kernel
def update(
    a: Any,
    touched: Any,
    spikes: Any,
    unbiased: Any,
    bias: Any,
    threshold: int,
    voltage_kept: int,
    current_kept: int,
    fires: bool,
    u: Any,
    v: Any,
    counts: Any,
) -> None:
    """The rule as it stands, for any layer: sums a int32 [S, T, N], spikes uint8 [S, T, N], state u
    and v int32 [S, N].

    tz(x * kept / 4096) is taken in doubles: the product has fewer than 53 bits, the division is by
    a power of two and the cast rounds toward zero, so it is exact. `touched` uint8 [S, T,
    positions, blocks]: which neurons got input; `unbiased` int32 [N]: 1 for the neurons without a
    bias, the only ones that can be idle. `counts` int64 [S, 4]: wraps of the current, clips of the
    membrane, values over the threshold, active neurons.
    """
    keep_u, keep_v = current_kept / 4096, voltage_kept / 4096
    top = threshold << 6
    for n in range(a.shape[0]):
        current, membrane = u[n] if current_kept else np.zeros(v.shape[1], np.int32), v[n]
        for t in range(a.shape[1]):
            counts[n, 3] += _active(touched[n, t], unbiased, current, membrane)
            sums, fired = a[n, t], spikes[n, t]
            wraps: Any = 0
            clips: Any = 0
            over: Any = 0
            for i in range(membrane.size):
                summed = np.int32(np.int32(current[i] * keep_u) + (sums[i] << 6))
                above, below = summed > WRAP, summed <= -WRAP
                wraps += above | below
                wrapped = np.int32(summed - 2 * WRAP * above + 2 * WRAP * below)
                value = np.int32(np.int32(membrane[i] * keep_v) + wrapped + (bias[i] << 6))
                clipped = np.int32(min(max(int(value), -CLIP), CLIP))
                clips += clipped != value
                spike = clipped > top
                over += spike
                fired[i] = spike and fires
                current[i] = wrapped
                membrane[i] = 0 if spike and fires else clipped
            if current_kept == 0:
                current[:] = 0
            counts[n, 0] += wraps
            counts[n, 1] += clips
            counts[n, 2] += 0 if fires else over


@kernel
def update_plain(
    a: Any,
    touched: Any,
    spikes: Any,
    unbiased: Any,
    bias: Any,
    threshold: int,
    share: Any,
    kept: Any,
    per_sum: Any,
    fires: bool,
    v: Any,
    counts: Any,
) -> None:
    """The same for a layer whose current has no memory and cannot wrap (|a| < 2^17), in float32:
    twice as many neurons to a vector.

    `per_sum`: 64, times 2 where the sums are of half weights. `share` is what the membrane keeps,
        `kept` the same times 4096, or None if
    it is a power of two. The sums are overwritten. Exact: sums, bias and membrane are whole numbers
        below 2^24 (what is above is clipped
    all the same); the decay by a power of two needs no more bits, any other is cut in two, v = 4096
        * high + low of one sign: high * kept
    is whole, low * share has 24 bits.
    """
    drive = bias.astype(np.float32) * np.float32(64)
    over, limit = np.float32(threshold << 6), np.float32(CLIP)
    top = over if fires else np.float32(np.inf)
    for n in range(a.shape[0]):
        membrane = v[n].astype(np.float32)
        for t in range(a.shape[1]):
            counts[n, 3] += _active(touched[n, t], unbiased, membrane, membrane)
            sums, fired = a[n, t], spikes[n, t]
            for i in range(sums.size):
                if kept is None:
                    decayed = np.float32(np.int32(membrane[i] * share))
                else:
                    high = np.float32(np.int32(membrane[i] * np.float32(1 / 4096)))
                    decayed = high * kept + np.float32(
                        np.int32((membrane[i] - high * np.float32(4096)) * share)
                    )
                value = decayed + (np.float32(sums[i]) * per_sum + drive[i])
                clipped = min(max(value, -limit), limit)
                spike = clipped > top
                fired[i] = spike
                membrane[i] = np.float32(0) if spike else clipped
                sums[i] = clipped != value  # counted apart: the loop stays one of vectors
            clips = 0
            for i in range(sums.size):
                clips += sums[i]
            counts[n, 1] += clips
            if not fires:
                for value in membrane:
                    counts[n, 2] += value > over
        for i in range(membrane.size):
            v[n, i] = np.int32(membrane[i])
