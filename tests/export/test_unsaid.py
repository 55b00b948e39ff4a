"""One error names all that a .nir file leaves open and no option says."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from tmkt.cli.nir import NirOptions, run_nir_export
from tmkt.errors import InputError


def write(path: Path, neuron: Any, sites: int) -> Path:
    """Write a network of one neuron layer behind a flat input."""
    weight = np.ones((2, sites), np.float32)
    nodes = {
        "input": nir.Input({"input": np.array([sites])}),
        "dense": nir.Linear(weight),
        "neuron": neuron,
        "output": nir.Output({"output": np.array([2])}),
    }
    names = list(nodes)
    nir.write(path, nir.NIRGraph(nodes, list(pairwise(names))))
    return path


def lif() -> Any:
    ones = np.ones(2, np.float32)
    return nir.LIF(tau=2e-4 * ones, r=ones, v_leak=0 * ones, v_threshold=ones)


def said(path: Path, options: NirOptions, bits: str | None = "8") -> str:
    with pytest.raises(InputError) as error:
        run_nir_export(path, path.parent / "b", "all", bits, options, allow_silent=False)
    return str(error.value)


def test_everything_is_asked_for_at_once_with_a_whole_command(tmp_path: Path) -> None:
    path = write(tmp_path / "my net.nir", lif(), 2 * 4 * 4)
    assert said(path, NirOptions(fires_at=">=")) == (
        f"{path}: NIR graph, node 'neuron': a LIF whose time step nothing tells, expected --dt in"
        " seconds; SpikingJelly and snnTorch write 1e-4 unless told otherwise, Norse what to_nir"
        " was given: try --dt 1e-4; NIR graph, node 'input': a flat input of 32, expected channels"
        " of spikes, or an image of events; say --dataset spikes for channels, or --sensor"
        " WIDTHxHEIGHT for 2 polarities, each row by row; no --bins or --bin-us, expected how"
        " recordings become its time steps (and --max-count); no --data"
        " to calibrate on, expected recordings of what it was trained on (or --bits none)."
        f" For example: tmkt export '{path}' --fires-at '>=' --dt 1e-4 --sensor 4x4 --bins 10"
        " --bin-us 10000 --data DIR"
    )


def test_what_was_said_is_not_asked_for_again(tmp_path: Path) -> None:
    path = write(tmp_path / "net.nir", lif(), 2 * 4 * 4)
    options = NirOptions(dt=1e-4, sensor="4x4", bins=7, bin_us=2000)
    assert said(path, options).startswith(f"{path}: no --data to calibrate on, ")
    assert said(path, NirOptions(dt=1e-4, sensor="4x4", bins=7), None) == (
        f"{path}: no --bins or --bin-us, expected how recordings become its time steps (and"
        f" --max-count). For example: tmkt export {path} --dt 0.0001 --sensor 4x4 --bins 7"
        " --bin-us 10000"
    )
