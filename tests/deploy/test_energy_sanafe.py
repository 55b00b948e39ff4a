"""Calibrated Loihi 1 model against SANA-FE itself: same spikes, same energy, same time.

make test-sanafe installs it.
"""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sanafe_run
from example_bundles import example_frames, example_parts
from hypothesis import given, settings
from hypothesis import strategies as st
from pipelined import pipelined
from plain_program import synaptic_sum
from random_programs import programs
from safetensors.torch import load_file

from tmkt.datasets.reading import load_frames
from tmkt.datasets.registry import dataset
from tmkt.deploy.energy.calibrated import ESTIMATOR, cost
from tmkt.deploy.energy.constants import load_constants
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.placement import Placement
from tmkt.deploy.fit.traffic import traffic
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.quantise.quantise import quantise
from tmkt.networks import SpikingNetwork
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import INPUT, Program
from tmkt.program.simulator.simulator import Simulator
from tmkt.recipe import load_recipe
from tmkt.train import RECIPES

LOIHI1 = load_device("loihi1")
# As if a core had no end of memory: neurons alone decide, and far fewer cores are used.
ROOMY = replace(
    LOIHI1, limits=replace(LOIHI1.limits, synapse_words=2**40, axons_in=2**30, axons_out=None)
)
TOLERANCE = 1e-3

needs_sanafe = pytest.mark.skipif(
    sanafe_run.interpreter() is None, reason="SANA-FE is not installed; run make test-sanafe"
)


def compare(program: Program, placement: Placement, frames: np.ndarray) -> dict[str, Any]:
    """Assert that SANA-FE and our model agree; return how well."""
    ours_frames, spikes, updated = pipelined(program, placement, frames)
    ours = cost(
        placement,
        traffic(placement, ours_frames, spikes),
        updated,
        load_constants("loihi1", ESTIMATOR),
    )
    theirs = sanafe_run.run(program, placement, frames)
    assert theirs.spikes.keys() == spikes.keys()
    for name, found in theirs.spikes.items():
        np.testing.assert_array_equal(found, spikes[name])
        assert found.any()
    if program.readout == "membrane":
        np.testing.assert_array_equal(theirs.membrane, Simulator(program).run(frames).readout)
    np.testing.assert_allclose(ours.synapse_j.sum((1, 2)), theirs.synapse_j, rtol=TOLERANCE)
    np.testing.assert_allclose(ours.soma_j.sum((1, 2)), theirs.soma_j, rtol=TOLERANCE)
    np.testing.assert_allclose(ours.network_j, theirs.network_j, rtol=TOLERANCE)
    np.testing.assert_allclose(ours.simple_s, theirs.simple_s, rtol=TOLERANCE)
    low, high = LOIHI1.model_error
    assert (theirs.detailed_s >= low * ours.simple_s).all()
    assert (theirs.detailed_s <= high * ours.upper_s).all()
    energy = theirs.synapse_j + theirs.soma_j + theirs.network_j
    return {
        "cores": placement.cores,
        "spikes": sum(int(found.sum()) for found in theirs.spikes.values()),
        "synapse, soma, network, uJ": [
            np.round(1e6 * part, 1).tolist()
            for part in (theirs.synapse_j, theirs.soma_j, theirs.network_j)
        ],
        "simple time, ms": np.round(1e3 * theirs.simple_s.sum(1), 3).tolist(),
        "steps, detailed / simple and / upper": [
            float((theirs.detailed_s / ours_s).max()) for ours_s in (ours.simple_s, ours.upper_s)
        ],
        "largest energy difference": float(np.abs(ours.energy_j / energy - 1).max()),
        "largest time difference": float(np.abs(ours.simple_s / theirs.simple_s - 1).max()),
        "detailed / simple": (theirs.detailed_s.sum(1) / ours.simple_s.sum(1)).tolist(),
        "detailed / upper": (theirs.detailed_s.sum(1) / ours.upper_s.sum(1)).tolist(),
    }


@needs_sanafe
@pytest.mark.parametrize("cores", [None, 40], ids=["fewest cores", "spread for speed"])
def test_a_small_network_costs_what_sana_fe_says(cores: int | None) -> None:
    _, program, _ = example_parts()
    layers = [
        replace(
            layer, bias=np.where(np.arange(len(layer.bias)) % 2, layer.bias, 0).astype(np.int32)
        )
        for layer in program.layers
    ]
    program = replace(program, layers=tuple(layers))  # half of the neurons can be idle
    compare(program, place(from_program(program), LOIHI1, cores=cores), example_frames(3))


@needs_sanafe
@pytest.mark.parametrize("device", [LOIHI1, ROOMY], ids=["as tmkt fit places it", "fewest cores"])
def test_the_nmnist_network_on_real_recordings_costs_what_sana_fe_says(
    device: Any, shared_data: Path
) -> None:
    """The network of the recipe nmnist-fewshot, trained: 6.8 million synapses, 6.8 GB of memory, a
    minute.
    """
    recipe = load_recipe("nmnist-fewshot", RECIPES)
    net = SpikingNetwork(recipe.network, (2, 34, 34), 10)
    net.load_state_dict(load_file(Path(__file__).parents[1] / "bench" / "nmnist.safetensors"))
    recordings = dataset("nmnist").find_recordings(shared_data / "nmnist")[::200]
    frames, _ = load_frames(
        recordings, InputContract((34, 34), recipe.data.bins, recipe.data.bin_us, 1)
    )
    program, _ = quantise(network_to_nir(net.eval()), (2, 34, 34), 1, frames)
    print(compare(program, place(from_program(program), device), frames))


@settings(max_examples=30, deadline=None)
@given(st.data(), programs())
def test_the_synapses_given_to_sana_fe_are_those_of_the_program(
    data: st.DataObject, program: Program
) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    values = {
        name: rng.integers(0, 2, program.shape_of(name))
        for name in (INPUT, *(layer.name for layer in program.layers))
    }
    count = 0
    for layer in program.layers:
        total = np.zeros(layer.neurons, np.int64)
        for synapse in layer.synapses:
            source, target, weight = sanafe_run.edges(program, layer, synapse)
            np.add.at(
                total, target, values[synapse.source].reshape(-1)[source] * weight.astype(np.int64)
            )
            count += len(source)
        np.testing.assert_array_equal(total.reshape(layer.shape), synaptic_sum(layer, [values]))
    assert count == sanafe_run.synapse_count(program)


def test_what_sana_fe_would_compute_otherwise_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    _, program, _ = example_parts()
    placement, frames = place(from_program(program), LOIHI1), example_frames(1)
    sanafe_run.check(program, placement, frames)

    first, last = program.layers[0], program.layers[-1]
    delayed = replace(last.synapses[0], delays=np.ones(last.synapses[0].weight.shape, np.uint8))
    skipping = replace(
        last,
        synapses=(
            *last.synapses,
            replace(last.synapses[0], source="input", pool=1, weight=np.ones((4, 338), np.int16)),
        ),
    )
    for layers, message in (
        (
            (replace(first, current_decay=100), *program.layers[1:]),
            "'conv1' current decay: found 100, expected 4096",
        ),
        (
            (*program.layers[:-1], replace(last, synapses=(delayed,))),
            "'readout' synapses: found delays, expected none",
        ),
        (
            (*program.layers[:-1], skipping),
            "'readout' source: found input, expected the layer just before it",
        ),
        ((*program.layers[:-1], replace(last, synapses=last.synapses * 2)), "two of one source"),
    ):
        with pytest.raises(InputError, match=message):
            sanafe_run.check(replace(program, layers=layers), placement, frames)
    with pytest.raises(InputError, match="counts up to 3, expected 0 and 1"):
        sanafe_run.check(program, placement, frames * 3)
    with pytest.raises(InputError, match="found loihi2, expected one that fits loihi1"):
        sanafe_run.check(program, place(from_program(program), load_device("loihi2")), frames)
    monkeypatch.setattr(sanafe_run, "MAX_SYNAPSES", 10)
    with pytest.raises(InputError, match="synapses, expected at most 10"):
        sanafe_run.check(program, placement, frames)


def test_a_python_without_sana_fe_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    _, program, _ = example_parts()
    placement, frames = place(from_program(program), LOIHI1), example_frames(1)
    bare = tmp_path / "python"
    bare.write_text(
        f'#!/bin/sh\nexec "{sys.executable}" -S "$@"\n'
    )  # without the packages of its environment
    bare.chmod(0o755)
    for python in (bare, tmp_path / "nothing"):
        monkeypatch.setitem(os.environ, sanafe_run.PYTHON, str(python))
        with pytest.raises(InputError, match=r"SANA-FE in .*make test-sanafe") as error:
            sanafe_run.run(program, placement, frames)
        assert "\n" not in str(error.value)
    monkeypatch.setattr(sanafe_run, "interpreter", lambda: None)
    with pytest.raises(InputError, match="SANA-FE: not installed"):
        sanafe_run.run(program, placement, frames)
