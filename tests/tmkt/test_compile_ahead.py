"""After an installation, the command line compiles the simulator's loops in processes of their own,
for the very arguments that its run then has.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tmkt.cli.demo import SHIPPED
from tmkt.program.simulator.ahead import LOOPS

SHOW_WHAT_IS_COMPILED = """
import os
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
main()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="no other system copies processes")
def test_no_loop_is_compiled_again_by_the_command_itself(tmp_path: Path) -> None:
    command = ["evaluate", str(SHIPPED / "bundle"), "--data", str(SHIPPED / "data")]
    found = subprocess.run(
        [sys.executable, "-c", SHOW_WHAT_IS_COMPILED, *command],
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    here = set(found.stdout.split())
    assert "count_bins" in here
    assert not here & {loop.py_func.__name__ for loop in LOOPS}
    assert found.stderr.count("Compiling") == 1
    kept = " ".join(path.name for path in tmp_path.rglob("*.nbi"))
    assert all(name in kept for name in ("add_rows", "multiply_all", "update_memoryless"))
