"""A stricter C compiler for the engine `c`: the machine's own, told to allow nothing that C99 does
not define.
"""

import shutil
import stat
import subprocess
from pathlib import Path

import pytest

STRICT = "-Wall -Wextra -Werror -pedantic -Wconversion -Wsign-conversion -Wshadow -Wundef"
SANITIZERS = "-fsanitize=undefined,address -fno-sanitize-recover=all -O1"

needs_cc = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


def strict_cc(folder: Path) -> Path:
    """A folder to put first on PATH: its `cc` adds STRICT, and SANITIZERS where this machine has
    them.
    """
    own = shutil.which("cc")
    assert own is not None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    probe = [own, *SANITIZERS.split(), str(folder / "probe.c"), "-o", str(folder / "probe")]
    built = subprocess.run(probe, capture_output=True).returncode == 0
    runs = built and subprocess.run([folder / "probe"], capture_output=True).returncode == 0
    wrapper = folder / "cc"
    wrapper.write_text(f'#!/bin/sh\nexec {own} "$@" {STRICT} {SANITIZERS if runs else "-O1"}\n')
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR)
    return folder
