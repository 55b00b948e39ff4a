"""Accuracy of training from a backbone and of its alternatives, where recordings are few: sets x
variants x shots x seeds, one JSON line a run in OUT/results.jsonl, a table of them all.

python tests/bench/backbone.py --shared ../shared/data --out runs/backbone --sets pokerdvs --seeds 0
1 2; python tests/bench/backbone.py --out runs/backbone --table

Does time-step mixup help? The methods on natural objects, from scratch and from a backbone, with
grey and simulated images, and every method's difference to joint training:
python tests/bench/backbone.py --shared ../shared/data --out runs/mixup --sets caltech101 --variants
joint joint-fewer-images tmkt tmkt-ramp kt kt-but-one-head ckd ckd-mean mix --encodings grey
simulated --starts scratch backbone --bits --set train.steps=600; python tests/bench/backbone.py
--out runs/mixup --table --against "joint grey scratch"

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
from fewshot import VARIANTS as METHODS
from lines import add, difference, results, spread, train_and_show
from numpy.typing import NDArray

from tmkt.cli.tables.table import table
from tmkt.datasets.decoded import Rows
from tmkt.export.quantise.quantise import quantise
from tmkt.nir.from_network import network_to_nir
from tmkt.program.simulator.simulator import Simulator
from tmkt.recipe import load_recipe
from tmkt.runs import Run, load_run
from tmkt.train import RECIPES
from tmkt.train.measure import logits_of
from tmkt.train.trainer import train
from tmkt.zoo.backbone import backbone_of, load_backbone

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
# A method of fewshot.py with one of each, "tmkt grey backbone": all have the same images and start
ENCODINGS = {"grey": GREY, "simulated": ["static.encoding=simulated"]}
STARTS = {"scratch": [], "backbone": START}
WITHOUT_IMAGES = ("scratch", "frozen", "tuned", "tuned-at-once")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, help="folder of nmnist, pokerdvs, biolab, ...")
    parser.add_argument(
        "--backbone", default="s", help="in the zoo, or a run; all variants have its network"
    )
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS))
    parser.add_argument("--variants", nargs="+", help="of VARIANTS [all that the set allows]")
    parser.add_argument(
        "--encodings", nargs="+", choices=list(ENCODINGS), help="of the images; needs --starts"
    )
    parser.add_argument(
        "--starts", nargs="+", choices=list(STARTS), help="variants are then methods of fewshot.py"
    )
    parser.add_argument(
        "--bits", type=int, nargs="*", default=[8, 4], help="of integers, tested too"
    )
    parser.add_argument(
        "--against", help="a variant: the table shows the others' difference to it, seed by seed"
    )
    parser.add_argument("--shots", type=int, nargs="+", help="0: all [the set's]")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(10)))
    parser.add_argument("--set", action="append", default=[], help="section.key=value for all")
    parser.add_argument("--part", default="1/1")
    parser.add_argument("--table", action="store_true", help="train nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and options.shared is None:
        parser.error("--shared is needed to train")
    if (options.encodings is None) != (options.starts is None):
        parser.error("--encodings and --starts go together")
    if options.starts is not None:
        crossed = product(options.variants or METHODS, options.encodings, options.starts)
        options.variants = [" ".join(one) for one in crossed]
    return options


def settings_of(variant: str, backbone: str) -> list[str]:
    """Give the settings of a variant: a name of VARIANTS, or a method with encoding and start, and
    further settings behind it.
    """
    name, *more = variant.split()
    if more and more[0] in ENCODINGS:
        encoding, start, *more = more
        found = [*METHODS[name], *ENCODINGS[encoding], *STARTS[start]]
    else:
        found = VARIANTS[name]
    return [*(text.format(backbone=backbone) for text in found), *more]


def needs_images(variant: str) -> bool:
    name = variant.split()[0]
    return name not in WITHOUT_IMAGES and not name.startswith("target-only")


def needs_all_images(variant: str) -> bool:
    """Tell if a variant needs images of every class: grey ones."""
    return needs_images(variant) and set(GREY) <= {*settings_of(variant, "")}


def grid(options: argparse.Namespace) -> list[tuple[str, str, int, int]]:
    """List (set, variant, shots, seed) of all runs, the seeds in the outer loop: a session that
    ends early leaves whole seeds.
    """
    wanted = []
    for seed, name in product(options.seeds, options.sets):
        few = SETS[name]
        for shots in options.shots or few.shots:
            for variant in options.variants or VARIANTS:
                if few.images_of_all or not needs_all_images(variant):
                    wanted.append((name, variant, shots, seed))
    return wanted


def measured(
    few: Few, variant: str, shots: int, seed: int, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one run; give its line of the results. The run is not kept."""
    recipe = load_recipe(
        RECIPE,
        RECIPES,
        [
            *few.settings,
            *network_of(options.backbone),
            *options.set,
            *settings_of(variant, options.backbone),
            f"train.seed={seed}",
        ],
    )
    data = few.load(options.shared, recipe, shots, needs_images(variant))
    with tempfile.TemporaryDirectory() as folder:
        run = train(recipe, data, None, Path(folder) / "run")
        answers = {"": float_answers(run, data.test_frames)}
        for bits in options.bits:
            answers[f"_{bits}"] = integer_answers(run, data.test_frames, bits)
    return {
        "set": few.name,
        "variant": variant,
        "network": options.backbone,
        "shots": shots,
        "seed": seed,
        "steps": recipe.train.steps,
        "batch": recipe.train.batch,
        "samples": len(data.test_labels),
        **{
            f"{figure}{suffix}": of(found, data.test_labels)
            for suffix, found in answers.items()
            for figure, of in (("accuracy", accuracy), ("recall", recall))
        },
    }


def network_of(backbone: str) -> list[str]:
    """Give the settings of a backbone's network, for trainings that do not start from it, too.

    `backbone`: a name in the zoo, or a run.
    """
    run = Path(backbone)
    network = (backbone_of(load_run(run)) if run.is_dir() else load_backbone(backbone)).network
    return [f"network.{key}={getattr(network, key)}" for key in ("channels", "strides", "pools")]


def float_answers(run: Run, frames: Rows) -> NDArray[np.int64]:
    """Class of each recording by the network as it was trained."""
    net = run.load_network()
    with torch.no_grad():
        logits = [part.mean(0).argmax(1) for part in logits_of(net, frames)]
    found: NDArray[np.int64] = torch.cat(logits).numpy()
    return found


def integer_answers(run: Run, frames: Rows, bits: int) -> NDArray[np.int64]:
    """Class of each recording by the integers that an export of the run would write."""
    program, _ = quantise(
        network_to_nir(run.load_network()),
        frames.shape[2:],
        run.recipe.data.max_count,
        run.load_calibration(),
        bits,
    )
    return Simulator(program, 1).run(frames[:]).readout.argmax(1)


def accuracy(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    return float((answers == labels).mean())


def recall(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Mean over classes of the share of right answers."""
    right = answers == labels
    return float(np.mean([right[labels == label].mean() for label in np.unique(labels)]))


def train_all(options: argparse.Namespace) -> None:
    part, parts = (int(number) for number in options.part.split("/"))
    known = {key(line) for line in results(options.out) if line["network"] == options.backbone}
    for name, variant, shots, seed in grid(options)[part - 1 :: parts]:
        if (name, variant, shots, seed) not in known:
            add(options.out, measured(SETS[name], variant, shots, seed, options))


def key(line: dict[str, Any]) -> tuple[str, str, int, int]:
    return line["set"], line["variant"], line["shots"], line["seed"]


def show(options: argparse.Namespace) -> None:
    """One table a set for each kind of number: mean and standard deviation over seeds; recall is
    the classes' mean.
    """
    lines = [line for line in results(options.out) if line["set"] in options.sets]
    for suffix in ("", *(f"_{bits}" for bits in options.bits)):
        show_sets([line for line in lines if f"accuracy{suffix}" in line], suffix, options.against)


def show_sets(lines: list[dict[str, Any]], suffix: str, against: str | None) -> None:
    for name in dict.fromkeys(line["set"] for line in lines):
        own = [line for line in lines if line["set"] == name]
        shots = sorted({line["shots"] for line in own}, key=lambda k: k or 10**9)
        rows = []
        for variant, network in dict.fromkeys((line["variant"], line["network"]) for line in own):
            row = [f"{variant} ({network})"]
            for k in shots:
                found, base = (
                    {
                        line["seed"]: 100 * line[SETS[name].figure + suffix]
                        for line in own
                        if (line["variant"], line["network"], line["shots"]) == (one, network, k)
                    }
                    for one in (variant, against)
                )
                row.append(f"{spread([*found.values()])} (n={len(found)})" if found else "-")
                if against:
                    pairs = [found[seed] - base[seed] for seed in found if seed in base]
                    row.append(difference(pairs) if pairs else "-")
            rows.append(row)
        kind = f"integers of {suffix[1:]} bits" if suffix else "float"
        title = f"{name}: {SETS[name].figure} in %, {kind}, mean ± sd of seeds"
        columns = ["variant"]
        for k in shots:
            columns += [f"{k or 'all'} a class"] + ([f"- {against}"] if against else [])
        table(title, columns, rows)


if __name__ == "__main__":
    train_and_show(parse(), train_all, show)
