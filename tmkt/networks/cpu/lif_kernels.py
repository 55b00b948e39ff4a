"""Kernels of the fused batch norm and LIF, on flat float32 arrays with channels last."""

import numpy as np

from tmkt.networks.cpu.threads import kernel

ATAN, TRIANGLE, RECTANGLE = 0, 1, 2  # surrogates
LANES = 512  # neurons at a time, at least: their membranes stay in the first cache


@kernel
def channel_sums(x, sums, squares, begin, end):  # type: ignore[no-untyped-def]
    """Add x [N] and its squares onto the float64 `sums` and `squares` [M].

    M divides `begin`; x[n] belongs to n % M.
    """
    width = len(sums)
    for first in range(begin, end, width):
        part = x[first : min(first + width, end)]
        for i in range(len(part)):
            value = np.float64(part[i])
            sums[i] += value
            squares[i] += value * value


@kernel
def lif_forward(x, scale, shift, tau, threshold, spikes, membrane, begin, end):  # type: ignore[no-untyped-def]
    """Compute spikes [T, N] of neurons begin..end from x [T, N] * scale [M] + shift [M].

    `membrane` [T, N] receives the membranes after the reset; [T, 0] if they are not wanted.
    """
    one, zero = np.float32(1.0), np.float32(0.0)
    width = len(scale)
    v = np.empty(width, np.float32)
    keep = membrane.shape[1] > 0
    for first in range(begin, end, width):
        count = min(width, end - first)
        v[:] = zero
        for t in range(x.shape[0]):
            row, out = x[t, first : first + count], spikes[t, first : first + count]
            for i in range(count):
                h = v[i] + (row[i] * scale[i] + shift[i] - v[i]) / tau
                fired = h >= threshold
                out[i] = one if fired else zero
                v[i] = zero if fired else h
            if keep:
                membrane[t, first : first + count] = v[:count]


@kernel
def lif_backward(  # type: ignore[no-untyped-def]
    x,
    scale,
    shift,
    mean,
    tau,
    threshold,
    surrogate,
    alpha,
    grad_spikes,
    grad_membrane,
    grad_x,
    sums,
    products,
    begin,
    end,
):
    """Compute the gradient of x * scale + shift into `grad_x` [T, N].

    It comes from the gradients of spikes and membranes, each [T, N] or [T, 0]. Membranes are
    computed again. The gradients, and their products with x - mean [M], are added onto the float64
    `sums` and `products` [M].
    """
    one, zero, two, half = np.float32(1.0), np.float32(0.0), np.float32(2.0), np.float32(0.5)
    steps, width = x.shape[0], len(scale)
    stretch = np.float32(np.pi / 2) * alpha
    hidden = np.zeros((steps + 1, width), np.float32)  # [0]: the rest before the first step
    carried, sum_here, product_here = (
        np.empty(width, np.float32),
        np.empty(width, np.float32),
        np.empty(width, np.float32),
    )
    from_spikes, from_membrane = grad_spikes.shape[1] > 0, grad_membrane.shape[1] > 0
    nothing = np.zeros((1, width), np.float32)
    for first in range(begin, end, width):
        count = min(width, end - first)
        for t in range(steps):
            row, before, now = x[t, first : first + count], hidden[t], hidden[t + 1]
            for i in range(count):
                v = zero if before[i] >= threshold else before[i]
                now[i] = v + (row[i] * scale[i] + shift[i] - v) / tau
        carried[:] = zero
        sum_here[:] = zero
        product_here[:] = zero
        for t in range(steps - 1, -1, -1):
            row, h_row, out = (
                x[t, first : first + count],
                hidden[t + 1],
                grad_x[t, first : first + count],
            )
            g_spikes = grad_spikes[t, first : first + count] if from_spikes else nothing[0, :count]
            g_membrane = (
                grad_membrane[t, first : first + count] if from_membrane else nothing[0, :count]
            )
            if surrogate == 0:
                for i in range(count):
                    u = (h_row[i] - threshold) * stretch
                    slope = half * alpha / (one + u * u)
                    later = carried[i] + g_membrane[i]
                    carried[i] = g_spikes[i] * slope + (zero if h_row[i] >= threshold else later)
            elif surrogate == 1:
                for i in range(count):
                    slope = max(zero, alpha - alpha * alpha * abs(h_row[i] - threshold))
                    later = carried[i] + g_membrane[i]
                    carried[i] = g_spikes[i] * slope + (zero if h_row[i] >= threshold else later)
            else:
                for i in range(count):
                    slope = alpha if two * alpha * abs(h_row[i] - threshold) < one else zero
                    later = carried[i] + g_membrane[i]
                    carried[i] = g_spikes[i] * slope + (zero if h_row[i] >= threshold else later)
            # Three loops: with more arrays in one, the compiler gives up on vector code, as it
            # would have to test all pairs for overlap.
            for i in range(count):
                g = carried[i] / tau
                out[i] = g
                carried[i] -= g
            for i in range(count):
                sum_here[i] += out[i]
            for i in range(count):
                product_here[i] += out[i] * (row[i] - mean[i])
        for i in range(count):
            sums[i] += np.float64(sum_here[i])
            products[i] += np.float64(product_here[i])


@kernel
def norm_backward(x, mean, grad, gain, slope, offset, begin, end):  # type: ignore[no-untyped-def]
    """Compute grad [N] = gain * grad - slope * (x - mean) - offset in place, with four
    arrays [M].
    """
    width = len(mean)
    for first in range(begin, end, width):
        row, out = x[first : min(first + width, end)], grad[first : min(first + width, end)]
        for i in range(len(row)):
            out[i] = gain[i] * out[i] - slope[i] * (row[i] - mean[i]) - offset[i]
