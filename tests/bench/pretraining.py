"""Ablation of a backbone's pre-training: one change at a time, and the accuracy of the frozen
backbone on real recordings of a camera that nobody simulated.

python tests/bench/pretraining.py --shared ../shared/data --out runs/pretraining; python
tests/bench/pretraining.py --out runs/pretraining --table

Every backbone is the recipe backbone-s with fewer steps and one change, trained on Caltech101. Runs
stay in OUT and go on where they were interrupted; what is in results.jsonl is not done again.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from backbone import measured
from backbone_sets import SETS
from difference_filter import difference_frames
from lines import add, results, spread, train_and_show

from tmkt.cli.tables.table import table
from tmkt.datasets.decoded import Rows
from tmkt.recipe import Recipe, load_recipe
from tmkt.runs import Run
from tmkt.train import RECIPES
from tmkt.train.data import TrainingData
from tmkt.train.source import load_images_alone
from tmkt.train.trainer import train

STEPS = 1500
FIXED = [
    "static.path=saccades",
    "static.shown=positive",
    "static.polarity=normal",
    *(
        f"static.{key}=0"
        for key in (
            "threshold_spread",
            "contrast_spread",
            "speed_spread",
            "amplitude_spread",
            "direction_spread",
            "timing_spread",
        )
    ),
]
PIXELS_64 = [
    "data.width=64",
    "data.height=64",
    "static.amplitude_px=8.9",
    "static.speed_px_s=71",
]
DIFFERENCES = "difference filter"
CHANGES: dict[str, list[str]] = {
    "none": [],
    "another seed": ["train.seed=1"],
    "fixed camera, saccades": FIXED,
    "saccades alone": ["static.path=saccades"],
    DIFFERENCES: [],
    "10 classes": ["data.classes_used=10"],
    "50 classes": ["data.classes_used=50"],
    "10 % of the images": ["data.images_share=0.1"],
    "50 % of the images": ["data.images_share=0.5"],
    "64 x 64 pixels": PIXELS_64,
    "500 steps": ["train.steps=500"],
    "4500 steps": ["train.steps=4500"],
}
MET = ("pokerdvs", "biolab-s1-s0", "biolab-s0-s1")
SHOTS = 1


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, help="folder of caltech101, pokerdvs and biolab")
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--draws", type=int, default=10, help="of the recordings to learn from")
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all")
    parser.add_argument("--table", action="store_true", help="train nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and options.shared is None:
        parser.error("--shared is needed to train")
    return options


def pretrain(change: str, options: argparse.Namespace) -> Run:
    """Train a backbone with one change, or go on with it."""
    settings = [f"train.steps={STEPS}", *CHANGES[change], *options.set]
    recipe = load_recipe("backbone-s", RECIPES, settings)
    photographs = options.shared / "caltech101" / "101_ObjectCategories"
    out = options.out / change.replace(" ", "-")
    if change == DIFFERENCES:
        recipe, data = with_differences(recipe, load_images_alone(recipe, photographs))
        return train(recipe, data, None, out, resume=True)
    return train(recipe, None, photographs, out, resume=True)


def with_differences(recipe: Recipe, data: TrainingData) -> tuple[Recipe, TrainingData]:
    """Replace the simulated camera by a difference filter: its frames of the training images are
    the recordings that train. The held-out photographs stay simulated recordings.
    """
    assert data.images is not None
    frames = difference_frames(data.images.images, recipe.data.bins)
    sections = recipe.model_dump()
    sections["data"] |= {"name": "folders", "leave_out": []}
    sections["method"]["name"] = "target-only"
    return Recipe.model_validate(sections), replace(
        data,
        frames=Rows(frames, np.arange(len(frames))),
        labels=data.images.labels,
        images=None,
        simulated=None,
    )


def train_all(options: argparse.Namespace) -> None:
    """Train what is wanted, and test each backbone where it meets a new camera."""
    known = {(line["change"], line["set"], line["seed"]) for line in results(options.out)}
    for change in options.changes:
        wanted = [
            (name, seed)
            for name in MET
            for seed in range(options.draws)
            if (change, name, seed) not in known
        ]
        if not wanted:
            continue
        run = pretrain(change, options)
        at = argparse.Namespace(backbone=str(run.path), shared=options.shared, set=[], bits=[])
        for name, seed in wanted:
            line = measured(SETS[name], "frozen", SHOTS, seed, at)
            facts = {"change": change, "held_out": run.info["test"]["accuracy"]}
            add(options.out, {**facts, **{key: line[key] for key in KEPT}})


KEPT = ("set", "shots", "seed", "accuracy", "recall")


def show(options: argparse.Namespace) -> None:
    """Print a row a change: held-out photographs, then each set's mean ± sd over draws."""
    lines = results(options.out)
    rows = []
    for change in CHANGES:
        own = [line for line in lines if line["change"] == change]
        if own:
            row = [change, f"{100 * own[0]['held_out']:.1f}"]
            for name in MET:
                found = figures([line for line in own if line["set"] == name])
                row.append(f"{spread(found)} (n={len(found)})" if found else "-")
            rows.append(row)
    title = f"{SHOTS} recording a class, backbone frozen: accuracy in %, of BioLab recall"
    table(title, ["change", "held-out photographs", *MET], rows)


def figures(lines: list[dict[str, Any]]) -> list[float]:
    return [100 * line[SETS[line["set"]].figure] for line in lines]


if __name__ == "__main__":
    train_and_show(parse(), train_all, show)
