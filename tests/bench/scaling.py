"""Growth of the simulator's time with the synaptic operations of one convolution, and of its memory
with the batch.
"""

import multiprocessing
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
from networks import nmnist, random_frames
from report import Options, Table, alternate, main, ms

from tmkt.deploy.trace import count
from tmkt.program.arithmetic import MAX_THRESHOLD
from tmkt.program.file import load, save
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator

CHANNELS, SIDE, STEPS, SAMPLES, ROUNDS = 256, 12, 10, 4, 7
DENSITIES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
BATCHES = (1, 16, 64, 256)


def benchmark(options: Options) -> Iterator[Table]:
    yield _time(options.threads)
    yield _memory()


def _time(threads: int) -> Table:
    """One convolution of VGGSNN's width, driven from sparse to dense; its neurons hardly fire."""
    weight = 2 * np.random.default_rng(0).integers(-60, 61, (CHANNELS, CHANNELS, 3, 3)).astype(
        np.int16
    )
    shape = (CHANNELS, SIDE, SIDE)
    bias = np.zeros(CHANNELS, np.int32)
    layer = Layer(
        "conv",
        shape,
        (Synapse(INPUT, "conv", weight, padding=(1, 1)),),
        bias,
        threshold=MAX_THRESHOLD,
        voltage_decay=2048,
    )
    program = Program(shape, 1, (layer,), "spikes")
    simulator = Simulator(program, threads=threads)
    inputs = {density: random_frames((SAMPLES, STEPS, *shape), density) for density in DENSITIES}
    found = alternate(
        {str(density): lambda f=frames: simulator.run(f) for density, frames in inputs.items()},
        ROUNDS,
    )
    seconds = np.array([found[str(density)] / SAMPLES for density in DENSITIES])
    synops = np.array(
        [
            count(program, f, simulator.run(f).spikes).per_sample("synops").mean()
            for f in inputs.values()
        ]
    )
    # A line of least relative error: what the neurons cost at any rate, and what an operation
    # costs.
    design = np.stack([np.ones_like(synops), synops], 1) / seconds[:, None]
    (rest, each), *_ = np.linalg.lstsq(design, np.ones_like(seconds), rcond=None)
    off = (rest + each * synops) / seconds - 1
    rows = [
        [
            f"{density:.1%}",
            f"{n / 1e6:.2f}",
            ms(s),
            f"{n / s / 1e9 / threads:.2f}",
            f"{deviation:+.0%}",
        ]
        for density, n, s, deviation in zip(DENSITIES, synops, seconds, off, strict=True)
    ]
    return Table(
        f"Time against synaptic operations: convolution {CHANNELS} to {CHANNELS}, {SIDE}x{SIDE}, T"
        f" = {STEPS}, batch {SAMPLES}",
        ["input spikes", "MSynOps a sample", "ms a sample", "GSynOps/s per core", "line's error"],
        rows,
        notes=[
            f"threads: {threads}; the line: {ms(rest)} ms a sample + {1e9 * each:.3f} ns an"
            " operation"
        ],
    )


def _memory() -> Table:
    contest = nmnist(4)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "program.safetensors"
        save(contest.program, path)
        steps, spawn = contest.frames.shape[1], multiprocessing.get_context("spawn")
        rows = []
        for batch in BATCHES:
            with spawn.Pool(1) as pool:
                grown, results = pool.apply(_peak, (path, batch, steps))
            rows.append(
                [
                    batch,
                    f"{grown / 2**20:.1f}",
                    f"{results / 2**20:.1f}",
                    f"{max(0, grown - results) / 2**20:.1f}",
                ]
            )
    return Table(
        "Memory against batch: N-MNIST network, one thread",
        [
            "batch",
            "MB more at the peak of a run",
            "of it the spikes that it returns",
            "working memory",
        ],
        rows,
        notes=[
            "each batch in a process of its own, over what it held before the run (Linux alone"
            " tells)"
        ],
    )


def _peak(path: Path, batch: int, steps: int) -> tuple[int, int]:
    """Bytes by which a run of the batch raises the process's memory at most, and the bytes of its
    spikes.
    """
    program = load(path)
    simulator = Simulator(program, threads=1)
    frames = random_frames((batch, steps, *program.input_shape), 0.08)
    simulator.run(frames[:1])  # compiles
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak counts from here
    before = _kilobytes("VmRSS")
    result = simulator.run(frames)
    return 1024 * (_kilobytes("VmHWM") - before), sum(
        spikes.nbytes for spikes in result.spikes.values()
    )


def _kilobytes(key: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    main(benchmark)
