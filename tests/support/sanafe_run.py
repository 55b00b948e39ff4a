"""Runs of a program under a placement on SANA-FE: spikes, energy and time from outside.

SANA-FE is the simulator whose calibration of Loihi 1 `tmkt.deploy.energy.calibrated` follows. It is
GPL: it runs in a process of its own (`sanafe_process.py`, which nothing imports) and may have an
environment of its own, whose interpreter the variable TMKT_SANAFE_PYTHON names. `make test-sanafe`
makes one.
"""

import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.energy.calibrated import owners
from tmkt.deploy.fit.latency import layer_depths
from tmkt.deploy.fit.placement import Placement
from tmkt.errors import InputError
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.connectivity import connectivity_of, source_shape
from tmkt.program.model import INPUT, Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator

VERSION = "2.2.9"
PYTHON = "TMKT_SANAFE_PYTHON"
PROCESS = Path(__file__).with_name("sanafe_process.py")
MAX_SYNAPSES = 10_000_000  # SANA-FE takes about 1.1 kB for each (measured)
TIMEOUT_S = 1800


@dataclass(frozen=True)
class Run:
    """Results of SANA-FE for N samples of S = T + depth chip steps.

    The steps last from the first input to the last layer's answer. Joules: float64 [N]. Seconds of
    each step: [N, S], by SANA-FE's "simple" and its "detailed" timing. Spikes: uint8
    [N, S, *shape] of the layers that fire, at the steps of the chip (layer l works on step t of the
    input at t + l). `membrane` [N, classes]: the last layer's at the end, in units of the program.
    """

    synapse_j: NDArray[np.float64]
    soma_j: NDArray[np.float64]
    network_j: NDArray[np.float64]
    simple_s: NDArray[np.float64]
    detailed_s: NDArray[np.float64]
    spikes: dict[str, NDArray[np.uint8]]
    membrane: NDArray[np.int64]


def interpreter() -> str | None:
    """Find a Python that has SANA-FE: the one in TMKT_SANAFE_PYTHON, this one, or None."""
    return os.environ.get(PYTHON) or (sys.executable if find_spec("sanafe") else None)


def synapse_count(program: Program) -> int:
    """Count the synapses with no weight shared, which is what SANA-FE holds."""
    return sum(
        int(connectivity_of(program, layer, synapse).fan_out().sum())
        for layer in program.layers
        for synapse in layer.synapses
    )


def check(program: Program, placement: Placement, frames: NDArray[np.uint8]) -> None:
    """Raise InputError unless SANA-FE computes the program exactly.

    It does for one chip of its Loihi 1, binary spikes, no memory of the current, no delays, every
    source one layer back, and nothing that wraps or clips in this run.
    """
    depth = layer_depths(program)
    device, cores = placement.device, placement.cores

    def require(ok: bool, what: str, found: object, expected: str) -> None:
        if not ok:
            raise InputError(
                f"SANA-FE, {what}: found {found}, expected {expected}; compare another network, or"
                " without SANA-FE"
            )

    require(
        device.name == "loihi1" and not placement.misfits,
        "placement",
        device.name,
        "one that fits loihi1",
    )
    require(
        placement.chips == 1, "placement", f"{cores} cores", f"one chip of {device.limits.cores}"
    )
    require(
        int(frames.max(initial=0)) <= 1, "input", f"counts up to {frames.max(initial=0)}", "0 and 1"
    )
    for layer in program.layers:
        name = f"layer {layer.name!r}"
        require(
            layer.current_decay == DECAY_ONE,
            f"{name} current decay",
            layer.current_decay,
            f"{DECAY_ONE}",
        )
        for synapse in layer.synapses:
            require(synapse.delays is None, f"{name} synapses", "delays", "none")
            require(
                depth[synapse.source] == depth[layer.name] - 1,
                f"{name} source",
                synapse.source,
                "the layer just before it",
            )
        require(
            len({s.source for s in layer.synapses}) == len(layer.synapses),
            f"{name} synapses",
            "two of one source",
            "one a source",
        )
    count = synapse_count(program)
    require(count <= MAX_SYNAPSES, "network", f"{count} synapses", f"at most {MAX_SYNAPSES}")
    faults = Simulator(program, threads=1).run(frames).faults
    wrong = [f"{n} {name}" for name, n in faults.items() if n and name != "readout_over_threshold"]
    require(not wrong, "run", ", ".join(wrong), "no wraps and no clips")


def edges(
    program: Program, layer: Layer, synapse: Synapse
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int16]]:
    """List every synapse: source, target (both numbered in C, H, W order) and weight."""
    table = connectivity_of(program, layer, synapse)
    (rows, row_tap, row_to), (columns, column_tap, column_to) = (
        (np.repeat(np.arange(len(taps.count)), taps.count), taps.tap[used], taps.target[used])
        for taps in (table.rows, table.columns)
        for used in [np.arange(taps.tap.shape[1]) < taps.count[:, None]]
    )
    channels, height, width = source_shape(program, synapse)
    _, out_height, out_width = layer.shape if synapse.kind == "conv" else (layer.neurons, 1, 1)
    c = np.arange(channels)[:, None, None, None]
    source = (c * height + rows[:, None, None]) * width + columns[:, None]
    target = table.first[c] + np.arange(table.weight.shape[3])
    target = (target * out_height + row_to[:, None, None]) * out_width + column_to[:, None]
    weight = table.weight[
        c, row_tap[:, None, None], column_tap[:, None], np.arange(table.weight.shape[3])
    ]
    source, target = np.broadcast_arrays(source, target)
    return (
        source.astype(np.int32).reshape(-1),
        target.astype(np.int32).reshape(-1),
        np.ascontiguousarray(weight).reshape(-1),
    )


def run(program: Program, placement: Placement, frames: NDArray[np.uint8]) -> Run:
    """Run frames uint8 [N, T, *input shape] on SANA-FE.

    Raises InputError where SANA-FE is not installed or cannot run the program exactly (`check`).
    """
    python = interpreter()
    if python is None:
        raise InputError(
            f"SANA-FE: not installed, expected version {VERSION}; run make test-sanafe and set"
            f" {PYTHON}=.venv-sanafe/bin/python"
        )
    check(program, placement, frames)
    depth = layer_depths(program)
    samples, steps = len(frames), frames.shape[1] + max(depth.values())
    order = [INPUT, *(layer.name for layer in program.layers)]
    arrays: dict[str, NDArray[np.generic]] = {"frames": frames.reshape(*frames.shape[:2], -1)}
    connections: list[dict[str, int | str]] = []
    for i, layer in enumerate(program.layers, start=1):
        arrays[f"bias{i}"] = np.repeat(layer.bias, layer.neurons // len(layer.bias))
        for synapse in layer.synapses:
            at = f"edges{len(connections)}_"
            arrays[at + "source"], arrays[at + "target"], arrays[at + "weight"] = edges(
                program, layer, synapse
            )
            connections.append(
                {"source": order.index(synapse.source), "target": i, "kind": synapse.kind}
            )
    for i, name in enumerate(order):
        arrays[f"core{i}"] = owners(placement.by_name[name]).reshape(-1)
    layers = [
        {
            "threshold": layer.threshold,
            "kept": (DECAY_ONE - layer.voltage_decay) / DECAY_ONE,
            "fires": layer.fires,
            "depth": depth[layer.name],
        }
        for layer in program.layers
    ]
    with tempfile.TemporaryDirectory() as folder:
        given, gave = Path(folder) / "in.npz", Path(folder) / "out.npz"
        arrays["network"] = np.frombuffer(
            json.dumps({"steps": steps, "layers": layers, "connections": connections}).encode(),
            np.uint8,
        )
        np.savez(given, allow_pickle=False, **arrays)
        # -I: nothing of this folder is imported
        command = [python, "-I", str(PROCESS), str(given), str(gave)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise InputError(
                f"SANA-FE in {python}: {error}, expected a Python with version {VERSION}; run make"
                " test-sanafe"
            ) from None
        if done.returncode:
            last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
            raise InputError(
                f"SANA-FE in {python}: {last[:200]}, expected version {VERSION} to run the network;"
                " run make test-sanafe"
            )
        with np.load(gave, allow_pickle=False) as found:
            firing = [(i, layer) for i, layer in enumerate(program.layers, start=1) if layer.fires]
            spikes = {
                layer.name: found[f"spikes{i}"].reshape(samples, steps, *layer.shape)
                for i, layer in firing
            }
            synapse_j, soma_j, network_j = found["energy"].T
            return Run(
                synapse_j,
                soma_j,
                network_j,
                found["simple_s"],
                found["detailed_s"],
                spikes,
                found["membrane"],
            )
