"""A short run of the kills; `make test-kills` makes the long one."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform == "win32", reason="processes are forked and killed by signals")
def test_what_is_killed_goes_on_to_the_same_bytes_and_leaves_nothing() -> None:
    command = [sys.executable, Path(__file__).with_name("run.py"), "--kills", "10", "--seed", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    assert done.stdout.endswith(" 0 faults\n")
