"""Speed of the engines on the N-MNIST recipe's network, batch 32: our simulator, ONNX Runtime,
SpikingJelly eager, stock Lava.
"""

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from networks import Contest, eager, nmnist, onnx_runtime
from report import Comparison, Options, Table, alternate, main, ms

from tmkt import bundle as bundles
from tmkt import console
from tmkt.deploy.engines.lava import LavaEngine, installed
from tmkt.deploy.trace import count
from tmkt.events.frames import InputContract
from tmkt.export.targets.lava import write_lava
from tmkt.program.simulator.simulator import Simulator

SAMPLES, ROUNDS = 32, 9
LAVA_SAMPLES = (1, 2, 12)  # the first run fills caches, the other two are compared


def benchmark(options: Options) -> Iterator[Table]:
    threads = options.threads
    contest = nmnist(SAMPLES)
    simulator, jelly, x = (
        Simulator(contest.program, threads=threads),
        eager(contest.net, folded=False),
        contest.input,
    )
    with tempfile.TemporaryDirectory() as folder:
        onnx = onnx_runtime(contest, Path(folder), threads)
        found = simulator.run(contest.frames)
        np.testing.assert_array_equal(found.readout, onnx()[0])
        alike = float(np.corrcoef(found.readout.ravel(), jelly(x).numpy().ravel())[0, 1])
        runs = {
            "simulator": lambda: simulator.run(contest.frames),
            "ONNX Runtime": onnx,
            "SpikingJelly eager": lambda: jelly(x),
        }
        seconds = {name: s / SAMPLES for name, s in alternate(runs, ROUNDS).items()}
        exact = {
            "simulator": "yes",
            "ONNX Runtime": "yes",
            "SpikingJelly eager": f"float, read-outs correlate {alike:.3f}",
        }
        if installed() and not options.quick:
            console.note(
                "Lava runs {}, {} and {} samples (the last two's difference leaves out its start)"
                " ...".format(*LAVA_SAMPLES)
            )
            seconds["Lava (stock)"] = _lava_seconds(contest, Path(folder), found.readout)
            exact["Lava (stock)"] = "yes"
        else:
            console.note("Lava is left out" + ("" if installed() else ": not installed"))
    ours, theirs = seconds["simulator"], seconds["SpikingJelly eager"]
    comparisons = [
        Comparison("nmnist/simulator-vs-spikingjelly", ours, theirs),
        Comparison("nmnist/simulator-vs-onnx", ours, seconds["ONNX Runtime"]),
        Comparison("nmnist/onnx-vs-spikingjelly", seconds["ONNX Runtime"], theirs),
    ]
    if "Lava (stock)" in seconds:
        comparisons.append(Comparison("nmnist/simulator-vs-lava", ours, seconds["Lava (stock)"]))
    synops = float(count(contest.program, contest.frames, found.spikes).per_sample("synops").mean())
    rates = " / ".join(f"{100 * spikes.mean():.1f}" for spikes in found.spikes.values())
    yield Table(
        f"N-MNIST network, T = 10, batch {SAMPLES}",
        ["engine", "ms a sample", "times the simulator's", "exact"],
        [[name, ms(s), f"{s / ours:.2f}", exact[name]] for name, s in seconds.items()],
        comparisons,
        [
            (
                f"threads: {threads} each (Lava: a process a layer). {synops / 1e6:.2f} M synaptic"
                f" operations a sample, layers spike at {rates} %: simulator"
                f" {synops / ours / 1e9 / threads:.1f} GSynOps/s per core"
            ),
        ],
    )


def _lava_seconds(contest: Contest, folder: Path, expected: np.ndarray) -> float:  # type: ignore[type-arg]
    """Seconds a sample of stock Lava, without its start; its membranes must be the simulator's."""
    _, steps, _, height, width = contest.frames.shape
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    contract, classes = InputContract((height, width), steps, 1000, 1), [str(i) for i in range(10)]
    writers = {bundles.LAVA: lambda path: write_lava(contest.program, path)}
    engine, seconds = (
        LavaEngine(
            bundles.write(
                folder / "bundle", contest.program, contract, classes, origin, [], writers
            )
        ),
        [],
    )
    for samples in LAVA_SAMPLES:
        begin = time.perf_counter()
        readout = engine.run(contest.frames[:samples]).readout
        seconds.append(time.perf_counter() - begin)
        np.testing.assert_array_equal(readout, expected[:samples])
    return (seconds[-1] - seconds[-2]) / (LAVA_SAMPLES[-1] - LAVA_SAMPLES[-2])


if __name__ == "__main__":
    main(benchmark)
