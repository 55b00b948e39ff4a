"""Oracle of the tests: the integer program once more, as plainly as it can be written.

Engines and exported files are tested against it. It is independent of `tmkt.program.arithmetic` on
purpose: it has its own constants and its own rule, so that a fault there cannot hide here.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.program.model import INPUT, Layer, Program, Synapse

Integers = NDArray[np.int64]


def tz(x: Integers) -> Integers:
    """Divide by 4096 and round toward zero."""
    return np.sign(x) * (np.abs(x) >> 12)


def wrap24(x: Integers) -> Integers:
    """Wrap the current as Lava does: once; 2^23 itself stays (lava/proc/lif/models.py, 0.10.0)."""
    return np.where(x > 2**23, x - 2**24, np.where(x <= -(2**23), x + 2**24, x))


def wrap32(x: Integers) -> Integers:
    """Wrap to an int32, in which Lava holds the current before and after its one wrap."""
    return (x + 2**31) % 2**32 - 2**31


def clip24(x: Integers) -> Integers:
    return np.clip(x, -(2**23) + 1, 2**23 - 1)


def sum_pool(x: Integers, pool: int) -> Integers:
    """Sum pools of [C, H, W] to [C, H // pool, W // pool]; without pooling, return any shape as it
    is.
    """
    if pool == 1:
        return x
    channels, height, width = x.shape
    out = np.zeros((channels, height // pool, width // pool), np.int64)
    for y in range(height // pool):
        for col in range(width // pool):
            out[:, y, col] = x[:, y * pool : (y + 1) * pool, col * pool : (col + 1) * pool].sum(
                (1, 2)
            )
    return out


def convolve(x: Integers, synapse: Synapse, shape: tuple[int, ...]) -> Integers:
    """Convolve [C, H, W]; give only the first rows and columns that `shape` asks for."""
    w = synapse.weight.astype(np.int64)
    (py, px), (sy, sx), (dy, dx) = synapse.padding, synapse.stride, synapse.dilation
    ky, kx = w.shape[2:]
    padded = np.pad(x, ((0, 0), (py, py), (px, px)))
    per_in, per_out = x.shape[0] // synapse.groups, w.shape[0] // synapse.groups
    out = np.zeros(shape, np.int64)
    for y in range(shape[1]):
        for col in range(shape[2]):
            patch = padded[
                :,
                y * sy : y * sy + dy * (ky - 1) + 1 : dy,
                col * sx : col * sx + dx * (kx - 1) + 1 : dx,
            ]
            for channel in range(shape[0]):
                group = channel // per_out
                out[channel, y, col] = (
                    w[channel] * patch[group * per_in : (group + 1) * per_in]
                ).sum()
    return out


def synaptic_sum(layer: Layer, past: list[dict[str, Integers]]) -> Integers:
    """a: what the layer's synapses deliver in the step that `past` ends with, given the values of
    every source in each step so far.

    The last step needs no value of the layer itself.
    """
    a = np.zeros(layer.shape, np.int64)
    for synapse in layer.synapses:
        recurrent = synapse.source == layer.name
        if synapse.kind == "conv":
            a += convolve(sum_pool(past[-1][synapse.source], synapse.pool), synapse, layer.shape)
            continue
        delays = (
            np.zeros(synapse.weight.shape, np.int64)
            if synapse.delays is None
            else synapse.delays.astype(np.int64)
        )
        for delay in np.unique(delays):
            back = delay + recurrent  # 0 is the last step
            if back < len(past):
                arrives = np.where(delays == delay, synapse.weight.astype(np.int64), 0)
                a += (
                    arrives @ sum_pool(past[-1 - back][synapse.source], synapse.pool).reshape(-1)
                ).reshape(layer.shape)
    return a


def run_plain(
    program: Program, frames: NDArray[Any]
) -> tuple[Integers, dict[str, NDArray[np.uint8]], dict[str, dict[str, Integers]]]:
    """Runs frames uint8 [N, T, C, H, W].

    Gives the read-out int64 [N, K]; the spikes of every layer that fires, uint8 [N, T, *shape]; and
    the last states, {layer: {"u": ..., "v": ...}}, int64 [N, *shape].
    """
    samples, steps = frames.shape[:2]
    spikes = {
        layer.name: np.zeros((samples, steps, *layer.shape), np.uint8) for layer in program.layers
    }
    states = {
        layer.name: {k: np.zeros((samples, *layer.shape), np.int64) for k in "uv"}
        for layer in program.layers
    }
    for n in range(samples):
        past: list[dict[str, Integers]] = []
        for t in range(steps):
            values = {INPUT: frames[n, t].astype(np.int64)}
            past.append(values)
            for layer in program.layers:
                state = states[layer.name]
                bias = layer.bias.astype(np.int64).reshape(-1, *[1] * (len(layer.shape) - 1))
                a = synaptic_sum(layer, past)
                u = wrap24(wrap32(tz(state["u"][n] * (4096 - layer.current_decay)) + (a << 6)))
                v = clip24(tz(state["v"][n] * (4096 - layer.voltage_decay)) + u + (bias << 6))
                s = (v > (layer.threshold << 6)) if layer.fires else np.zeros(layer.shape, bool)
                state["u"][n], state["v"][n] = u, np.where(s, 0, v)
                spikes[layer.name][n, t] = s
                values[layer.name] = s.astype(np.int64)
    last = program.layers[-1]
    readout = (
        states[last.name]["v"]
        if program.readout == "membrane"
        else spikes[last.name].sum(1, dtype=np.int64)
    )
    return (
        readout.reshape(samples, -1),
        {layer.name: spikes[layer.name] for layer in program.layers if layer.fires},
        states,
    )


def assert_equals_plain(found: Any, program: Program, frames: NDArray[np.uint8]) -> None:
    """Compare a result of the simulator, from the first step on, in every number."""
    readout, spikes, states = run_plain(program, frames)
    np.testing.assert_array_equal(found.readout, readout)
    assert found.spikes.keys() == spikes.keys()
    for name, expected in spikes.items():
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)
    for v, layer in zip(found.state.v, program.layers, strict=True):
        channels_last = np.moveaxis(states[layer.name]["v"], 1, -1).reshape(len(frames), -1)
        np.testing.assert_array_equal(v, channels_last, err_msg=layer.name)
