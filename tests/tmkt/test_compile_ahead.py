"""After an installation, the command line compiles the simulator's loops in processes of their own,
for the very arguments that its run then has; later commands do not even load the compiler.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tmkt.cli.demo import SHIPPED
from tmkt.program.simulator.ahead import LOOPS

SHOW_WHAT_IS_COMPILED = """
import atexit, os, sys
from numba.core import event
from tmkt.cli.root import main
from tmkt.program.simulator import synapses

synapses.dense_from = lambda shape: 10**9  # a network so small is multiplied else
own = os.getpid()

class Compilations(event.Listener):
    def on_start(self, about):
        if os.getpid() == own:
            print("compiles", about.data["dispatcher"].py_func.__name__)
    def on_end(self, about):
        pass

event.register("numba:compile", Compilations())
atexit.register(lambda: print("loaded", *sys.modules))
main()
"""


EVALUATE = ["evaluate", str(SHIPPED / "bundle"), "--data", str(SHIPPED / "data")]


def _run(cache: Path, command: list[str]) -> tuple[set[str], str]:
    """Run a command; give the words that it printed and what it said on standard error."""
    found = subprocess.run(
        [sys.executable, "-c", SHOW_WHAT_IS_COMPILED, *command],
        env={**os.environ, "NUMBA_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return set(found.stdout.split()), found.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="no other system copies processes")
def test_each_loop_is_compiled_once_and_not_by_the_command_itself(tmp_path: Path) -> None:
    words, said = _run(tmp_path, EVALUATE)
    assert "count_bins" in words
    assert not words & {loop.py_func.__name__ for loop in LOOPS}
    assert said.count("Compiling") == 1
    kept = " ".join(path.name for path in tmp_path.rglob("*.nbi"))
    assert all(name in kept for name in ("add_rows", "multiply_all", "update_memoryless"))

    words, said = _run(tmp_path, EVALUATE)
    assert "compiles" not in words
    assert "numba.np.arraymath" not in words
    assert "Compiling" not in said


def test_a_fit_without_recordings_compiles_nothing(tmp_path: Path) -> None:
    words, said = _run(tmp_path, ["fit", str(SHIPPED / "bundle")])
    assert "compiles" not in words
    assert "Compiling" not in said
