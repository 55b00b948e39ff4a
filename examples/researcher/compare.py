"""Trains methods on the simulated digits with several seeds, and prints each accuracy with its
spread and its difference from the first method, paired by seed.

python examples/researcher/compare.py --methods joint target-only --seeds 3

A seed draws the training recordings, the initial weights and all batches. The network is tested
once, with its last weights, on the recordings that were not trained on. Needs the extra train. A
training takes about a minute on two cores; the same command goes on where it was stopped.
"""

import argparse
from pathlib import Path

import numpy as np

from tmkt.datasets.digits import MARKER, simulate_digits
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES
from tmkt.train.trainer import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--methods", nargs="+", default=["joint", "target-only"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-class", type=int, default=50, help="recordings, to train and test")
    parser.add_argument(
        "--set", nargs="*", default=[], help="keys of the recipe, as train.steps=50"
    )
    parser.add_argument("--out", type=Path, default=Path("compare"))
    options = parser.parse_args()
    data = options.out / "data"
    if not (data / MARKER).is_file():
        simulate_digits(data, options.per_class, 0)
    found: dict[str, list[float]] = {}
    for method in options.methods:
        for seed in range(options.seeds):
            changes = [f"method.name={method}", f"train.seed={seed}", *options.set]
            recipe = load_recipe("digits", RECIPES, changes)
            run = train(recipe, data, None, options.out / f"{method}-{seed}", resume=True)
            found.setdefault(method, []).append(100 * run.info["test"]["accuracy"])
    first = np.array(found[options.methods[0]])
    for method, accuracies in found.items():
        of_seeds = np.array(accuracies)
        against = f"{spread(of_seeds - first)} against {options.methods[0]}"
        print(f"{method}: {spread(of_seeds)} %, {against}")


def spread(values: np.ndarray) -> str:
    """Format mean ± standard deviation; of one value there is none."""
    deviation = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
    return f"{values.mean():.1f}{deviation}"


if __name__ == "__main__":
    main()
