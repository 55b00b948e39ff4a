"""Golden vectors of real Lava (tests/golden/make_lava_golden.py) against the simulator and the
plain reference.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from lava_graph import Beyond, run_in_lava
from numpy.typing import NDArray
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.lava import LavaEngine, installed
from tmkt.events.frames import InputContract
from tmkt.export.targets.lava import write_lava
from tmkt.program import file as program_file
from tmkt.program.model import Layer, Program, Synapse
from tmkt.program.simulator.simulator import Simulator

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))


def remembers_spikes(program: Program) -> bool:
    return any(layer.steps_back(synapse) for layer in program.layers for synapse in layer.synapses)


def assert_equal_to_lava(
    golden: Any, readout: NDArray[np.int64], spikes: dict[str, NDArray[np.uint8]]
) -> None:
    np.testing.assert_array_equal(readout, golden["readout"])
    assert {f"spikes/{name}" for name in spikes} == {
        name for name in golden if name.startswith("spikes/")
    }
    for name, s in spikes.items():
        np.testing.assert_array_equal(
            s.reshape(-1), np.unpackbits(golden[f"spikes/{name}"], count=s.size), err_msg=name
        )


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_simulator_and_plain_reference_compute_what_lava_computed(path: Path) -> None:
    program = program_file.load(path.with_suffix(".safetensors"))
    with np.load(path, allow_pickle=False) as golden:
        readout, spikes, _ = run_plain(program, golden["frames"])
        assert_equal_to_lava(golden, readout, spikes)
        assert all(s.any() for s in spikes.values())  # a layer that never fires would prove nothing
        result = Simulator(program, threads=1).run(golden["frames"])
        assert_equal_to_lava(golden, result.readout, result.spikes)


def test_golden_vectors_reach_the_limits_of_the_state() -> None:
    faults = {}
    for path in GOLDEN:
        program = program_file.load(path.with_suffix(".safetensors"))
        with np.load(path, allow_pickle=False) as golden:
            faults[path.stem] = Simulator(program, threads=1).run(golden["frames"]).faults
    assert faults["saturation"]["membrane_clips"] > 100
    assert faults["current-wrap"]["current_wraps"] > 20
    assert not any(faults["plain"].values())


def test_golden_vectors_hold_every_kind_of_synapse() -> None:
    golden = [program_file.load(path.with_suffix(".safetensors")) for path in GOLDEN]
    pairs = [
        (layer, synapse)
        for program in golden
        for layer in program.layers
        for synapse in layer.synapses
    ]
    assert any(synapse.source == layer.name and synapse.delays is None for layer, synapse in pairs)
    assert any(
        synapse.source == layer.name and synapse.delays is not None for layer, synapse in pairs
    )
    assert {layer.steps_back(synapse) for layer, synapse in pairs} >= {0, 1, 4, 7, 30, 62}
    assert any(
        synapse.kind == "conv" and program.max_count == 255
        for program in golden
        for layer in program.layers
        for synapse in layer.synapses
    )
    assert any(
        len({synapse.kind for synapse in layer.synapses}) == 2 and len(layer.synapses) >= 4
        for program in golden
        for layer in program.layers
    )


def write_chain(path: Path) -> Bundle:
    """A bundle with a dense layer whose synapses are late and one that is recurrent; no bias fires
    on its own.
    """
    rng = np.random.default_rng(1)
    delays = rng.integers(0, 63, (9, 18)).astype(np.uint8)
    none = [np.zeros(n, np.int32) for n in (9, 8, 3)]
    layers = (
        Layer(
            "a",
            (9,),
            (Synapse("input", "dense", draw(rng, 9, 18), delays=delays),),
            none[0],
            100,
            2048,
        ),
        Layer(
            "b",
            (8,),
            (Synapse("a", "dense", draw(rng, 8, 9)), Synapse("b", "dense", draw(rng, 8, 8))),
            none[1],
            150,
            1000,
            3000,
        ),
        Layer(
            "readout",
            (3,),
            (Synapse("b", "dense", draw(rng, 3, 8)),),
            none[2],
            131071,
            0,
            fires=False,
        ),
    )
    program = Program((2, 3, 3), 3, layers, "membrane")
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    writers = {bundles.LAVA: lambda file: write_lava(program, file)}
    return bundles.write(
        path, program, InputContract((3, 3), 80, 1000, 3), ["a", "b", "c"], origin, [], writers
    )


def draw(rng: np.random.Generator, *shape: int) -> NDArray[np.int16]:
    return (2 * rng.integers(-40, 80, shape)).astype(np.int16)


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
def test_the_netx_file_of_late_and_recurrent_layers_computes_the_same(tmp_path: Path) -> None:
    bundle = write_chain(tmp_path / "b")
    frames = (np.random.default_rng(2).random((1, 80, 2, 3, 3)) < 0.1).astype(np.uint8) * 3
    readout, spikes, _ = run_plain(bundle.program, frames)
    found = LavaEngine(bundle).run(frames)
    np.testing.assert_array_equal(found.readout, readout)
    for name, expected in spikes.items():
        assert 0.02 < expected.mean() < 0.8
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)


@pytest.mark.lava
@pytest.mark.skipif(not installed(), reason="Lava is not installed")
@settings(
    max_examples=3,
    deadline=None,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.filter_too_much],
)
@given(st.data())
def test_random_programs_compute_what_lava_computes(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    # Without what the graph cannot follow: biases that fire on their own, and a read-out that must
    # not fire.
    program = replace(
        program, layers=tuple(replace(layer, bias=-np.abs(layer.bias)) for layer in program.layers)
    )
    frames = data.draw(frames_for(program))[:1]
    readout, spikes, _ = run_plain(program, frames)
    assume(
        program.layers[-1].fires
        and remembers_spikes(program)
        and all(s.any() for s in spikes.values())
    )
    try:
        found_readout, found_spikes = run_in_lava(program, frames)
    except Beyond:
        assume(False)
    np.testing.assert_array_equal(found_readout, readout)
    for name, expected in spikes.items():
        np.testing.assert_array_equal(found_spikes[name], expected, err_msg=name)
