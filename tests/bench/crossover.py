"""The simulator's two loops against each other: from which activity on the dense one is faster
(the constants of tmkt/program/simulator/crossover.py and products.py).
"""

import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tmkt.cli.tables.table import table
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.synapses import Group, groups_of

SIZE, POOL = 12, 2
NEVER = 2**40
SHAPES = ((2, 16), (16, 32), (32, 32), (64, 64), (128, 128), (256, 256), (512, 512))
SPIKES_A_SITE = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.6, 0.8, 1.2, 1.6, 2.4)


def main() -> None:
    rows: list[list[object]] = []
    for inputs, outputs in SHAPES:
        rng = np.random.default_rng(0)
        weight = (2 * rng.integers(-127, 128, (outputs, inputs, 3, 3))).astype(np.int16)
        layer = Layer(
            "n",
            (outputs, SIZE, SIZE),
            (Synapse(INPUT, "conv", weight, padding=(1, 1), pool=POOL),),
            np.zeros(outputs, np.int32),
            1,
            2048,
        )
        program = Program((inputs, POOL * SIZE, POOL * SIZE), 1, (layer,), "spikes")
        [group] = groups_of(program, layer, layer.synapses[0], 1)
        for spikes in SPIKES_A_SITE:
            values = (rng.random((4, (POOL * SIZE) ** 2 * inputs)) < spikes / POOL**2).astype(
                np.uint8
            )
            event_s, dense_s = (
                _seconds(values, replace(group, dense_from=least), outputs) for least in (NEVER, 0)
            )
            rows.append(
                [
                    f"{inputs} to {outputs}",
                    spikes,
                    f"{1e3 * event_s / 4:.3f}",
                    f"{1e3 * dense_s / 4:.3f}",
                    f"{dense_s / event_s:.2f}",
                ]
            )
    table(
        f"3x3 convolution of {SIZE}x{SIZE} sites, ms a step",
        ["channels", "spikes a site", "event-driven", "dense", "dense / event-driven"],
        rows,
    )


def _seconds(values: NDArray[np.uint8], group: Group, outputs: int) -> float:
    sums, touched = (
        np.zeros((len(values), SIZE**2 * outputs), np.int32),
        np.zeros((len(values), SIZE**2, 0), np.uint8),
    )
    best = float("inf")
    for _ in range(12):
        begin = time.thread_time()
        group.take(values, False)(0, False, sums, touched)
        best = min(best, time.thread_time() - begin)
    return best


if __name__ == "__main__":
    main()
