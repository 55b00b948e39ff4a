"""What real Lava computed (tests/golden/make_lava_golden.py) against the simulator and the plain reference."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from plain_program import run_plain

from tmkt import program as programs
from tmkt.deploy.simulator import Simulator

GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))


def assert_equal_to_lava(golden: Any, readout: NDArray[np.int64], spikes: dict[str, NDArray[np.uint8]]) -> None:
    np.testing.assert_array_equal(readout, golden["readout"])
    assert {f"spikes/{name}" for name in spikes} == {name for name in golden if name.startswith("spikes/")}
    for name, s in spikes.items():
        np.testing.assert_array_equal(s.reshape(-1), np.unpackbits(golden[f"spikes/{name}"], count=s.size), err_msg=name)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_simulator_and_plain_reference_compute_what_lava_computed(path: Path) -> None:
    program = programs.load(path.with_suffix(".safetensors"))
    with np.load(path, allow_pickle=False) as golden:
        result = Simulator(program, threads=1).run(golden["frames"])
        assert_equal_to_lava(golden, result.readout, result.spikes)
        readout, spikes, _ = run_plain(program, golden["frames"])
        assert_equal_to_lava(golden, readout, spikes)
        assert all(s.any() for s in spikes.values())  # a layer that never fires would prove nothing


def test_golden_vectors_reach_the_limits_of_the_state() -> None:
    faults = {}
    for path in GOLDEN:
        with np.load(path, allow_pickle=False) as golden:
            faults[path.stem] = Simulator(programs.load(path.with_suffix(".safetensors")), threads=1).run(golden["frames"]).faults
    assert len(faults) >= 11
    assert faults["saturation"]["membrane_clips"] > 100
    assert faults["current-wrap"]["current_wraps"] > 20
    assert not any(faults["plain"].values())
