"""Makes the golden vectors: small programs, their input, and what real Lava 0.10.0 computed from
them.

    .venv/bin/python tests/golden/make_lava_golden.py [CASE ...]

Chains of layers run from their netx file, all samples back to back, so that each shows that the
states are reset between samples. What netx cannot hold runs as a graph built by hand
(tests/support/lava_graph.py).

For each case <name>.safetensors (the program) and <name>.npz: `frames` uint8 [N, T, C, H, W];
`readout` int64 [N, K], membranes or spike counts of the last layer; `spikes/<layer>`, packed by
`numpy.packbits` over the flattened [N, T, *shape]. Made anew only when Lava or the program's format
changes: the simulator must agree with these files, never the other way round.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.append(str(Path(__file__).parents[1] / "support"))
from lava_graph import run_in_lava

from tmkt import bundle as bundles
from tmkt.deploy.engines.lava import LavaEngine
from tmkt.events.frames import InputContract
from tmkt.export.targets.lava import write_lava
from tmkt.program import file as program_file
from tmkt.program.arithmetic import MAX_THRESHOLD
from tmkt.program.model import Layer, Program, Synapse

FOLDER = Path(__file__).parent
Frames = NDArray[np.uint8]
ORIGIN = {"dataset": "golden", "trained_on": [], "images_trained_on": {}}
RNG = np.random.default_rng(20)


def weights(*shape: int, largest: int = 120, shift: int = 0) -> NDArray[np.int16]:
    """Random even weights; `shift` makes most of them positive, so that deep layers get to fire."""
    return (
        2 * np.clip(RNG.integers(-largest // 2, largest // 2 + 1, shape) + shift, -127, 127)
    ).astype(np.int16)


def biases(n: int, largest: int = 60) -> NDArray[np.int32]:
    return RNG.integers(-largest, largest + 1, n).astype(np.int32)


def spikes_in(
    shape: tuple[int, int, int], samples: int = 3, steps: int = 8, rate: float = 0.25, most: int = 1
) -> Frames:
    """Random input; samples of different rates, the first of them empty."""
    level = np.linspace(0, 2 * rate, samples).reshape(-1, 1, 1, 1, 1)
    return (
        (RNG.random((samples, steps, *shape)) < level)
        * RNG.integers(1, most + 1, (samples, steps, *shape))
    ).astype(np.uint8)


def conv(
    name: str,
    source: str,
    shape: tuple[int, int, int],
    weight: NDArray[np.int16],
    threshold: int,
    decays: tuple[int, int],
    **settings: object,
) -> Layer:
    return Layer(
        name,
        shape,
        (Synapse(source, "conv", weight, **settings),),
        biases(shape[0]),
        threshold,
        *decays,
    )  # type: ignore[arg-type]


def dense(
    name: str,
    source: str,
    weight: NDArray[np.int16],
    threshold: int,
    decays: tuple[int, int],
    fires: bool = True,
    pool: int = 1,
) -> Layer:
    return Layer(
        name,
        weight.shape[:1],
        (Synapse(source, "dense", weight, pool=pool),),
        biases(len(weight)),
        threshold,
        *decays,
        fires=fires,
    )


def readout(source: str, inputs: int, decays: tuple[int, int] = (0, 4096), pool: int = 1) -> Layer:
    return dense(
        "readout", source, weights(5, inputs), MAX_THRESHOLD, decays, fires=False, pool=pool
    )


def plain() -> tuple[Program, Frames]:
    """Build a convolution and a dense layer on a map that is not square."""
    conv1 = conv(
        "conv1", "input", (4, 9, 7), weights(4, 2, 3, 3), 150, (2048, 4096), padding=(1, 1)
    )
    return Program((2, 9, 7), 1, (conv1, readout("conv1", 4 * 9 * 7)), "membrane"), spikes_in(
        (2, 9, 7)
    )


def decays(pairs: list[tuple[int, int]]) -> tuple[Program, Frames]:
    """A chain of layers, each with its own (voltage decay, current decay); states of both signs, so
    that rounding toward zero shows.
    """
    layers = [
        conv(
            "conv1", "input", (3, 6, 5), weights(3, 2, 3, 3, shift=8), 120, pairs[0], padding=(1, 1)
        )
    ]
    for i, pair in enumerate(pairs[1:-1], start=2):
        layers.append(
            conv(
                f"conv{i}",
                f"conv{i - 1}",
                (3, 6, 5),
                weights(3, 3, 3, 3, shift=8),
                120 * i,
                pair,
                padding=(1, 1),
            )
        )
    layers.append(readout(layers[-1].name, 90, pairs[-1]))
    return Program((2, 6, 5), 1, tuple(layers), "membrane"), spikes_in((2, 6, 5), steps=12)


def saturation() -> tuple[Program, Frames]:
    """Membranes at both rails: input that first drives one half of the neurons up and the other
    down, then the reverse.
    """
    half = np.where(np.arange(8)[:, None] < 4, -1, 1)
    site = np.where(np.arange(32)[None] < 16, 1, -1)
    weight = (2 * RNG.integers(60, 128, (8, 32)) * half * site).astype(np.int16)
    hidden = dense("dense1", "input", weight, MAX_THRESHOLD, (0, 4096))
    # Only down: at the positive rail Lava's read-out would fire.
    last = dense("readout", "dense1", -np.abs(weights(5, 8)), MAX_THRESHOLD, (0, 4096), fires=False)
    last = replace(last, bias=np.array([-4096, -4096, -3000, -500, 0], np.int32))
    frames = np.zeros((2, 44, 2, 4, 4), np.uint8)
    frames[0, :22, 0] = frames[0, 22:, 1] = 40
    frames[1] = RNG.integers(0, 16, frames[1].shape)
    frames[1, :11, 0] = frames[1, 11:, 1] = 45
    return Program((2, 4, 4), 255, (hidden, last), "membrane"), frames


def current_wrap() -> tuple[Program, Frames]:
    """Sums beyond 24 bits, which wrap: exactly at both edges (2^17 * 64 stays, its negative does
    not), once, and further than once.
    """
    weight = weights(6, 32, largest=254)
    weight[0, :8], weight[1, :8] = 128, -128  # 8 sites * 128 counts * 128 = 2^17
    hidden = replace(
        dense("dense1", "input", weight, 20000, (977, 1365)), bias=np.zeros(6, np.int32)
    )
    frames = RNG.integers(0, 256, (3, 10, 2, 4, 4)).astype(np.uint8)
    frames[0] //= 4
    frames[1, 0] = 0
    frames[1, 0, 0, :2] = 128
    return Program((2, 4, 4), 255, (hidden, readout("dense1", 6)), "membrane"), frames


def current_of_32_bits() -> tuple[Program, Frames]:
    """Currents that grow beyond 24 bits after their one wrap, until 32 bits wrap as well: on both
    sides, without a decay, with the smallest one and with a larger one.
    """
    shape = (1, 8, 8)
    decays = [(4096, 0), (1000, 1), (0, 300), (4095, 40)]
    layers: list[Layer] = []
    for i, pair in enumerate(decays):
        counted = weights(6, 64, largest=4)
        counted[:4] += np.array([250, -250, 240, -246], np.int16)[:, None]
        layer = quiet(dense(f"dense{i}", "input", counted, 131000, pair))
        if layers:
            before = Synapse(layers[-1].name, "dense", weights(6, 6))
            layer = replace(layer, synapses=(*layer.synapses, before))
        layers.append(layer)
    frames = RNG.integers(200, 256, (2, 24, *shape)).astype(np.uint8)
    frames[:, 12:20] = 0  # what the current keeps alone
    return Program(shape, 255, tuple(layers), "spikes"), frames


def geometry() -> tuple[Program, Frames]:
    """Rectangular kernels, strides, paddings, dilations, groups."""
    conv1 = conv(
        "conv1",
        "input",
        (4, 5, 11),
        weights(4, 1, 3, 2),
        100,
        (977, 4096),
        stride=(2, 1),
        padding=(1, 2),
        dilation=(2, 3),
        groups=2,
    )
    conv2 = conv(
        "conv2",
        "conv1",
        (8, 5, 5),
        weights(8, 1, 1, 3, shift=20),
        60,
        (2048, 4096),
        stride=(1, 2),
        padding=(0, 0),
        groups=4,
    )
    last = readout("conv2", 8 * 25)
    return Program((2, 12, 10), 1, (conv1, conv2, last), "membrane"), spikes_in(
        (2, 12, 10), rate=0.3
    )


def counts() -> tuple[Program, Frames]:
    """Counts above 1 at the input of a convolution."""
    conv1 = conv(
        "conv1", "input", (4, 6, 6), weights(4, 2, 3, 3), 700, (2048, 4096), padding=(1, 1)
    )
    return Program((2, 6, 6), 15, (conv1, readout("conv1", 144)), "membrane"), spikes_in(
        (2, 6, 6), most=15
    )


def pool_crop() -> tuple[Program, Frames]:
    """Average pooling after odd maps: 17 x 17 and, with stride 2, 9 x 9 are held to even sizes, and
    pools are fused twice.
    """
    conv1 = conv(
        "conv1",
        "input",
        (3, 16, 16),
        weights(3, 2, 3, 3, shift=4),
        150,
        (2048, 4096),
        padding=(1, 1),
    )
    conv2 = conv(
        "conv2",
        "conv1",
        (4, 8, 8),
        weights(4, 3, 3, 3, shift=4),
        900,
        (2048, 4096),
        padding=(1, 1),
        pool=2,
    )
    return Program(
        (2, 17, 17), 1, (conv1, conv2, readout("conv2", 4 * 16, pool=2)), "membrane"
    ), spikes_in((2, 17, 17), samples=2, steps=6)


def pool_stride() -> tuple[Program, Frames]:
    """A strided convolution of an odd map whose result is cropped and pooled; a pool that drops a
    row and a column before a dense layer.
    """
    conv1 = conv(
        "conv1",
        "input",
        (3, 8, 6),
        weights(3, 2, 3, 3, shift=4),
        120,
        (1365, 4096),
        stride=(2, 2),
        padding=(1, 1),
    )
    conv2 = conv(
        "conv2",
        "conv1",
        (4, 3, 5),
        weights(4, 3, 2, 3, shift=4),
        400,
        (3151, 4096),
        padding=(0, 2),
        pool=2,
    )
    return Program(
        (2, 17, 13), 1, (conv1, conv2, readout("conv2", 4 * 2, pool=2)), "membrane"
    ), spikes_in((2, 17, 13), samples=2)


def spike_readout() -> tuple[Program, Frames]:
    """Dense layers alone, read out by spike count."""
    hidden = dense("dense1", "input", weights(12, 40, shift=10), 200, (2048, 4096))
    last = dense("readout", "dense1", weights(4, 12, shift=20), 150, (500, 3000))
    return Program((2, 4, 5), 1, (hidden, last), "spikes"), spikes_in((2, 4, 5), steps=12)


def recurrent_synapse(
    name: str, neurons: int, largest: int = 120, longest_delay: int = 0
) -> Synapse:
    delays = (
        RNG.integers(0, longest_delay + 1, (neurons, neurons)).astype(np.uint8)
        if longest_delay
        else None
    )
    return Synapse(name, "dense", weights(neurons, neurons, largest=largest), delays=delays)


def delayed(layer: Layer, longest: int) -> Layer:
    """Return the same layer with synapses delayed by 0 to `longest` steps, both among them."""
    synapses = []
    for synapse in layer.synapses:
        delays = RNG.integers(0, longest + 1, synapse.weight.shape).astype(np.uint8)
        delays.reshape(-1)[:2] = 0, longest
        synapses.append(replace(synapse, delays=delays))
    return replace(layer, synapses=tuple(synapses))


def quiet(layer: Layer) -> Layer:
    """The same layer with biases that fire nothing on their own: in Lava they act before the sample
    starts, and late spikes would stay.
    """
    return replace(layer, bias=-np.abs(layer.bias))


def recurrent() -> tuple[Program, Frames]:
    """Build a recurrent dense layer without delays, whose voltage and current have memory."""
    hidden = quiet(dense("dense1", "input", weights(12, 40, shift=12), 200, (977, 2048)))
    hidden = replace(hidden, synapses=(*hidden.synapses, recurrent_synapse("dense1", 12)))
    return Program((2, 4, 5), 1, (hidden, readout("dense1", 12)), "membrane"), spikes_in(
        (2, 4, 5), steps=16
    )


def delays() -> tuple[Program, Frames]:
    """Delays of 0 to 62 steps at the input, between layers and into the read-out, which hears the
    input too.
    """
    first = delayed(
        quiet(dense("dense1", "input", weights(10, 18, shift=25), 150, (2048, 4096))), 62
    )
    second = delayed(
        quiet(dense("dense2", "dense1", weights(9, 10, shift=25), 150, (500, 4096))), 7
    )
    last = readout("dense2", 9)
    last = delayed(
        replace(last, synapses=(*last.synapses, Synapse("input", "dense", weights(5, 18)))), 30
    )
    return Program((2, 3, 3), 1, (first, second, last), "membrane"), spikes_in(
        (2, 3, 3), samples=2, steps=90, rate=0.1
    )


def recurrent_delays() -> tuple[Program, Frames]:
    """Recurrent synapses with delays, into a layer whose input is delayed as well; read out by
    spike count.
    """
    hidden = delayed(
        quiet(dense("dense1", "input", weights(10, 18, shift=20), 250, (1000, 3000))), 3
    )
    hidden = replace(
        hidden,
        synapses=(*hidden.synapses, recurrent_synapse("dense1", 10, largest=160, longest_delay=20)),
    )
    last = quiet(dense("readout", "dense1", weights(4, 10, shift=30), 150, (2048, 4096)))
    last = replace(last, synapses=(*last.synapses, recurrent_synapse("readout", 4)))
    return Program((2, 3, 3), 1, (hidden, last), "spikes"), spikes_in((2, 3, 3), steps=40, rate=0.2)


def several_inputs() -> tuple[Program, Frames]:
    """Two convolutions, a dense synapse and a recurrent one into one map; a read-out that hears a
    map, its pool and a dense layer.
    """
    conv1 = quiet(
        conv(
            "conv1",
            "input",
            (3, 5, 4),
            weights(3, 2, 3, 3, shift=15),
            150,
            (2048, 4096),
            padding=(1, 1),
        )
    )
    wide = Synapse("input", "conv", weights(3, 2, 1, 3), padding=(0, 1))
    conv1 = replace(
        conv1,
        synapses=(
            *conv1.synapses,
            wide,
            Synapse("input", "dense", weights(60, 40, largest=20)),
            recurrent_synapse("conv1", 60, 30),
        ),
    )
    dense1 = quiet(dense("dense1", "input", weights(6, 40, shift=15), 150, (1000, 4096)))
    last = readout("conv1", 60)
    pooled = Synapse("conv1", "dense", weights(5, 3 * 2 * 2), pool=2)
    last = replace(
        last, synapses=(*last.synapses, pooled, Synapse("dense1", "dense", weights(5, 6)))
    )
    return Program((2, 5, 4), 1, (conv1, dense1, last), "membrane"), spikes_in((2, 5, 4))


def graded() -> tuple[Program, Frames]:
    """Counts of up to 255 into a convolution, and late ones into a dense layer beside it."""
    conv1 = conv(
        "conv1", "input", (3, 4, 5), weights(3, 2, 2, 2), 30000, (2048, 4096), padding=(0, 0)
    )
    dense1 = delayed(quiet(dense("dense1", "input", weights(8, 60), 60000, (1000, 4096))), 4)
    last = readout("conv1", 60)
    last = replace(last, synapses=(*last.synapses, Synapse("dense1", "dense", weights(5, 8))))
    return Program((2, 5, 6), 255, (conv1, dense1, last), "membrane"), spikes_in(
        (2, 5, 6), steps=10, most=255
    )


def odd_weights() -> tuple[Program, Frames]:
    """Odd weights, none above 127; and dense ones of a single sign."""
    conv1 = conv(
        "conv1",
        "input",
        (3, 5, 5),
        RNG.integers(-127, 128, (3, 2, 3, 3)).astype(np.int16),
        90,
        (2048, 4096),
        padding=(1, 1),
    )
    dense1 = dense(
        "dense1", "conv1", RNG.integers(-60, 128, (8, 75)).astype(np.int16), 200, (2048, 4096)
    )
    last = dense(
        "readout",
        "dense1",
        -RNG.integers(1, 128, (5, 8)).astype(np.int16),
        MAX_THRESHOLD,
        (0, 4096),
        fires=False,
    )
    return Program((2, 5, 5), 1, (conv1, dense1, last), "membrane"), spikes_in((2, 5, 5))


CASES = {
    "plain": plain,
    "decays-a": lambda: decays([(977, 1365), (2048, 0), (4096, 4096), (0, 1365)]),
    "decays-b": lambda: decays([(0, 0), (977, 4096), (2048, 1365), (977, 0)]),
    "decays-c": lambda: decays([(4096, 0), (4096, 1365), (0, 4096), (2048, 4096)]),
    "saturation": saturation,
    "current-wrap": current_wrap,
    "geometry": geometry,
    "counts": counts,
    "pool-crop": pool_crop,
    "pool-stride": pool_stride,
    "spike-readout": spike_readout,
    "recurrent": recurrent,
    "delays": delays,
    "recurrent-delays": recurrent_delays,
    "several-inputs": several_inputs,
    "graded": graded,
    "odd-weights": odd_weights,
    "current-32-bits": current_of_32_bits,
}


def run_netx(
    program: Program, frames: Frames
) -> tuple[NDArray[np.int64], dict[str, NDArray[np.uint8]]]:
    """Run the program's netx file in Lava."""
    contract = InputContract(program.input_shape[1:], frames.shape[1], 1, program.max_count)
    classes = [str(i) for i in range(program.classes)]
    with tempfile.TemporaryDirectory() as folder:
        writers = {bundles.LAVA: lambda path: write_lava(program, path)}
        bundle = bundles.write(Path(folder) / "b", program, contract, classes, ORIGIN, [], writers)
        output = LavaEngine(bundle).run(frames)
    return output.readout, output.spikes


def make(name: str) -> None:
    """Runs one case in Lava and writes its two files."""
    program, frames = CASES[name]()
    chain = all(
        len(layer.synapses) == 1 and not layer.steps_back(layer.synapses[0])
        for layer in program.layers
    )
    readout, spikes = run_netx(program, frames) if chain else run_in_lava(program, frames)
    program_file.save(program, FOLDER / f"{name}.safetensors")
    packed = {f"spikes/{layer}": np.packbits(s) for layer, s in spikes.items()}
    np.savez_compressed(FOLDER / f"{name}.npz", frames=frames, readout=readout, **packed)
    rates = ", ".join(f"{layer} {s.mean():.3f}" for layer, s in spikes.items())
    print(f"{name}: spike rates {rates}; read-out {readout.min()} to {readout.max()}")


if __name__ == "__main__":
    for case, name in enumerate(CASES):
        RNG = np.random.default_rng(20 + case)
        if name in sys.argv[1:] or not sys.argv[1:]:
            make(name)
