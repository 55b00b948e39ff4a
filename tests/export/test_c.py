"""The exported C, compiled with every warning an error and, where there are any, with sanitizers,
against real Lava and the plain program.
"""

import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from c_compiler import STRICT, needs_cc, strict_cc
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from plain_program import run_plain
from random_programs import frames_for, programs

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.c import CEngine
from tmkt.deploy.engines.types import EngineOutput
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.targets.c import write_c, write_c_header
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.file import load
from tmkt.program.model import Layer, Program, Synapse

pytestmark = needs_cc
GOLDEN = sorted((Path(__file__).parents[1] / "golden").glob("*.npz"))


@pytest.fixture(scope="module")
def compiler(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return strict_cc(tmp_path_factory.mktemp("cc"))


@pytest.fixture
def strict(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{compiler}{os.pathsep}{os.environ['PATH']}")


def write(program: Program, folder: Path) -> tuple[Path, Path]:
    source, header = folder / bundles.C_SOURCE, folder / bundles.C_HEADER
    write_c(program, source)
    write_c_header(program, header)
    return source, header


def run_c(program: Program, frames: Any, folder: Path) -> EngineOutput:
    contents = {path.name: path.read_bytes() for path in write(program, folder)}
    files: dict[str, Any] = {bundles.C_SOURCE: {}, bundles.C_HEADER: {}}
    contract = InputContract(program.input_shape[1:], frames.shape[1], 1000, program.max_count)
    return CEngine(Bundle(folder, {"files": files}, contract, program, contents)).run(frames)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
@pytest.mark.usefixtures("strict")
def test_it_computes_what_lava_computed(tmp_path: Path, path: Path) -> None:
    program = load(path.with_suffix(".safetensors"))
    with np.load(path, allow_pickle=False) as golden:
        found = run_c(program, golden["frames"], tmp_path)
        np.testing.assert_array_equal(found.readout, golden["readout"])
        assert found.spikes is not None
        assert {f"spikes/{name}" for name in found.spikes} == {
            name for name in golden if name.startswith("spikes/")
        }
        for name, spikes in found.spikes.items():
            np.testing.assert_array_equal(
                spikes.reshape(-1),
                np.unpackbits(golden[f"spikes/{name}"], count=spikes.size),
                err_msg=name,
            )


# A compiler call an example: a file that fails is not worth the minutes that a smaller one would
# take to find.
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.explicit, Phase.generate],
)
@given(st.data())
@pytest.mark.usefixtures("strict")
def test_random_programs_give_the_same_spikes_and_readout_without_undefined_behaviour(
    tmp_path: Path, data: st.DataObject
) -> None:
    program = data.draw(programs(temporal=True))
    frames = data.draw(frames_for(program))
    turns = data.draw(st.sampled_from([1, 9]))  # 81 steps see the longest delays
    frames = np.concatenate([frames] * turns, axis=1)
    readout, spikes, _ = run_plain(program, frames)
    found = run_c(program, frames, tmp_path)
    np.testing.assert_array_equal(found.readout, readout)
    assert found.spikes is not None
    assert found.spikes.keys() == spikes.keys()
    for name, expected in spikes.items():
        np.testing.assert_array_equal(found.spikes[name], expected, err_msg=name)


def pixel(weight: int, **fields: Any) -> Program:
    """One pixel with one weight into one integrator."""
    settled = {
        "bias": np.zeros(1, np.int32),
        "threshold": 1000,
        "voltage_decay": 0,
        "fires": False,
        **fields,
    }
    synapse = Synapse("input", "dense", np.full((1, 1), weight, np.int16))
    return Program(
        (1, 1, 1),
        3,
        (Layer("readout", (1,), (synapse,), **settled),),
        "spikes" if settled["fires"] else "membrane",
    )


@pytest.mark.parametrize("far", [2**24, 2**24 + 1])
@pytest.mark.usefixtures("strict")
def test_the_farthest_geometry_compiles_and_what_is_beyond_is_refused(
    tmp_path: Path, far: int
) -> None:
    """Two taps as far apart as a program allows, over a padding of as many rows."""
    weight = np.array([[[[3], [5]]]], np.int16)
    synapse = Synapse(
        "input", "conv", weight, padding=((far + 1) // 2, 0), dilation=(far, 1), stride=(far, 1)
    )
    layer = Layer("l", (1, 1, 1), (synapse,), np.zeros(1, np.int32), 1, 0, fires=False)
    if far > 2**24:
        with pytest.raises(InputError, match="expected at most 16777216"):
            Program((1, 1, 1), 1, (layer,), "membrane")
        return
    program = Program((1, 1, 1), 1, (layer,), "membrane")
    frames = np.ones((1, 1, 1, 1, 1), np.uint8)
    readout, _, _ = run_plain(program, frames)
    np.testing.assert_array_equal(run_c(program, frames, tmp_path).readout, readout)


@pytest.mark.usefixtures("strict")
def test_counts_above_the_most_count_as_the_most(tmp_path: Path) -> None:
    assert (
        run_c(pixel(-254), np.full((1, 2, 1, 1, 1), 255, np.uint8), tmp_path).readout.item()
        == 2 * 3 * -254 * 64
    )


@pytest.mark.usefixtures("strict")
def test_a_network_that_reads_no_input_and_layers_with_odd_names_compile(tmp_path: Path) -> None:
    itself = Layer(
        "int *",
        (2,),
        (Synapse("int *", "dense", np.full((2, 2), 4, np.int16)),),
        np.full(2, 3, np.int32),
        5,
        2048,
    )
    twin = replace(itself, name="int ?", synapses=(replace(itself.synapses[0], source="int *"),))
    silent = replace(itself, name="ä", fires=False, synapses=twin.synapses)
    last = replace(
        itself,
        name="int",
        synapses=(
            replace(itself.synapses[0], source="ä"),
            replace(itself.synapses[0], source="int ?"),
        ),
    )
    program = Program((1, 2, 2), 1, (itself, twin, silent, last), "spikes")
    frames = np.zeros((1, 12, 1, 2, 2), np.uint8)
    found = run_c(program, frames, tmp_path)
    readout, spikes, _ = run_plain(program, frames)
    assert readout.any()
    np.testing.assert_array_equal(found.readout, readout)
    assert found.spikes is not None
    assert all((found.spikes[name] == expected).all() for name, expected in spikes.items())


@settings(
    max_examples=15,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=[Phase.generate],
)
@given(program=programs(temporal=True))
def test_the_header_says_how_much_memory_it_takes_and_nothing_else_is_needed(
    tmp_path: Path, program: Program
) -> None:
    source, header = write(program, tmp_path)
    said = [
        int(n)
        for n in re.findall(
            r"sizeof\(tmkt_state\) = (\d+) bytes. Constants: (\d+) bytes", header.read_text()
        )[0]
    ]
    code = source.read_text()
    tables = re.findall(r"static const u?int(\d+)_t \w+\[(\d+)\]", code)
    assert sum(int(bits) // 8 * int(count) for bits, count in tables) == said[1]
    (tmp_path / "size.c").write_text(
        f'#include "network.h"\nextern char right[sizeof(tmkt_state) == {said[0]} ? 1 : -1];\n'
    )
    for name in ("size.c", "network.c"):
        subprocess.run(["cc", "-std=c99", *STRICT.split(), "-c", name], cwd=tmp_path, check=True)
    assert set(re.findall(r"#include (\S+)", code + header.read_text())) == {
        '"network.h"',
        "<stddef.h>",
        "<stdint.h>",
    }
    assert not re.search(r"\b(float|double|malloc|printf)\b", code)
    if shutil.which("nm"):
        needed = subprocess.run(
            ["nm", "-u", "network.o"], cwd=tmp_path, check=True, capture_output=True, text=True
        ).stdout
        assert set(re.findall(r"U _?(\w+)", needed)) <= {
            "memset",
            "memcpy",
        }  # a compiler may put them for loops, as for any C


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        write(pixel(6, fires=True), tmp_path / name)
    for file in (bundles.C_SOURCE, bundles.C_HEADER):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("current_decay", [0, 1, 4095, DECAY_ONE])
@pytest.mark.usefixtures("strict")
def test_a_current_beyond_24_bits_wraps_at_32_like_lavas(
    tmp_path: Path, current_decay: int
) -> None:
    counts = Synapse("input", "dense", np.array([[254] * 64, [-254] * 64], np.int16))
    readout = Layer(
        "readout", (2,), (counts,), np.zeros(2, np.int32), 1, 900, current_decay, fires=False
    )
    program = Program((1, 1, 64), 255, (readout,), "membrane")
    frames = np.full((1, 40, 1, 1, 64), 255, np.uint8)
    for steps in (1, 8, 9, 40):
        expected, _, _ = run_plain(program, frames[:, :steps])
        np.testing.assert_array_equal(
            run_c(program, frames[:, :steps], tmp_path).readout, expected, err_msg=str(steps)
        )
    bounded = current_decay >= 4095  # it needs no helper for 32 bits, and gets none
    assert ("added(" in (tmp_path / "network.c").read_text()) != bounded
