"""The torch engine against what real Lava computed, against the plain program, and against the
simulator on a bundle.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from example_bundles import example_frames, example_parts, write_example
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt.deploy.engines import torch as module
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.engines.torch import STEPS_AT_ONCE, TorchEngine, _Layer
from tmkt.program import file as program_file

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_it_computes_what_lava_computed(path: Path) -> None:
    program = program_file.load(path.with_suffix(".safetensors"))
    with np.load(path, allow_pickle=False) as golden:
        found = TorchEngine(program).run(golden["frames"])
        np.testing.assert_array_equal(found.readout, golden["readout"])
        for name, spikes in found.spikes.items():
            np.testing.assert_array_equal(
                spikes.reshape(-1),
                np.unpackbits(golden[f"spikes/{name}"], count=spikes.size),
                err_msg=name,
            )


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_every_spike_and_readout_equals_the_plain_program(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    if data.draw(st.booleans()):  # longer than the steps that a layer runs at once
        frames = np.concatenate([frames] * (STEPS_AT_ONCE // frames.shape[1] + 1), axis=1)
    readout, spikes, _ = run_plain(program, frames)
    found = TorchEngine(program).run(frames)
    np.testing.assert_array_equal(found.readout, readout)
    assert found.spikes.keys() == spikes.keys()
    for name, expected in spikes.items():
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_small_portions_of_memory_and_doubles_change_nothing(data: st.DataObject) -> None:
    program = data.draw(programs(temporal=True))
    frames = np.concatenate([data.draw(frames_for(program))] * 3)
    engine = TorchEngine(program)
    whole = engine.run(frames)
    engine.dtype = torch.float64
    engine._layers = [
        _Layer(program, layer, engine.device, engine.dtype) for layer in program.layers
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "VALUES_AT_ONCE", 1)
        parts = engine.run(frames)
    np.testing.assert_array_equal(parts.readout, whole.readout)
    for name, expected in whole.spikes.items():
        np.testing.assert_array_equal(parts.spikes[name], expected)


def test_a_bundle_gives_the_same_spikes_and_membranes_as_on_the_simulator(tmp_path: Path) -> None:
    bundle, frames = write_example(tmp_path / "bundle", example_parts()), example_frames(5)
    simulator, found = (open_engine(name, bundle).run(frames) for name in ("simulator", "torch"))
    np.testing.assert_array_equal(found.readout, simulator.readout)
    assert found.spikes.keys() == simulator.spikes.keys()
    assert all((found.spikes[name] == spikes).all() for name, spikes in simulator.spikes.items())
    assert sum(int(spikes.sum()) for spikes in simulator.spikes.values()) > 0


def test_products_stay_whole_where_torch_was_told_to_shorten_them(tmp_path: Path) -> None:
    bundle, frames = write_example(tmp_path / "bundle", example_parts()), example_frames(2)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        readout = open_engine("torch", bundle).run(frames).readout
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(readout, open_engine("simulator", bundle).run(frames).readout)


def test_a_host_without_torch_is_told_so_in_one_line(tmp_path: Path) -> None:
    write_example(tmp_path / "bundle", example_parts())
    code = (
        "import sys; sys.modules['torch'] = None\nfrom pathlib import Path; from tmkt import"
        " bundle; from tmkt.deploy.engines.registry import open_engine; from tmkt.errors import"
        f" InputError\nopened = bundle.load(Path({str(tmp_path / 'bundle')!r}))\ntry:"
        " open_engine('torch', opened)\nexcept InputError as error: print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("engine 'torch': torch is not installed; run: pip install torch")
