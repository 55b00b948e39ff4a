"""Speed of the engines on the N-MNIST network, side by side in one run: `make bench`.

Untrained weights scaled so that the layers fire, and frames as dense as N-MNIST's. Machines are noisy: read the ratios. Each figure is the
median over rounds in which the engines take turns.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from tmkt import bundle as bundles
from tmkt import console
from tmkt.deploy.engines import open_engine
from tmkt.deploy.engines.lava import installed
from tmkt.deploy.trace import count
from tmkt.export.graph import network_to_nir
from tmkt.export.lava import write_lava
from tmkt.export.nir import write_nir
from tmkt.export.onnx import write_onnx
from tmkt.export.quantize import quantize
from tmkt.frames import InputContract
from tmkt.networks import SpikingNetwork
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES

SAMPLES, LAVA_SAMPLES, ROUNDS = 32, 4, 5
DENSITY = 0.08  # of N-MNIST's frames (measured)


def main() -> None:
    recipe = load_recipe("nmnist-fewshot", RECIPES)
    shape, steps = (2, 34, 34), recipe.data.bins
    torch.manual_seed(0)
    net = SpikingNetwork(recipe.network, shape, 10)
    frames = (np.random.default_rng(0).random((SAMPLES, steps, *shape)) < DENSITY).astype(np.uint8)
    x = torch.from_numpy(frames).float().transpose(0, 1)
    for block in net.blocks:
        block.bn.momentum = None  # batch norm takes the frames' own statistics, so that layers fire as in a trained network
    net(x)
    net.eval()
    graph = network_to_nir(net)
    program, _ = quantize(graph, shape, 1, frames)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        writers = {
            bundles.NIR: lambda path: write_nir(graph, path),
            bundles.LAVA: lambda path: write_lava(program, path),
            bundles.ONNX: lambda path: write_onnx(program, path),
        }
        origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
        contract = InputContract(shape[1:], steps, recipe.data.bin_us, 1)
        bundle = bundles.write(Path(folder) / "bundle", program, contract, [str(i) for i in range(10)], origin, [], writers)
        engines = {name: open_engine(name, bundle) for name in ("simulator", "onnx", "float")}
        runs: dict[str, Callable[[], object]] = {name: lambda e=engine: e.run(frames) for name, engine in engines.items()}
        runs["SpikingJelly eager"] = lambda: net(x)
        seconds: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(ROUNDS + 1):  # the first round warms up
            for name, run in runs.items():
                begin = time.perf_counter()
                run()
                seconds[name].append((time.perf_counter() - begin) / SAMPLES)
        figures = {name: statistics.median(found[1:]) for name, found in seconds.items()}
        if installed():
            console.note(f"Lava runs {LAVA_SAMPLES} samples and as many again (the difference leaves out its start) ...")
            lava, times = open_engine("lava", bundle), []
            for repeat in (1, 2):
                begin = time.perf_counter()
                lava.run(np.concatenate([frames[:LAVA_SAMPLES]] * repeat))
                times.append(time.perf_counter() - begin)
            figures["Lava (stock)"] = (times[1] - times[0]) / LAVA_SAMPLES
        trace = count(program, frames, engines["simulator"].run(frames).spikes)
    ours = figures["simulator"]
    rows: list[list[object]] = [[name, f"{1e3 * s:.2f}", f"{s / ours:.2f}"] for name, s in figures.items()]
    synops = float(trace.per_sample("synops").mean())
    console.table(f"N-MNIST network, T = 10, batch {SAMPLES}", ["engine", "ms a sample", "times the simulator's"], rows)
    console.note(
        f"{torch.get_num_threads()} threads; {synops / 1e6:.2f} M synaptic operations a sample, simulator {synops / ours / 1e9:.1f} GSynOps/s"
    )


if __name__ == "__main__":
    sys.exit(main())
