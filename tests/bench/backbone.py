"""Accuracy of training from a backbone and of its alternatives, where recordings are few: sets x
variants x shots x seeds, one JSON line a run in OUT/results.jsonl, a table of them all.

python tests/bench/backbone.py --shared ../shared/data --out runs/backbone --sets pokerdvs --seeds 0
1 2; python tests/bench/backbone.py --out runs/backbone --table

All variants of a set train on the same recordings with the same number of steps and samples. What
is in results.jsonl is not trained again. `--part 1/2` and `--part 2/2` share the work between two
processes that see the same folder.
"""

import argparse
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from backbone_sets import RECIPE, SETS, Few
from lines import add, results, spread, train_and_show

from tmkt.cli.tables.table import table
from tmkt.recipe import load_recipe
from tmkt.runs import Run
from tmkt.train import RECIPES
from tmkt.train.measure import logits_of
from tmkt.train.trainer import train
from tmkt.zoo.backbone import load_backbone

GREY = ["static.encoding=grey"]
START = ["train.init={backbone}", "train.learning_rate=2e-3"]
HEAD_FIRST = [*START, "train.head_share=0.5"]
FROZEN = ["train.init={backbone}", "train.freeze=true"]
# Images: grey, as the papers have them, where training starts from scratch; simulated with a
# backbone, which has seen nothing else.
VARIANTS = {
    "scratch": ["method.name=target-only"],
    "finetune": ["method.name=finetune", *GREY],
    "joint": ["method.name=joint", *GREY],
    "tmkt": ["method.name=tmkt", *GREY],
    "ckd": ["method.name=ckd", *GREY],
    "mix": ["method.name=mix"],
    "frozen": ["method.name=target-only", *FROZEN],
    "tuned": ["method.name=target-only", *HEAD_FIRST],
    "tuned-at-once": ["method.name=target-only", *START],
    "backbone-joint": ["method.name=joint", *START],
    "backbone-tmkt": ["method.name=tmkt", *START],
    "backbone-mix": ["method.name=mix", *HEAD_FIRST],
}
WITHOUT_IMAGES = ("scratch", "frozen", "tuned", "tuned-at-once")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, help="folder of nmnist, pokerdvs, biolab, ...")
    parser.add_argument("--backbone", default="s", help="in the zoo; all variants have its network")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--variants", nargs="+", help="of VARIANTS [all that the set allows]")
    parser.add_argument("--shots", type=int, nargs="+", help="0: all [the set's]")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--table", action="store_true", help="train nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and options.shared is None:
        parser.error("--shared is needed to train")
    return options


def grid(options: argparse.Namespace) -> list[tuple[str, str, int, int]]:
    """List (set, variant, shots, seed) of all runs, the seeds in the outer loop: a session that
    ends early leaves whole seeds.
    """
    wanted = []
    for seed, name in product(options.seeds, options.sets):
        few = SETS[name]
        for shots in options.shots or few.shots:
            for variant in options.variants or VARIANTS:
                if few.images or variant.split()[0] in WITHOUT_IMAGES:
                    wanted.append((name, variant, shots, seed))
    return wanted


def measured(
    few: Few, variant: str, shots: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one run; give its line of the results. The run is not kept."""
    name, *more = variant.split()
    recipe = load_recipe(
        RECIPE,
        RECIPES,
        [
            *few.settings,
            *network_of(options.backbone),
            *(text.format(backbone=options.backbone) for text in VARIANTS[name]),
            *options.set,
            *more,
            f"train.seed={seed}",
        ],
    )
    data = few.load(options.shared, recipe, shots, name not in WITHOUT_IMAGES)
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, data, None, Path(folder) / "run")
        recalls = class_recalls(run, data.test_frames, data.test_labels)
    test = run.info["test"]
    return {
        "set": few.name,
        "variant": variant,
        "network": options.backbone,
        "shots": shots,
        "seed": seed,
        "steps": recipe.train.steps,
        "batch": recipe.train.batch,
        "accuracy": test["accuracy"],
        "recall": float(np.mean(recalls)),
        "samples": test["samples"],
    }


def network_of(backbone: str) -> list[str]:
    """Give the settings of a backbone's network, for trainings that do not start from it, too."""
    network = load_backbone(backbone).network
    return [f"network.{key}={getattr(network, key)}" for key in ("channels", "strides", "pools")]


def class_recalls(run: Run, frames: Any, labels: Any) -> list[float]:
    """Share of right answers in each class that is tested."""
    net = run.load_network()
    with torch.no_grad():
        answers = torch.cat([logits.mean(0).argmax(1) for logits in logits_of(net, frames)])
    right = answers.numpy() == labels
    return [float(right[labels == label].mean()) for label in np.unique(labels)]


def train_all(options: argparse.Namespace) -> None:
    part, parts = (int(number) for number in options.part.split("/"))
    known = {key(line) for line in results(options.out) if line["network"] == options.backbone}
    for name, variant, shots, seed in grid(options)[part - 1 :: parts]:
        if (name, variant, shots, seed) not in known:
            add(options.out, measured(SETS[name], variant, shots, seed, options))


def key(line: dict[str, Any]) -> tuple[str, str, int, int]:
    return line["set"], line["variant"], line["shots"], line["seed"]


def show(options: argparse.Namespace) -> None:
    """One table a set: mean and standard deviation over seeds; recall is the classes' mean."""
    lines = [line for line in results(options.out) if line["set"] in options.sets]
    for name in dict.fromkeys(line["set"] for line in lines):
        own = [line for line in lines if line["set"] == name]
        shots = sorted({line["shots"] for line in own}, key=lambda k: k or 10**9)
        rows = []
        for variant, network in dict.fromkeys((line["variant"], line["network"]) for line in own):
            row = [f"{variant} ({network})"]
            for k in shots:
                found = [
                    100 * line[SETS[name].figure]
                    for line in own
                    if (line["variant"], line["network"], line["shots"]) == (variant, network, k)
                ]
                row.append(f"{spread(found)} (n={len(found)})" if found else "-")
            rows.append(row)
        title = f"{name}: {SETS[name].figure} in %, mean ± sd of seeds"
        table(title, ["variant", *(f"{k or 'all'} a class" for k in shots)], rows)


if __name__ == "__main__":
    train_and_show(parse(), train_all, show)
