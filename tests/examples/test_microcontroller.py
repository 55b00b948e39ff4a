"""The example for a microcontroller: its answers to real recordings are the simulator's, on the
host and in the emulator.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from emulator import need_emulator

from tmkt.bundle import Bundle, load
from tmkt.cli.demo import SHIPPED
from tmkt.datasets.reading import load_frames
from tmkt.datasets.registry import dataset
from tmkt.datasets.types import Recording
from tmkt.deploy.board.board import run_on_board
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.evaluate import answers_of, measure
from tmkt.program.simulator.simulator import Simulator

EXAMPLE = Path(__file__).parents[2] / "examples" / "microcontroller"
RECORDINGS = 100


def make(*words: str) -> str:
    done = subprocess.run(["make", "-s", *words], cwd=EXAMPLE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def recordings(name: str, root: Path, limit: int | None = None) -> list[Recording]:
    found = dataset(name).find_recordings(root)
    return found[:: max(len(found) // limit, 1)][:limit] if limit else found


def expected_lines(bundle: Bundle, chosen: list[Recording]) -> list[str]:
    frames, _ = load_frames(chosen, bundle.contract)
    readout = Simulator(bundle.program).run(frames).readout
    return [
        f"{bundle.classes[values.argmax()]} values {' '.join(map(str, values))}"
        for values in readout
    ]


def answers(out: str) -> list[str]:
    """The first answer of each recording: class and values."""
    found = re.findall(r"^(\S+) margin \d+ events \d+ (values .*)$", out, re.M)
    return [" ".join(pair) for pair in found]


@pytest.fixture(scope="module")
def network() -> Path:
    """The shipped bundle, with the example built from a clean start."""
    make("clean")
    return SHIPPED / "bundle"


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_host_program_answers_as_the_simulator(network: Path) -> None:
    bundle = load(network)
    chosen = recordings("digits", SHIPPED / "data")
    make("host", f"NETWORK={network}")
    found = []
    for recording in chosen:
        events = recording.path.read_bytes() + b"\xff" * 5
        done = subprocess.run([EXAMPLE / "build" / "host"], input=events, capture_output=True)
        found += answers(done.stdout.decode())
    assert found == expected_lines(bundle, chosen)


@pytest.mark.parametrize("cpu", ["cortex-m4", "cortex-m3", "cortex-m55"])
def test_a_board_answers_to_real_recordings_as_the_simulator(
    network: Path, shared_data: Path, cpu: str
) -> None:
    need_emulator("cortex-m4")
    bundle = load(network)
    chosen = recordings("nmnist", shared_data / "nmnist", RECORDINGS)
    assert len(chosen) == RECORDINGS
    paths = " ".join(str(recording.path) for recording in chosen)
    out = make("emulate", f"NETWORK={network}", f"CPU={cpu}", f"RECORDINGS={paths}")
    assert answers(out) == expected_lines(bundle, chosen)
    stack = re.search(r"^stack (\d+) bytes$", out, re.M)
    assert stack is not None
    assert 0 < int(stack[1]) < 1000


def test_instructions_of_real_recordings_follow_their_synaptic_operations(
    shared_data: Path,
) -> None:
    """Everything included, on a Cortex-M4: 7.5 of this small network, whose neurons are many for
    its few synapses.
    """
    need_emulator("cortex-m4")
    bundle = load(SHIPPED / "bundle")
    frames, _ = load_frames(
        recordings("nmnist", shared_data / "nmnist", RECORDINGS), bundle.contract
    )
    expected = answers_of(measure(bundle, open_engine("simulator", bundle), frames))
    found = run_on_board(bundle, "cortex-m4", frames)
    assert (found.readout == expected.readout).all()
    assert found.instructions < 8 * expected.synops.mean()
