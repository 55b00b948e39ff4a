"""Check the float network's parity on many trained networks: false alarms, and planted faults.

    python tests/bench/parity.py [NETWORKS] [BITS ...]

Trains small networks with different seeds, widths and leaks, quantises each for 10 and 300 steps,
and counts the sound ones that parity calls faulty, and the planted faults that it names.
"""

import copy
import sys
import tempfile
from collections import Counter
from itertools import product
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from float_faults import FAULTS
from trained_networks import SHAPE, Trained, digits, rate_of, train, write_bundle

from tmkt.deploy.parity.report import parity
from tmkt.export.quantise.quantise import quantise

SAMPLES = 8


def main(networks: int, bits_tried: list[int]) -> None:
    """Print a line for each alarm and each fault missed, then the counts."""
    counts: Counter[str] = Counter()
    for seed in range(networks):
        tau = (2.0, None, 20.0, 1000.0)[seed % 4]
        setting = Trained(seed, 2 + seed % 5, tau, biased=tau in (2.0, 20.0) and seed % 3 != 2)
        network = train(setting)
        for steps, bits in product((10, 300), bits_tried):
            rate = rate_of(setting, steps)
            program, report = quantise(network, SHAPE, 1, digits(24, steps, 7, rate)[0], bits)
            frames, labels = digits(SAMPLES, steps, 99, rate)
            for name, (plant, layer, cause) in {"sound": (None, "", ""), **FAULTS}.items():
                faulty = copy.deepcopy(network)
                if plant is not None:
                    plant(faulty.nodes)
                    if same(faulty.nodes, network.nodes):
                        continue
                with tempfile.TemporaryDirectory() as folder:
                    parts = faulty, program, report
                    bundle = write_bundle(Path(folder) / "b", parts, steps)
                    engine = parity(bundle, ["float"], frames, labels, 100.0)["engines"][0]
                first = engine["first_divergence"]
                found = (first["layer"], first["cause"]) if first else ("", "")
                key = f"{bits} bits, {name}"
                counts[key] += 1
                counts[f"{key}: right"] += found == (layer, cause)
                if found != (layer, cause):
                    why = first and first["explanation"]
                    print(f"{setting}, {steps} steps, {bits} bits, {name}: {why}", flush=True)
    for key in sorted(key for key in counts if not key.endswith("right")):
        print(f"{key}: {counts[f'{key}: right']} of {counts[key]} right")


def same(nodes: dict[str, object], others: dict[str, object]) -> bool:
    """Tell if a fault changed nothing: there is no bias or leak to change."""
    return all(
        np.array_equal(getattr(nodes[name], key, 0), getattr(others[name], key, 0))
        for name in nodes
        for key in ("weight", "bias", "tau", "r")
    )


if __name__ == "__main__":
    numbers = [int(argument) for argument in sys.argv[1:]]
    main(numbers[0] if numbers else 40, numbers[1:] or [8, 4])
