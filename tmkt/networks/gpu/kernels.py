"""Triton kernels of the fused batch norm and LIF, on flat arrays with channels last.

`TRITON_INTERPRET=1` runs them on a CPU. Scale, shift and mean are [groups, channels]: one group for
all steps, or one a step; `group` is what lies between the groups of two steps, 0 or `channels`.
"""

import triton
import triton.language as tl


@triton.jit
def pair_sums(
    a,
    b,
    mean,
    out,
    rows,
    channels,
    BLOCK_ROWS: tl.constexpr,
    BLOCK_CHANNELS: tl.constexpr,
):
    """Add up a and a * (b - mean) over the rows of [groups, rows, channels] in float64.

    `out` [groups, splits, 2, channels] receives the part of each program along the rows.
    """
    part, split, group = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    splits = tl.num_programs(1)
    channel = part * BLOCK_CHANNELS + tl.arange(0, BLOCK_CHANNELS)
    inside = channel < channels
    middle = tl.load(mean + group * channels + channel, mask=inside, other=0.0)
    start = group.to(tl.int64) * rows * channels
    sums = tl.zeros([BLOCK_ROWS, BLOCK_CHANNELS], tl.float64)
    products = tl.zeros([BLOCK_ROWS, BLOCK_CHANNELS], tl.float64)
    for first in range(split * BLOCK_ROWS, rows, splits * BLOCK_ROWS):
        row = first + tl.arange(0, BLOCK_ROWS)
        at = start + row.to(tl.int64)[:, None] * channels + channel[None, :]
        mask = (row < rows)[:, None] & inside[None, :]
        value = tl.load(a + at, mask=mask, other=0.0).to(tl.float64)
        other = tl.load(b + at, mask=mask, other=0.0).to(tl.float32) - middle[None, :]
        sums += value
        products += value * other.to(tl.float64)
    to = out + (group * splits + split) * 2 * channels + channel
    tl.store(to, tl.sum(sums, 0), mask=inside)
    tl.store(to + channels, tl.sum(products, 0), mask=inside)


@triton.jit
def lif_forward(
    x,
    scale,
    shift,
    spikes,
    membrane,
    steps,
    size,
    channels,
    group,
    tau,
    threshold,
    KEEP: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute spikes [steps, size] from x [steps, size] * scale + shift.

    With KEEP, `membrane` [steps, size] receives the membranes after the reset.
    """
    neuron = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = neuron < size
    channel = neuron % channels
    v = tl.zeros([BLOCK], tl.float32)
    for _ in range(steps):
        current = tl.load(x + neuron, mask=mask, other=0.0).to(tl.float32) * tl.load(
            scale + channel
        ) + tl.load(shift + channel)
        h = v + tl.div_rn(current - v, tau)
        fired = h >= threshold
        v = tl.where(fired, 0.0, h)
        tl.store(spikes + neuron, tl.where(fired, 1.0, 0.0), mask=mask)
        if KEEP:
            tl.store(membrane + neuron, v, mask=mask)
            membrane += size
        x += size
        spikes += size
        scale += group
        shift += group


@triton.jit
def lif_backward(
    x,
    scale,
    shift,
    from_spikes,
    from_membrane,
    hidden,
    grad,
    steps,
    size,
    channels,
    group,
    tau,
    threshold,
    alpha,
    SURROGATE: tl.constexpr,
    SPIKES: tl.constexpr,
    MEMBRANE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the gradient of x * scale + shift into `grad` [steps, size].

    It comes from the gradients of the spikes (with SPIKES) and of the membranes (with MEMBRANE).
    Membranes are computed again: each program writes those of a block into its part of `hidden`
    [programs, steps, BLOCK], which is so small that it stays in the cache.
    """
    lane = tl.arange(0, BLOCK)
    mine = hidden + tl.program_id(0) * steps * BLOCK + lane
    for block in range(tl.program_id(0), tl.cdiv(size, BLOCK), tl.num_programs(0)):
        neuron = block * BLOCK + lane
        mask = neuron < size
        channel = neuron % channels
        v = tl.zeros([BLOCK], tl.float32)
        x_at, scale_at, shift_at, hidden_at = x + neuron, scale + channel, shift + channel, mine
        spikes_at, membrane_at = from_spikes + neuron, from_membrane + neuron
        grad_at = grad + neuron
        for _ in range(steps):
            current = tl.load(x_at, mask=mask, other=0.0).to(tl.float32)
            current = current * tl.load(scale_at) + tl.load(shift_at)
            h = v + tl.div_rn(current - v, tau)
            tl.store(hidden_at, h)
            v = tl.where(h >= threshold, 0.0, h)
            x_at += size
            scale_at += group
            shift_at += group
            hidden_at += BLOCK
            spikes_at += size
            membrane_at += size
            grad_at += size
        tl.debug_barrier()  # other threads than those that wrote may read
        carried = tl.zeros([BLOCK], tl.float32)
        for _ in range(steps):
            hidden_at -= BLOCK
            spikes_at -= size
            membrane_at -= size
            grad_at -= size
            above = tl.load(hidden_at) - threshold
            if MEMBRANE:
                carried += tl.load(membrane_at, mask=mask, other=0.0).to(tl.float32)
            carried = tl.where(above >= 0.0, 0.0, carried)
            if SPIKES:
                if SURROGATE == 0:  # as in tmkt/networks/cpu/lif_kernels.py
                    u = above * (1.5707963267948966 * alpha)
                    slope = 0.5 * alpha / (1.0 + u * u)
                elif SURROGATE == 1:
                    slope = tl.maximum(alpha - alpha * alpha * tl.abs(above), 0.0)
                else:
                    slope = tl.where(2.0 * alpha * tl.abs(above) < 1.0, alpha, 0.0)
                carried += tl.load(spikes_at, mask=mask, other=0.0).to(tl.float32) * slope
            value = tl.div_rn(carried, tau)
            tl.store(grad_at, value, mask=mask)
            carried -= value
        tl.debug_barrier()  # before the next block's membranes take their place


@triton.jit
def norm_backward(
    x,
    mean,
    grad,
    gain,
    slope,
    offset,
    out,
    size,
    channels,
    group,
    BLOCK: tl.constexpr,
):
    """Compute out [steps, size] = gain * grad - slope * (x - mean) - offset; one step a row of
    programs.
    """
    neuron = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = neuron < size
    channel = neuron % channels + tl.program_id(1) * group
    at = tl.program_id(1).to(tl.int64) * size + neuron
    distance = tl.load(x + at, mask=mask, other=0.0).to(tl.float32) - tl.load(mean + channel)
    value = tl.load(gain + channel) * tl.load(grad + at, mask=mask, other=0.0)
    value = value - tl.load(slope + channel) * distance - tl.load(offset + channel)
    tl.store(out + at, value, mask=mask)
