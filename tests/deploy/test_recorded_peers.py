"""Spikes and membranes that an emulator of Loihi recorded in an environment of its own are those of
the simulator. `make test-peers` installs brian2-loihi and runs this.
"""

import json
import os
import subprocess
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from tmkt.bundle import Bundle
from tmkt.deploy.parity.against import against
from tmkt.deploy.recorded.file import read_recorded
from tmkt.events.channels import ChannelContract
from tmkt.program.model import INPUT, Layer, Program, Synapse

PYTHON = os.environ.get("TMKT_BRIAN_PYTHON")
PROCESS = Path(__file__).parents[1] / "support" / "brian_process.py"
STEPS, SIZES = 40, (12, 16, 5)


def program(voltage_decay: int, current_decay: int, threshold: int) -> Program:
    rng = np.random.default_rng(0)
    layers, source = [], INPUT
    for i, (inputs, neurons) in enumerate(pairwise(SIZES)):
        weight = (2 * rng.integers(-60, 128, (neurons, inputs))).astype(np.int16)
        synapse = Synapse(source, "dense", weight)
        bias = np.zeros(neurons, np.int32)
        name = f"layer{i}"
        decays = (voltage_decay, current_decay)
        layers.append(Layer(name, (neurons,), (synapse,), bias, threshold, *decays))
        source = name
    return Program(SIZES[:1], 1, tuple(layers), "spikes")


@pytest.mark.skipif(PYTHON is None, reason="make test-peers sets TMKT_BRIAN_PYTHON")
@pytest.mark.parametrize(
    ("voltage_decay", "current_decay", "threshold"),
    [(400, 4096, 700), (37, 900, 6000), (2048, 2048, 900)],
)
def test_brian2_loihi_records_the_same_spikes_and_membranes(
    tmp_path: Path, voltage_decay: int, current_decay: int, threshold: int
) -> None:
    made = program(voltage_decay, current_decay, threshold)
    frames = (np.random.default_rng(1).random((3, STEPS, SIZES[0])) < 0.2).astype(np.uint8)
    job = {
        "spikes": frames.tolist(),
        "layers": [
            {
                "name": layer.name,
                "weight": layer.synapses[0].weight.tolist(),
                "threshold": layer.threshold,
                "voltage_decay": layer.voltage_decay,
                "current_decay": layer.current_decay,
            }
            for layer in made.layers
        ],
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    recorded = tmp_path / "brian.nir"
    assert PYTHON is not None
    subprocess.run([PYTHON, PROCESS, tmp_path / "job.json", recorded], check=True)
    bundle = Bundle(tmp_path, {}, ChannelContract(SIZES[:1], STEPS, 1000, 1), made)
    report = against(bundle, read_recorded(recorded, 1e-3), frames)
    assert report["passed"], report
    first, second = report["layers"]
    assert second["latency"] == first["latency"] + 1  # a synapse takes a step on the chip
    assert min(first["spikes"], second["spikes"]) > 20
    assert min(first["membranes_compared"], second["membranes_compared"]) > 100
