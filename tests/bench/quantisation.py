"""Cost of quantisation: accuracy and spikes of finished runs at several widths, post-training
and trained on integers, on their test recordings.

python tests/bench/quantisation.py runs/nmnist-{0,1,2,3,4} --data ../shared/data/nmnist --static
../shared/data/mnist --out runs/quantisation

One JSON line a network in OUT/results.jsonl, then a table of them all. What is in there is not done
again, and an interrupted training goes on.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import numpy as np
from lines import add, results, spread

from tmkt.cli.tables.table import table
from tmkt.datasets.reading import load_frames
from tmkt.datasets.registry import dataset
from tmkt.datasets.splits import choose, from_ranges
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.quantise.quantise import quantise
from tmkt.nir.float_network import FloatNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.nir.lower import lower
from tmkt.program.simulator.simulator import Simulator
from tmkt.program.weight_grid import WeightGrid
from tmkt.runs import Run, load_run
from tmkt.train.qat.training import qat_recipe
from tmkt.train.trainer import train


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", help="float runs of one recipe and different seeds"
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--static", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--bits", nargs="*", default=["8", "6", "4", "3", "2"], help="post-training"
    )
    parser.add_argument("--qat", nargs="*", default=["4", "3", "2"], help="trained on integers")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        help="section.key=value of the training on integers; others need another --out",
    )
    return parser.parse_args()


def measured(run: Run, kind: str, bits: str, options: argparse.Namespace) -> dict[str, Any]:
    """One network's accuracy and spikes a recording."""
    data = run.recipe.data
    contract = InputContract(tuple(run.info["sensor"]), data.bins, data.bin_us, data.max_count)
    found = dataset(data.name, tuple(run.info["classes"])).find_recordings(options.data)
    frames, labels = load_frames(
        choose(found, "test", run.info["trained_on"], from_ranges(run.info["images_trained_on"])),
        contract,
    )
    entry: dict[str, Any] = {
        "run": run.path.name,
        "kind": kind,
        "bits": bits,
        "samples": len(labels),
    }
    if kind == "float":
        network = FloatNetwork(network_to_nir(run.load_network()))
        exact, shapes = (
            network.run(frames),
            {layer.name: layer.shape for layer in lower(network.graph)},
        )
        spikes = {
            name: found[..., : shapes[name][1], : shapes[name][2]]
            for name, found in exact.spikes.items()
        }  # cropped as the program
        readout, faults = exact.readout, dict[str, int]()
    else:
        grids = None
        if kind == "trained":
            folder = options.out / f"{run.path.name}-{bits.replace(',', '_')}"
            run = train(
                qat_recipe(run, bits, options.set),
                options.data,
                options.static,
                folder,
                resume=True,
                start=run,
            )
            grids = {name: WeightGrid(**layer) for name, layer in run.info["quantisation"].items()}
        program, _ = quantise(
            network_to_nir(run.load_network()),
            contract.shape,
            contract.max_count,
            run.load_calibration(),
            bits,
            grids,
        )
        result = Simulator(program, 1).run(frames)
        readout, spikes, faults = result.readout, result.spikes, result.faults
    entry["accuracy"] = float((readout.argmax(1) == labels).mean())
    entry["spikes"] = float(
        sum(layer.sum(dtype=np.int64) for layer in spikes.values()) / len(labels)
    )
    return {**entry, "faults": {name: n for name, n in faults.items() if n}}


def show(lines: list[dict[str, Any]]) -> None:
    """One row a kind and width: accuracy in %, points lost run by run, spikes relative to the float
    network's.
    """
    exact = {line["run"]: line for line in lines if line["kind"] == "float"}
    rows: list[list[object]] = []
    for kind, bits in dict.fromkeys((line["kind"], line["bits"]) for line in lines):
        own = [line for line in lines if (line["kind"], line["bits"]) == (kind, bits)]
        lost = [100 * (exact[line["run"]]["accuracy"] - line["accuracy"]) for line in own]
        more = [100 * (line["spikes"] / exact[line["run"]]["spikes"] - 1) for line in own]
        each = " ".join(f"{100 * line['accuracy']:.1f}" for line in own)
        rows.append(
            [
                kind,
                bits,
                each,
                spread([100 * line["accuracy"] for line in own]),
                spread(lost, 2),
                spread(more),
            ]
        )
    columns = ["", "bits", "accuracy, %", "mean ± sd", "points lost", "spikes, % more"]
    table(f"{len(exact)} runs, {lines[0]['samples']} test recordings each", columns, rows)


def main() -> None:
    options = parse()
    options.out.mkdir(parents=True, exist_ok=True)
    wanted = [
        ("float", "32"),
        *(("post-training", bits) for bits in options.bits),
        *(("trained", bits) for bits in options.qat),
    ]
    for kind, bits in wanted:
        for path in options.runs:
            run = load_run(path)
            if any(
                (line["run"], line["kind"], line["bits"]) == (path.name, kind, bits)
                for line in results(options.out)
            ):
                continue
            add(options.out, measured(run, kind, bits, options))
    show(results(options.out))


if __name__ == "__main__":
    try:
        main()
    except InputError as error:
        sys.exit(str(error))
