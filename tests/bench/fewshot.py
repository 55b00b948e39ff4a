"""Accuracy of training methods over seeds: one JSON line a run, then one a method with mean and sample standard deviation.

python tests/bench/fewshot.py --data ../shared/data/nmnist --static ../shared/data/mnist --seeds 0 1 2 3 4 --methods tmkt events --out runs/fewshot
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

from tmkt.errors import InputError
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES
from tmkt.train.trainer import train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="nmnist-fewshot")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--static", type=Path)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--methods", nargs="+", default=["tmkt", "events"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], help="section.key=value, as for tmkt train")
    options = parser.parse_args()
    for method in options.methods:
        accuracies = []
        for seed in options.seeds:
            recipe = load_recipe(options.recipe, RECIPES, [*options.set, f"method.name={method}", f"train.seed={seed}"])
            start = time.monotonic()
            # Resumed: an interrupted benchmark goes on where it was, and what is finished is not trained again.
            run = train(recipe, options.data, options.static, options.out / f"{method}-{seed}", resume=True)
            test = run.info["test"]
            accuracies.append(test["accuracy"])
            print(json.dumps({"method": method, "seed": seed, **test, "seconds": round(time.monotonic() - start, 1)}), flush=True)
        sd = statistics.stdev(accuracies) if len(accuracies) > 1 else None
        print(json.dumps({"method": method, "seeds": len(accuracies), "mean": statistics.mean(accuracies), "sd": sd}), flush=True)


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
