"""The simulated camera: images a second along each path, and how much of the sensor is active,
beside real recordings.

`python tests/bench/camera.py DATA` with the folder that holds `caltech101`, `nmnist` and others.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.camera.frames import simulate_frames
from tmkt.cli.tables.table import table
from tmkt.datasets.decoded import input_contract
from tmkt.datasets.folders import image_files
from tmkt.datasets.images import read_images
from tmkt.datasets.reading import load_frames
from tmkt.datasets.registry import dataset
from tmkt.events.frames import InputContract
from tmkt.recipe import DataRecipe, StaticRecipe, TrainRecipe, load_recipe
from tmkt.train import RECIPES
from tmkt.train.augment import draw_moves

SENSOR, IMAGES, RECORDINGS, ROUNDS = (36, 36), 400, 200, 6
PATHS = ("saccades", "drift", "object", "random")
REAL = (
    ("pokerdvs/events", DataRecipe(name="folders", bin_us=2_500, max_count=255)),
    ("biolab/events/s1", DataRecipe(name="folders", bin_us=10_000, max_count=255, downsample=4)),
    ("biolab/events/s0", DataRecipe(name="folders", bin_us=10_000, max_count=255, downsample=4)),
    ("nmnist", DataRecipe(name="nmnist", bin_us=10_000, bins=31, max_count=255)),
    ("nmnist", DataRecipe(name="nmnist", bin_us=31_600, max_count=255)),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--recipe", default="backbone-s", help="whose camera and bins to show")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    options = parser.parse_args()
    files = image_files(options.data / "caltech101" / "101_ObjectCategories")
    chosen = np.random.default_rng(0).permutation(len(files))[:IMAGES]
    images = read_images([files[i] for i in chosen], SENSOR)
    _speed(images)
    recipe = load_recipe(options.recipe, RECIPES, options.set)
    rows = [_activity(*_real(options.data / folder, data)) for folder, data in REAL]
    for path in PATHS:
        camera = recipe.static.model_copy(update={"path": path})
        frames = _simulate(images, camera, recipe.data.bin_us, recipe.train)
        rows.append(_activity(f"{path}, {recipe.data.bin_us / 1e3:g} ms", frames))
    table(
        "Pixels active in a bin, %: mean, and 5, 25, 50, 75, 95 % of the bins",
        [
            "recordings or path, bins",
            "mean",
            "5",
            "25",
            "50",
            "75",
            "95",
            "events a site",
            "ever active",
        ],
        rows,
    )


def _speed(images: NDArray[np.uint8]) -> None:
    still = TrainRecipe(steps=1, shift=0, rotation=0.0, zoom=0.0)
    rows: list[list[object]] = []
    for path in PATHS:
        row: list[object] = [path]
        for bin_us in (10_000, 30_000):
            best = float("inf")
            for _ in range(ROUNDS):
                begin = time.thread_time()
                _simulate(images, StaticRecipe(path=path), bin_us, still)
                best = min(best, time.thread_time() - begin)
            row.append(f"{len(images) / best:.0f}")
        rows.append(row)
    table(
        "Images a second of CPU time, one thread, 36 x 36 pixels, 10 bins",
        ["path", "bins of 10 ms", "bins of 30 ms"],
        rows,
    )


def _simulate(
    images: NDArray[np.uint8], camera: StaticRecipe, bin_us: int, train: TrainRecipe
) -> NDArray[np.uint8]:
    rng = np.random.default_rng(0)
    contract = InputContract(SENSOR, 10, bin_us, 255)
    return simulate_frames(images, draw_moves(len(images), train, rng), contract, camera, rng)


def _real(folder: Path, data: DataRecipe) -> tuple[str, NDArray[np.uint8]]:
    found = dataset(data.name).find_recordings(folder)
    chosen = np.random.default_rng(0).permutation(len(found))[:RECORDINGS]
    recordings = [found[i] for i in chosen]
    frames = load_frames(recordings, input_contract(data, recordings))[0]
    return f"{folder.parent.name}/{folder.name}, {data.bin_us / 1e3:g} ms", frames


def _activity(name: str, frames: NDArray[np.uint8]) -> list[object]:
    """Bins after a recording's last event do not count."""
    last = [int(np.flatnonzero(counts.any((1, 2, 3)))[-1]) for counts in frames]
    active = np.concatenate(
        [
            (counts[: end + 1] > 0).any(1).mean((1, 2))
            for counts, end in zip(frames, last, strict=True)
        ]
    )
    shares = [active.mean(), *np.percentile(active, (5, 25, 50, 75, 95))]
    a_site = frames.sum(dtype=np.int64) / (frames > 0).sum()
    ever = (frames > 0).any((1, 2)).mean()
    return [name, *(f"{100 * s:.1f}" for s in shares), f"{a_site:.2f}", f"{100 * ever:.0f} %"]


if __name__ == "__main__":
    main()
