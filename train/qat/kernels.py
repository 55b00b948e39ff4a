"""Inner loops of the integer neuron in training, on flat arrays [T, N]."""

import numpy as np

from tmkt.kernels import inlined
from tmkt.networks.cpu.lif_kernels import ATAN, TRIANGLE
from tmkt.networks.cpu.threads import kernel
from tmkt.program import arithmetic
from tmkt.program.arithmetic import DECAY_ONE, STATE_ONE

_clip = inlined(arithmetic.clip)


@kernel
def integer_forward(x, keep, threshold, spikes, before_reset, begin, end):  # type: ignore[no-untyped-def]
    """Compute spikes and membranes before reset, [T, N], of sums x [T, N] with their bias.

    Neurons begin..end follow docs/program.md, with keep = 4096 - voltage_decay and threshold << 6.
    The integers are in float64, which holds all of them exactly.
    """
    v = np.zeros(end - begin)
    for t in range(x.shape[0]):
        row, out, before = x[t, begin:end], spikes[t, begin:end], before_reset[t, begin:end]
        for i in range(len(v)):
            h = _clip(np.trunc(v[i] * keep / DECAY_ONE) + STATE_ONE * row[i])
            fired = h > threshold
            before[i] = np.float32(h)
            out[i] = np.float32(1.0) if fired else np.float32(0.0)
            v[i] = 0.0 if fired else h


@kernel
def integer_backward(  # type: ignore[no-untyped-def]
    before_reset,
    keep,
    threshold,
    unit,
    surrogate,
    alpha,
    from_spikes,
    from_membrane,
    gradient,
    begin,
    end,
):
    """Compute the gradient [T, N] of the sums.

    It comes from the gradients of the spikes and of the membranes after reset (each [T, N] or
    [T, 0]). `unit` is the float network's threshold: membranes and surrogate are in its units.
    Truncation and clipping pass gradients as they are, the reset passes none.
    """
    spikes, membrane = from_spikes.shape[1] > 0, from_membrane.shape[1] > 0
    carried = np.zeros(end - begin, np.float32)
    share, scale = np.float32(keep / DECAY_ONE), np.float32(unit / threshold)
    stretch, one, zero = np.float32(np.pi / 2) * alpha, np.float32(1.0), np.float32(0.0)
    for t in range(before_reset.shape[0] - 1, -1, -1):
        row, out = before_reset[t, begin:end], gradient[t, begin:end]
        for i in range(len(carried)):
            above = (row[i] - np.float32(threshold)) * scale
            if surrogate == ATAN:
                u = above * stretch
                slope = np.float32(0.5) * alpha / (one + u * u)
            elif surrogate == TRIANGLE:
                slope = max(zero, alpha - alpha * alpha * abs(above))
            else:
                slope = alpha if np.float32(2.0) * alpha * abs(above) < one else zero
            later = carried[i] + (from_membrane[t, begin + i] if membrane else zero)
            here = (from_spikes[t, begin + i] * slope if spikes else zero) + (
                zero if above > zero else later
            )
            out[i] = here * scale * np.float32(STATE_ONE)
            carried[i] = here * share
