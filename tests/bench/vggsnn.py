"""Speed on VGGSNN 48x48, T = 10, at 2, 5 and 10 % spike rate: our simulator, torch eager
(SpikingJelly, batch norm folded), ONNX Runtime.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from networks import eager, onnx_runtime, vggsnn
from report import Comparison, Options, Table, alternate, main, ms

from tmkt import console
from tmkt.deploy.trace import count
from tmkt.program.simulator.simulator import Simulator

SAMPLES, ROUNDS = 2, 5
RATES = (0.02, 0.05, 0.10)


def benchmark(options: Options) -> Iterator[Table]:
    threads = options.threads
    rows, comparisons = [], []
    for rate in (0.05,) if options.quick else RATES:
        console.note(f"VGGSNN at {rate:.0%} ...")
        contest = vggsnn(SAMPLES, rate)
        simulator, torch_eager, x = (
            Simulator(contest.program, threads=threads),
            eager(contest.net, folded=True),
            contest.input,
        )
        with tempfile.TemporaryDirectory() as folder:
            onnx = onnx_runtime(contest, Path(folder), threads)
            found = simulator.run(contest.frames)
            np.testing.assert_array_equal(found.readout, onnx()[0])
            runs = {
                "simulator": lambda s=simulator, c=contest: s.run(c.frames),
                "torch": lambda t=torch_eager, x=x: t(x),
                "onnx": onnx,
            }
            seconds = {name: s / SAMPLES for name, s in alternate(runs, ROUNDS).items()}
        ours = seconds["simulator"]
        case = f"vggsnn-{100 * rate:.0f}pct"
        comparisons += [
            Comparison(f"{case}/simulator-vs-{name}", ours, seconds[name])
            for name in ("torch", "onnx")
        ]
        synops = float(
            count(contest.program, contest.frames, found.spikes).per_sample("synops").mean()
        )
        measured = [100 * float(spikes.mean()) for spikes in found.spikes.values()]
        rows.append(
            [
                f"{rate:.0%} ({min(measured):.1f} to {max(measured):.1f})",
                f"{synops / 1e9:.2f}",
                ms(ours),
                ms(seconds["torch"]),
                ms(seconds["onnx"]),
                f"{seconds['torch'] / ours:.2f}",
                f"{seconds['onnx'] / ours:.2f}",
                f"{synops / ours / 1e9 / threads:.1f}",
            ]
        )
    columns = [
        "spike rate (layers)",
        "GSynOps",
        "simulator",
        "torch eager",
        "ONNX Runtime",
        "x torch",
        "x ONNX",
        "GSynOps/s per core",
    ]
    notes = [
        f"threads: {threads} each; simulator and ONNX Runtime gave the same read-out membranes."
        " Synaptic operations are the chip's (every spike of a pooled map on its own)."
    ]
    yield Table(
        f"VGGSNN 48x48, T = 10, batch {SAMPLES}, ms a sample", columns, rows, comparisons, notes
    )


if __name__ == "__main__":
    main(benchmark)
