"""Rejection scores for things of no class: how well each tells them from new recordings of digits.

python tests/bench/unknown.py --shared ../shared/data --out runs/unknown --seeds 0 1 2; python
tests/bench/unknown.py --out runs/unknown --table

A seed trains two networks, of all digits and of seven. The three digits that are left out, the
suits of POKER-DVS and the objects of BioLab are unknown; known are N-MNIST recordings that were not
trained on, right or wrong. All scores come from the integers of the export. POKER-DVS and BioLab
are shorter than a window of N-MNIST: they are shown as they are and stretched in time to fill it.
"""

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from lines import add, results, spread, train_and_show
from numpy.typing import NDArray

from tmkt.cli.tables.table import table
from tmkt.datasets.decoded import Rows
from tmkt.datasets.folders import folders
from tmkt.datasets.reading import read_recording
from tmkt.datasets.types import Recording
from tmkt.events.counting import count_bins
from tmkt.events.frames import InputContract
from tmkt.events.mapping import choose_mapping
from tmkt.export.quantise.quantise import quantise
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import Program
from tmkt.program.readout import margin_unit
from tmkt.program.simulator.simulator import Result, Simulator
from tmkt.recipe import load_recipe
from tmkt.runs import Run
from tmkt.train import RECIPES
from tmkt.train.data import TrainingData, load_training_data
from tmkt.train.trainer import train

SETTINGS = ["train.steps=200", "train.threads=1", "data.shots=20"]
LEFT_OUT = 3  # digits
# Recordings of other things: their folders, and the times by which they are stretched.
OTHERS = {
    "suits of POKER-DVS": (("pokerdvs/events",), (1, 20)),
    "objects of BioLab": (("biolab/events/s0", "biolab/events/s1"), (1, 3)),
}
OF_EACH = 300  # at most
KEPT = 0.95  # of the known


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--shared", type=Path, help="folder of nmnist, mnist, pokerdvs, biolab")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--table", action="store_true", help="train nothing, show what OUT holds")
    options = parser.parse_args()
    if not options.table and options.shared is None:
        parser.error("--shared is needed to train")
    return options


def without(data: TrainingData, left_out: NDArray[np.int64]) -> TrainingData:
    """Leave classes out of what is trained on; the others are numbered anew."""
    kept = np.setdiff1d(np.arange(len(data.classes)), left_out)
    number = np.full(len(data.classes), -1)
    number[kept] = np.arange(len(kept))
    images = data.images
    assert images is not None
    at = np.flatnonzero(number[images.labels] >= 0)
    instances = tuple(images.instances[i] for i in at)

    def rows(frames: Rows, labels: NDArray[np.int64]) -> tuple[Rows, NDArray[np.int64]]:
        found = np.flatnonzero(number[labels] >= 0)
        return Rows(np.asarray(frames[found]), np.arange(len(found))), number[labels[found]]

    frames, labels = rows(data.frames, data.labels)
    test_frames, test_labels = rows(data.test_frames, data.test_labels)
    return replace(
        data,
        classes=tuple(data.classes[i] for i in kept),
        frames=frames,
        labels=labels,
        test_frames=test_frames,
        test_labels=test_labels,
        images=replace(
            images, images=images.images[at], labels=number[images.labels[at]], instances=instances
        ),
    )


def other_things(shared: Path, names: tuple[str, ...], seed: int) -> list[Recording]:
    found = [one for name in names for one in folders(()).find_recordings(shared / name)]
    chosen = np.random.default_rng(seed).permutation(len(found))[:OF_EACH]
    return [found[i] for i in sorted(chosen.tolist())]


def frames_of(recording: Recording, contract: InputContract, times: int) -> NDArray[np.uint8]:
    """Show a recording of any camera to the network, as tmkt stream maps and bins it."""
    events = read_recording(recording, contract.sensor)
    sites = choose_mapping(events.sensor, contract).sites()
    frames = np.zeros((contract.bins, *contract.shape), np.uint8)
    stamps = (events.t - events.t[0]) * times
    count_bins(
        (stamps, events.x, events.y, events.p),
        0,
        contract.bin_us,
        (sites.rows, sites.columns),
        sites.one_to_one,
        contract.max_count,
        frames,
    )
    return frames


class Scores:
    """Scores of answers, larger for what is known; centres of the classes come from the recordings
    that were trained on.
    """

    def __init__(self, program: Program, frames: NDArray[np.uint8], labels: NDArray[Any]) -> None:
        self.program, self.simulator = program, Simulator(program, 1)
        self.last = [layer.name for layer in program.layers if layer.fires][-1]
        features = self._features(self.simulator.run(frames))
        self.centres = np.stack([features[labels == one].mean(0) for one in np.unique(labels)])

    def _features(self, result: Result) -> NDArray[np.float64]:
        """Count the spikes of the last layer that fires, by neuron."""
        spikes = result.spikes[self.last]
        return spikes.sum(1, dtype=np.float64).reshape(len(spikes), -1)

    def of(self, frames: NDArray[np.uint8]) -> tuple[dict[str, Any], NDArray[np.int64]]:
        """Give the scores of frames [N, T, 2, H, W], by name, and the answers."""
        result = self.simulator.run(frames)
        logits = result.readout / margin_unit(self.program)
        best = np.sort(logits, 1)
        # logits are summed over the bins; the loss was of their mean
        mean = logits / frames.shape[1]
        energy = np.log(np.exp(mean - mean.max(1, keepdims=True)).sum(1)) + mean.max(1)
        features = self._features(result)
        away = np.linalg.norm(features[:, None] - self.centres[None], axis=2).min(1)
        scores = {
            "margin": best[:, -1] - best[:, -2],
            "maximum": best[:, -1],
            "energy": energy,
            "distance": -away,
            # a baseline without the network
            "events": frames.sum((1, 2, 3, 4), dtype=np.int64),
        }
        return scores, result.readout.argmax(1)


def auroc(known: NDArray[Any], unknown: NDArray[Any]) -> float:
    """Chance that a known one has the larger score than an unknown one; equal ones count half."""
    ordered = np.sort(unknown)
    below = np.searchsorted(ordered, known, "left")
    equal = np.searchsorted(ordered, known, "right") - below
    return float((below + equal / 2).mean() / len(unknown))


def rejected(known: NDArray[Any], unknown: NDArray[Any]) -> float:
    """Share of the unknown below the score that KEPT of the known reach."""
    return float((unknown < np.quantile(known, 1 - KEPT)).mean())


def program_of(run: Run) -> Program:
    """Quantise a run as tmkt export does, to 8 bits."""
    program, _ = quantise(
        network_to_nir(run.load_network()),
        (2, *run.info["sensor"]),
        run.recipe.data.max_count,
        run.load_calibration(),
        8,
    )
    return program


def measure_seed(options: argparse.Namespace, seed: int) -> None:
    recipe = load_recipe("nmnist-fewshot", RECIPES, [*SETTINGS, f"train.seed={seed}"])
    shared = options.shared
    data = load_training_data(recipe, shared / "nmnist", shared / "mnist", needs_images=True)
    left_out = np.sort(np.random.default_rng(seed).permutation(10)[:LEFT_OUT])
    contract = InputContract(
        data.sensor, recipe.data.bins, recipe.data.bin_us, recipe.data.max_count
    )
    unseen = np.isin(data.test_labels, left_out)
    digits = {"digits left out": np.asarray(data.test_frames[np.flatnonzero(unseen)])}
    others = {
        f"{name}{', stretched' if times > 1 else ''}": np.stack(
            [frames_of(one, contract, times) for one in other_things(shared, folder, seed)]
        )
        for name, (folder, stretches) in OTHERS.items()
        for times in stretches
    }
    for source, unknown in ((without(data, left_out), digits), (data, others)):
        with tempfile.TemporaryDirectory() as folder:
            run = train(recipe, source, None, Path(folder) / "run")
            scores = Scores(program_of(run), np.asarray(source.frames), source.labels)
        known, answers = scores.of(np.asarray(source.test_frames))
        for name, frames in unknown.items():
            found, _ = scores.of(frames)
            line: dict[str, Any] = {"unknown": name, "seed": seed, "classes": len(source.classes)}
            line["accuracy"] = float((answers == source.test_labels).mean())
            line["known_recordings"], line["unknown_recordings"] = len(answers), len(frames)
            for score in known:
                line[score] = round(auroc(known[score], found[score]), 4)
                line[f"{score}_rejected"] = round(rejected(known[score], found[score]), 4)
            add(options.out, line)


def measure_all(options: argparse.Namespace) -> None:
    done = [line["seed"] for line in results(options.out)]
    every = 1 + sum(len(stretches) for _, stretches in OTHERS.values())
    for seed in options.seeds:
        if done.count(seed) < every:
            measure_seed(options, seed)


def show(options: argparse.Namespace) -> None:
    lines = results(options.out)
    names = ("margin", "maximum", "energy", "distance", "events")
    rows: list[list[object]] = []
    for unknown in dict.fromkeys(line["unknown"] for line in lines):
        own = [line for line in lines if line["unknown"] == unknown]
        for suffix, title in (("", "AUROC"), ("_rejected", "rejected")):
            found = [spread([100 * line[name + suffix] for line in own]) for name in names]
            rows.append([unknown, f"{title} (n={len(own)})", *found])
    table(
        "Unknown against known, in %; rejected: of the unknown, where 95 % of the known are kept",
        ["unknown", "", *names],
        rows,
    )


if __name__ == "__main__":
    train_and_show(parse(), measure_all, show)
