"""The background filter as a spiking layer of the program itself: its answers, cores and energy.

python tests/bench/chip_filter.py bundles/nmnist --data ../shared/data/nmnist --work
runs/chip-filter

The layer stands before the bundle's first one, of the input's size. A neuron fires if its own site
and at least NEIGHBOURS of the eight around it have an event in the bin: a 3x3 convolution, centre
CENTRE and neighbours 1, threshold CENTRE + NEIGHBOURS - 1. It forgets all in a step: with no leak,
neighbours of several bins would add up. "own" neighbours are of the same polarity, "either" of
both. Accuracy is of new recordings with Poisson noise, the same for all rows; parity of ONNX
Runtime and C with the simulator; cores and energy of Loihi 1.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from faults import background
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle, load
from tmkt.cli.tables.table import table
from tmkt.datasets.seen import recordings_of
from tmkt.deploy.energy.report import energy
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.stream.costs import ChipCosts
from tmkt.events.filters import FilterChain, parse_filter
from tmkt.events.frames import events_to_frames
from tmkt.events.types import Events
from tmkt.export.targets.c import write_c, write_c_header
from tmkt.export.targets.onnx import write_onnx
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator
from tmkt.readers.atis import read_bin

NAME, CENTRE = "filter", 20  # more than all neighbours of both polarities and the other centre
RATES = (0.0, 1.0, 3.0, 10.0)  # events a pixel and second
HOSTS = ("background:dt_us=10000,k=1", "background:dt_us=10000,k=2")
ENGINES = ("onnx", "c")
CHECKED = 100  # recordings of parity and energy
ESTIMATOR = "loihi1-calibrated"


def filter_layer(shape: tuple[int, ...], neighbours: int, either: bool) -> Layer:
    """Make the layer for an input [2, height, width]."""
    own = np.ones((3, 3), np.int16)
    own[1, 1] = CENTRE
    other = np.ones((3, 3), np.int16) * either
    other[1, 1] = 0  # the same site with the other polarity is no neighbour
    weight = np.stack([np.stack([own, other]), np.stack([other, own])])
    synapse = Synapse(INPUT, "conv", weight, padding=(1, 1))
    return Layer(
        NAME,
        shape,
        (synapse,),
        np.zeros(2, np.int32),
        threshold=CENTRE + neighbours - 1,
        voltage_decay=DECAY_ONE,
    )


def filtered_program(program: Program, neighbours: int, either: bool) -> Program:
    """Put the filter before a program of binary input."""

    def behind(layer: Layer) -> Layer:
        synapses = [
            replace(one, source=NAME) if one.source == INPUT else one for one in layer.synapses
        ]
        return replace(layer, synapses=tuple(synapses))

    first = filter_layer(program.input_shape, neighbours, either)
    return replace(program, layers=(first, *map(behind, program.layers)))


def write(bundle: Bundle, program: Program, path: Path) -> Bundle:
    """Write a bundle of another program, with the files of the engines."""
    writers: dict[str, Any] = {
        bundles.ONNX: lambda p: write_onnx(program, p),
        bundles.C_SOURCE: lambda p: write_c(program, p, None),
        bundles.C_HEADER: lambda p: write_c_header(program, p, None),
    }
    origin = bundle.manifest["origin"]
    return bundles.write(path, program, bundle.contract, bundle.classes, origin, [], writers)


def mismatches(bundle: Bundle, frames: NDArray[np.uint8]) -> str:
    """Compare the engines with the simulator: differing spikes and read-outs of all."""
    reference = open_engine("simulator", bundle).run(frames)
    found = []
    for name in ENGINES:
        output = open_engine(name, bundle).run(frames)
        assert output.spikes is not None
        assert reference.spikes is not None
        pairs = [(output.spikes[key], spikes) for key, spikes in reference.spikes.items()]
        wrong = sum(int((theirs != ours).sum()) for theirs, ours in pairs)
        wrong += int((output.readout != reference.readout).sum())
        found.append(f"{name} {wrong}")
    return ", ".join(found)


def noisy(recordings: list[Events], rate: float, bundle: Bundle, host: str) -> NDArray[np.uint8]:
    """Add noise to recordings, filter them on the host if `host` names a filter, and bin them."""
    frames = []
    for number, events in enumerate(recordings):
        if rate:
            events = background(events, rate, np.random.default_rng(number))
        if host:
            events = FilterChain([parse_filter(host)], events.sensor).apply(events)
        frames.append(events_to_frames(events, bundle.camera))
    return np.stack(frames)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--data", type=Path, required=True, help="folder of N-MNIST")
    parser.add_argument("--work", type=Path, required=True, help="bundles with the filter")
    options = parser.parse_args()
    bundle = load(options.bundle)
    recordings = recordings_of(bundle.manifest, options.data, "test", None)
    events = [read_bin(one.path, bundle.camera.sensor) for one in recordings]
    labels = np.array([one.label for one in recordings], np.int64)
    programs = {"no filter": bundle.program, **dict.fromkeys(HOSTS, bundle.program)}
    for neighbours, either in ((1, False), (2, False), (2, True), (3, True)):
        title = f"layer, {neighbours} of {'either' if either else 'own'} polarity"
        programs[title] = filtered_program(bundle.program, neighbours, either)
    rows: list[list[object]] = []
    for title, program in programs.items():
        host = title if title in HOSTS else ""
        path = options.work / title.replace(", ", "-").replace(" ", "-").replace(":", "-")
        one = write(bundle, program, path)
        right = []
        for rate in RATES:
            frames = noisy(events, rate, bundle, host)
            found = Simulator(program, 1).run(frames).readout.argmax(1)
            right.append(f"{100 * (found == labels).mean():.1f}")
        some = noisy(events[:CHECKED], 0.0, bundle, host)
        placement = ChipCosts(one, "loihi1").placement
        counted = energy(one, ["loihi1"], some, labels[:CHECKED])["estimates"]
        (estimate,) = (each for each in counted if each["estimator"] == ESTIMATOR)
        neurons = sum(layer.neurons for layer in program.layers)
        microjoules = f"{1e6 * estimate['energy_j']:.0f}"
        rows.append([title, *right, neurons, placement.cores, microjoules, mismatches(one, some)])
    columns = ["filter", *(f"{rate:g} Hz, %" for rate in RATES), "neurons", "cores", "µJ", "differ"]
    table("A filter as a layer of the program", columns, rows)


if __name__ == "__main__":
    main()
