"""The exported C on bare boards: the simulator's answers, and what it takes of each."""

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulator import need_emulator
from example_networks import make_frames, make_network

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.board.board import BOARDS, run_on_board
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.c import memory_of, write_c, write_c_header
from tmkt.export.targets.c_events import Camera
from tmkt.nir.from_network import network_to_nir
from tmkt.program.simulator.simulator import Simulator

SHAPE, STEPS = (2, 13, 13), 6
FRAMES = make_frames(8, STEPS, SHAPE, seed=1)


def write_bundle(path: Path, bits: int, channels: tuple[int, ...] = (6, 8)) -> Bundle:
    ones = (1,) * len(channels)
    network = make_network(SHAPE, channels, ones, (2,) * len(channels), classes=4)
    program, report = quantise(network_to_nir(network), SHAPE, 1, FRAMES, bits)
    contract, classes = InputContract(SHAPE[1:], STEPS, 1000, 1), [str(k) for k in range(4)]
    camera = Camera(contract, classes)
    writers = {
        bundles.C_SOURCE: lambda p: write_c(program, p, camera),
        bundles.C_HEADER: lambda p: write_c_header(program, p, camera),
    }
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    return bundles.write(path, program, contract, classes, origin, report, writers)


@pytest.mark.parametrize("name", BOARDS)
@pytest.mark.parametrize("bits", [8, 4, 2])
def test_a_board_computes_what_the_simulator_computes(tmp_path: Path, name: str, bits: int) -> None:
    need_emulator(name)
    bundle = write_bundle(tmp_path / "bundle", bits)
    found = run_on_board(bundle, name, FRAMES)
    expected = Simulator(bundle.program).run(FRAMES).readout
    np.testing.assert_array_equal(found.readout, expected)
    assert np.ptp(expected) > 0
    memory = memory_of(bundle.program)
    frame = int(np.prod(SHAPE))
    assert 0 <= found.ram_bytes - memory.ram_bytes - frame < 16
    assert memory.flash_bytes < found.flash_bytes < memory.flash_bytes + 8000
    assert 0 < found.stack_bytes < 1000
    again = run_on_board(bundle, name, FRAMES)
    assert abs(again.instructions - found.instructions) <= 0.001 * found.instructions


def test_instructions_follow_the_spikes(tmp_path: Path) -> None:
    """A second recording that is empty costs the neurons' updates, and hardly anything else."""
    need_emulator("cortex-m4")
    bundle = write_bundle(tmp_path / "bundle", 8, (24, 32))
    busy = run_on_board(bundle, "cortex-m4", np.ones_like(FRAMES))
    empty = run_on_board(bundle, "cortex-m4", np.zeros_like(FRAMES))
    assert empty.instructions < busy.instructions / 2


def test_it_asks_the_compiler_for_no_division_of_64_bits_and_no_floating_point(
    tmp_path: Path,
) -> None:
    """A Cortex-M0 divides by calls of functions, whose names say what they divide."""
    need_emulator("cortex-m0")
    bundle = write_bundle(tmp_path / "bundle", 8)
    for carry in (0, 1):
        command = f"arm-none-eabi-gcc -std=c99 -O2 -mcpu=cortex-m0 -mthumb -DTMKT_CARRY={carry} -c"
        compiled = [*command.split(), bundles.C_SOURCE, "-o", "network.o"]
        subprocess.run(compiled, cwd=bundle.path, check=True)
        needed = subprocess.run(
            ["arm-none-eabi-nm", "-u", "network.o"],
            cwd=bundle.path,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split()[1::2]
        allowed = {"memset", "memcpy", "__aeabi_idiv", "__aeabi_idivmod"}
        allowed |= {"__aeabi_uidiv", "__aeabi_uidivmod"}
        assert {name for name in needed if not name.startswith("__gnu_thumb1_case")} <= allowed


def test_a_board_that_is_not_there_is_said_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tmkt: Any
) -> None:
    done = tmkt("export", tmp_path / "run", "--target", "c", "--board", "cortex-m5")
    assert done.code == 2
    assert done.err.startswith("tmkt: board 'cortex-m5': unknown, known are cortex-m0")
    done = tmkt("export", tmp_path / "run", "--target", "onnx", "--board", "cortex-m4")
    assert "needs the C, found --target onnx" in done.err
    bundle = write_bundle(tmp_path / "bundle", 8)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="found no arm-none-eabi-gcc and no qemu-system-arm;"):
        run_on_board(bundle, "cortex-m4", FRAMES)


def test_a_network_that_is_too_large_is_refused(tmp_path: Path) -> None:
    need_emulator("cortex-m4")
    bundle = write_bundle(tmp_path / "bundle", 8, (250, 300))
    with pytest.raises(InputError, match="does not fit cortex-m4, whose emulated board has 512 kB"):
        run_on_board(bundle, "cortex-m4", FRAMES)
