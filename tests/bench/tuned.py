"""Methods with equal tuning: each method's own settings are searched for with the same number of
trials, on recordings that nothing is tested on; what is found is then trained and tested with other
seeds, beside the method as the recipe has it.

python tests/bench/tuned.py --shared ../shared/data --out runs/equal --sets caltech101 --backbone s
--set train.steps=600; python tests/bench/tuned.py --out runs/equal --table

A search stays in OUT/SET-METHOD and goes on where it was interrupted; what is in results.jsonl is
not trained again.
"""

import argparse
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from backbone import key, measured, network_of, settings_of, show_sets
from backbone_sets import PHOTOGRAPHS, RECIPE, SETS
from lines import add, results, train_and_show

from tmkt.errors import InputError
from tmkt.train.tune.search import tune
from tmkt.train.tune.trials import Search

# Where a set's recordings and images lie below the folder of all sets.
PLACES = {
    "nmnist": (Path("nmnist"), Path("mnist")),
    "pokerdvs": (Path("pokerdvs/events"), Path("pokerdvs/images")),
    "caltech101": (PHOTOGRAPHS, Path("caltech101/101_ObjectCategories")),
}
RATE = "train.learning_rate=1.25e-3..2e-2"  # the recipe's, by a factor of 4 up and down
# What is a method's own to choose: the rate, and what its papers leave open.
SEARCHES = {
    "joint": [RATE, "method.image_share=0.2..1.0"],
    "tmkt": [
        RATE,
        "method.mix_ratio=0.1..0.9",
        "method.mix_ratio_end=0.1..0.9",
        "method.alignment=0.05..5.0",
        "method.modality_guidance=0.01..1.0",
        "method.ratio_perception=0.01..1.0",
    ],
    "kt-but-one-head": [RATE, "method.alignment=0.05..5.0"],
    "ckd": [RATE, "method.alignment=0.05..5.0", "method.distillation=0.05..5.0"],
}
SEARCHED_SEED = 100  # of the recordings that the trials train on; the tests have 0 to 9


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, help="folder of nmnist, pokerdvs, caltech101")
    parser.add_argument("--sets", nargs="+", choices=list(PLACES), default=list(PLACES))
    parser.add_argument("--methods", nargs="+", choices=list(SEARCHES), default=["joint", "tmkt"])
    parser.add_argument("--backbone", default="s", help="its network, from scratch")
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--validation", type=int, default=5, help="recordings a class")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all")
    parser.add_argument("--table", action="store_true", help="train nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and options.shared is None:
        parser.error("--shared is needed to train")
    options.bits = []
    return options


def tuned(name: str, method: str, options: argparse.Namespace) -> str:
    """Search for a method's settings; give the variant that has them."""
    few, variant = SETS[name], f"{method} grey scratch"
    search = Search(
        RECIPE,
        [
            *few.settings,
            *network_of(options.backbone),
            *options.set,
            *settings_of(variant, options.backbone),
            f"data.shots={options.shots}",
            f"data.validation={options.validation}",
            f"train.seed={SEARCHED_SEED}",
        ],
        SEARCHES[method],
        options.trials,
    )
    events, images = (options.shared / place for place in PLACES[name])
    say = partial(print, flush=True)  # a file gets each line as it comes, too
    found = tune(search, events, images, options.out / f"{name}-{method}", say)
    if found.interrupted:  # with fewer trials than the others it would not be compared fairly
        ended = f"search {name} {method}: found {len(found.ended)} of {options.trials} trials"
        raise InputError(f"{ended}; the same command goes on")
    best = found.best[0].settings
    return " ".join([variant, *(f"{one}={value}" for one, value in best.items())])


def train_all(options: argparse.Namespace) -> None:
    known = {key(line) for line in results(options.out)}
    for name, method in product(options.sets, options.methods):
        variants = [f"{method} grey scratch", tuned(name, method, options)]
        for seed, variant in product(options.seeds, variants):
            if (name, variant, options.shots, seed) not in known:
                add(options.out, measured(SETS[name], variant, options.shots, seed, options))


def show(options: argparse.Namespace) -> None:
    lines: list[dict[str, Any]] = results(options.out)
    show_sets([line for line in lines if line["set"] in options.sets], "", "joint grey scratch")


if __name__ == "__main__":
    train_and_show(parse(), train_all, show)
