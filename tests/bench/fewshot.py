"""Accuracy of training methods where recordings are few: variants x shots x seeds, one JSON line a
run in OUT/results.jsonl, a table of them all.

python tests/bench/fewshot.py --data ../shared/data/nmnist --static ../shared/data/mnist --out
runs/fewshot --variants tmkt joint --shots 1 5 python tests/bench/fewshot.py --out runs/fewshot
--table --against joint

A variant is a name of VARIANTS or a recipe's, and may go on with settings: "tmkt
method.mix_ratio=0.5 train.steps=1000". What is in results.jsonl is not trained again, and an
interrupted training goes on where it was. `--part 1/2` and `--part 2/2` share the work between two
processes or machines that see the same folder.
"""

import argparse
import re
import statistics
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from lines import add, difference, results, spread, train_and_show

from tmkt.cli.tables.table import table
from tmkt.networks import SpikingNetwork
from tmkt.recipe import load_recipe
from tmkt.runs import Run
from tmkt.train import RECIPES
from tmkt.train.trainer import train

ONE_HEAD = [
    "method.heads=1",
    "method.loss=mean",
    "method.step_weights=fixed",
    "method.statistics=apart",
]
VARIANTS = {
    "target-only": ["method.name=target-only"],
    "target-only-tet": ["method.name=target-only", "method.loss=tet"],
    "finetune": ["method.name=finetune"],
    "joint": ["method.name=joint"],
    "joint-fewer-images": ["method.name=joint", "method.image_share=0.7"],  # TMKT's at 0.3
    "kt": ["method.name=kt"],
    "kt-one-head": ["method.name=kt", *ONE_HEAD],
    "kt-but-one-head": ["method.name=kt", "method.heads=1"],
    "ckd": ["method.name=ckd"],
    "ckd-mean": ["method.name=ckd", *ONE_HEAD],
    "tmkt": ["method.name=tmkt"],
    "tmkt-ramp": ["method.name=tmkt", "method.mix_ratio=0.0", "method.mix_ratio_end=0.6"],
    "tmkt-without-mixup": [
        "method.name=tmkt",
        "method.mix_ratio=0.0",
        "method.modality_guidance=0.0",
        "method.ratio_perception=0.0",
    ],
    "tmkt-without-guidance": ["method.name=tmkt", "method.modality_guidance=0.0"],
    "tmkt-without-perception": ["method.name=tmkt", "method.ratio_perception=0.0"],
    "tmkt-without-alignment": ["method.name=tmkt", "method.alignment=0.0"],
    "tmkt-mixup-alone": [
        "method.name=tmkt",
        "method.alignment=0.0",
        "method.modality_guidance=0.0",
        "method.ratio_perception=0.0",
    ],
}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--static", type=Path)
    parser.add_argument("--recipe", default="nmnist-fewshot", help="of the variants that name none")
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5, 20])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="section.key=value for all variants; other settings need another --out",
    )
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--table", action="store_true", help="train nothing, show what OUT holds")
    parser.add_argument(
        "--against", help="a variant: the table shows the others' difference to it, seed by seed"
    )
    options = parser.parse_args()
    if not options.table and options.data is None:
        parser.error("--data is needed to train")
    return options


def settings(variant: str, recipe: str) -> tuple[str, list[str]]:
    """Return the recipe and the settings of a variant."""
    name, *more = variant.split()
    if name in VARIANTS:
        return recipe, [*VARIANTS[name], *more]
    return name, more


def measured(variant: str, shots: int, seed: int, options: argparse.Namespace) -> dict[str, Any]:
    """Trains (or goes on, or opens) one run; its line of the results. Times are the processor's of
    this process, which other load changes little.
    """
    name, overrides = settings(variant, options.recipe)
    recipe = load_recipe(
        name, RECIPES, [*options.set, *overrides, f"data.shots={shots}", f"train.seed={seed}"]
    )
    times: list[float] = []
    folder = options.out / re.sub(r"[^\w.=-]+", "_", variant) / f"{shots}-{seed}"
    run = train(
        recipe,
        options.data,
        options.static,
        folder,
        resume=True,
        progress=lambda *_: times.append(time.process_time()),
    )
    test = run.info["test"]
    return {
        "variant": variant,
        "shots": shots,
        "seed": seed,
        "steps": recipe.train.steps,
        "accuracy": test["accuracy"],
        "samples": test["samples"],
        "cpu_ms_per_step": round(1e3 * (times[-1] - times[0]) / (len(times) - 1), 2)
        if len(times) > 1
        else None,
        "spikes_per_inference": round(spikes_per_inference(run), 1),
        "spike_rates": test["spike_rates"],
    }


def spikes_per_inference(run: Run) -> float:
    """Return the spikes of an inference, over all layers and steps, from the run's
    measured rates.
    """
    net = run.load_network()
    neurons = neurons_of(net)
    return float(
        sum(rate * neurons[layer] for layer, rate in run.info["test"]["spike_rates"].items())
        * run.recipe.data.bins
    )


def neurons_of(net: SpikingNetwork) -> dict[str, int]:
    """Return the number of neurons of each spiking layer."""
    counted: dict[str, int] = {}
    for name, layer in net.spiking_layers().items():
        layer.register_forward_hook(
            lambda _module, _args, out, name=name: counted.update({name: out.numel()})
        )
    with torch.no_grad():
        net(torch.zeros(1, 1, *net.input_shape))
    return counted


def train_all(options: argparse.Namespace) -> None:
    part, parts = (int(number) for number in options.part.split("/"))
    known = {(line["variant"], line["shots"], line["seed"]) for line in results(options.out)}
    for variant, shots, seed in list(product(options.variants, options.shots, options.seeds))[
        part - 1 :: parts
    ]:
        if (variant, shots, seed) in known:
            continue
        add(options.out, measured(variant, shots, seed, options))


def show(options: argparse.Namespace) -> None:
    """One row a variant: accuracy in % for each number of shots, paired difference, time of a step,
    spikes of an inference.
    """
    lines = results(options.out)
    shots = sorted({line["shots"] for line in lines})
    accuracy = {
        (line["variant"], line["shots"], line["seed"]): 100 * line["accuracy"] for line in lines
    }
    rows = []
    for variant in dict.fromkeys(line["variant"] for line in lines):
        row = [variant]
        for k in shots:
            found = {
                seed: value for (v, s, seed), value in accuracy.items() if (v, s) == (variant, k)
            }
            row.append(f"{spread(list(found.values()))} (n={len(found)})" if found else "-")
            if options.against:
                pairs = [
                    value - accuracy[options.against, k, seed]
                    for seed, value in found.items()
                    if (options.against, k, seed) in accuracy
                ]
                row.append(difference(pairs) if pairs else "-")
        own = [line for line in lines if line["variant"] == variant]
        times = [line["cpu_ms_per_step"] for line in own if line["cpu_ms_per_step"]]
        row += [
            f"{statistics.median(times):.0f}" if times else "-",
            f"{statistics.mean(line['spikes_per_inference'] for line in own):.0f}",
        ]
        rows.append(row)
    columns = ["variant"]
    for k in shots:
        columns += [f"k={k}, %"] + ([f"- {options.against}"] if options.against else [])
    table(
        "Accuracy on recordings that were not trained on, mean ± sd of seeds; differences with"
        " their 95 % interval by bootstrap over seeds",
        [*columns, "CPU ms a step", "spikes"],
        rows,
    )


if __name__ == "__main__":
    train_and_show(parse(), train_all, show)
