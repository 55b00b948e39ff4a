"""Random integer programs for property tests: every field over its whole range, wraps and clips
included, and layers that never fire before others that read them.
"""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from tmkt.program.arithmetic import DECAY_ONE, MAX_DELAY, MAX_SUM, MAX_THRESHOLD
from tmkt.program.model import INPUT, Layer, Program, Synapse, conv_shape, pooled

# Of one synapse: three of them stay below a layer's limit. It is 21 times the sum at which a
# current wraps, and in some ten steps a current without a decay wraps at 32 bits.
LARGEST_SUM = (MAX_SUM - 1) // 3
DECAYS = st.one_of(st.sampled_from([0, 1, 1024, 2048, 4095, 4096]), st.integers(0, DECAY_ONE))

MOSTLY = st.sampled_from([True, True, True, False])


def _weights(
    draw: st.DrawFn, rng: np.random.Generator, shape: tuple[int, ...], most: int
) -> NDArray[np.int16]:
    """Draw weights that give one neuron at most LARGEST_SUM from sources up to `most`."""
    limit = min(254, LARGEST_SUM // (int(np.prod(shape[1:])) * most))
    step = draw(st.sampled_from([1, 2, 32])) if limit <= 127 else 2
    if limit < step:
        step = 1
    if draw(st.booleans()):
        return (step * rng.integers(-(limit // step), limit // step + 1, shape)).astype(np.int16)
    return (rng.choice([-1, 1, 1], shape) * (limit // step * step)).astype(np.int16)


def _conv(
    draw: st.DrawFn, rng: np.random.Generator, source: str, shape: tuple[int, ...], max_count: int
) -> Synapse | None:
    pool = draw(st.sampled_from([1, 1, 2, 3]))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    groups = draw(st.sampled_from([g for g in range(1, shape[0] + 1) if shape[0] % g == 0]))
    out = groups * draw(st.integers(1, 2))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    kernel, stride, dilation = (
        draw(pair),
        draw(pair),
        draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (2, 3)])),
    )
    if min(pooled(shape, pool)) < 1:
        return None
    weight = _weights(
        draw,
        rng,
        (out, shape[0] // groups, *kernel),
        (max_count if source == INPUT else 1) * pool**2,
    )
    synapse = Synapse(source, "conv", weight, stride, padding, dilation, groups, pool)
    return synapse if min(conv_shape(synapse, shape)) > 0 else None


def _dense(
    draw: st.DrawFn,
    rng: np.random.Generator,
    source: str,
    shape: tuple[int, ...],
    neurons: int,
    max_count: int,
) -> Synapse:
    pool = draw(st.sampled_from([1, 2])) if len(shape) == 3 and min(shape[1:]) >= 2 else 1
    weight = _weights(
        draw,
        rng,
        (neurons, int(np.prod(pooled(shape, pool)))),
        (max_count if source == INPUT else 1) * pool**2,
    )
    return Synapse(source, "dense", weight, pool=pool)


def _delayed(draw: st.DrawFn, rng: np.random.Generator, synapse: Synapse) -> Synapse:
    """A dense synapse with delays as often as not: none above zero, short ones that arrive within a
    short sample, or up to the longest.
    """
    if synapse.kind != "dense" or draw(st.booleans()):
        return synapse
    return replace(
        synapse,
        delays=rng.integers(
            0, draw(st.sampled_from([0, 1, 3, 6, MAX_DELAY])) + 1, synapse.weight.shape
        ).astype(np.uint8),
    )


@st.composite
def programs(draw: st.DrawFn, chain: bool = False, temporal: bool = False) -> Program:
    """Up to three layers; unless `chain`, layers may have a second synapse, from any earlier layer
    or the input, and a layer before the last may never fire.

    With `temporal`, layers that fire may have a recurrent synapse, and dense synapses delays.
    """
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    image = st.tuples(st.integers(1, 3), st.integers(3, 8), st.integers(3, 8))
    channels = st.tuples(st.integers(1, 40))
    shapes: dict[str, tuple[int, ...]] = {INPUT: draw(image if draw(MOSTLY) else channels)}
    max_count = draw(st.sampled_from([1, 3, 255]))
    layers: list[Layer] = []
    count = draw(st.integers(1, 3))
    for i in range(count):
        name, source = f"layer{i}", list(shapes)[-1]
        synapse = (
            _conv(draw, rng, source, shapes[source], max_count)
            if len(shapes[source]) == 3 and draw(st.sampled_from([True, True, False]))
            else None
        )
        if synapse is None:
            shape: tuple[int, ...] = (draw(st.integers(1, 12)),)
            synapses = [_dense(draw, rng, source, shapes[source], shape[0], max_count)]
        else:
            full = conv_shape(synapse, shapes[source])
            shape = (full[0], *(n - draw(st.integers(0, min(2, n - 1))) for n in full[1:]))
            synapses = [synapse]
        if not chain and draw(st.booleans()):
            other = draw(st.sampled_from(list(shapes)))
            synapses.append(_dense(draw, rng, other, shapes[other], int(np.prod(shape)), max_count))
        fires = draw(st.booleans()) if i == count - 1 else chain or draw(MOSTLY)
        if temporal:
            if fires and draw(st.booleans()):
                synapses.append(_dense(draw, rng, name, shape, int(np.prod(shape)), max_count))
            synapses = [_delayed(draw, rng, s) for s in synapses]
        low, high = draw(st.sampled_from([(-4096, 4095), (-10, 10), (0, 0)]))
        layers.append(
            Layer(
                name,
                shape,
                tuple(synapses),
                rng.integers(low, high + 1, shape[:1]).astype(np.int32),
                threshold=draw(st.one_of(st.integers(0, 2000), st.integers(0, MAX_THRESHOLD))),
                voltage_decay=draw(DECAYS),
                current_decay=draw(st.one_of(st.just(DECAY_ONE), DECAYS)),
                fires=fires,
            )
        )
        shapes[name] = shape
    readout = "spikes" if layers[-1].fires else "membrane"
    return Program(shapes[INPUT], max_count, tuple(layers), readout)


@st.composite
def frames_for(draw: st.DrawFn, program: Program) -> NDArray[np.uint8]:
    """Frames [N, T, *input shape] from empty to full."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 14)), *program.input_shape)
    present = rng.random(shape) < draw(st.sampled_from([0.05, 0.3, 1.0]))
    least = draw(st.sampled_from([0, 0, program.max_count]))
    return (present * rng.integers(least, program.max_count + 1, shape)).astype(np.uint8)
