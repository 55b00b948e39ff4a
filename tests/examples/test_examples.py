"""The examples do what examples/README.md says, with its own commands, on what is shipped."""

import re
import runpy
import shutil
import sys
from pathlib import Path

import pytest

from tmkt.cli.demo import SHIPPED

EXAMPLES = Path(__file__).parents[2] / "examples"
COMMANDS = re.findall(r"^python (examples/\S+) (.*)$", (EXAMPLES / "README.md").read_text(), re.M)
SMALL = ["--seeds", "2", "--per-class", "2", "--out", "compare"]
SMALL += ["--set", "data.shots=1", "train.steps=2", "train.batch=4", "train.threads=1"]


def typed(script: str, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """Run the example as README.md types it, with options that make it smaller behind."""
    words = dict(COMMANDS)[script].replace("demo-quick", str(SHIPPED)).split()
    monkeypatch.setattr(sys, "argv", [script, *words, *more])
    try:
        runpy.run_path(str(EXAMPLES.parent / script), run_name="__main__")
    except SystemExit as left:
        return int(left.code or 0)
    return 0


def test_every_script_has_a_command() -> None:
    scripts = {path.relative_to(EXAMPLES.parent).as_posix() for path in EXAMPLES.rglob("*.py")}
    assert scripts == set(dict(COMMANDS))


def test_the_chip_users_gate_opens_and_closes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "examples/chip-user/gate.py"
    assert typed(script, monkeypatch) == 0
    shown = capsys.readouterr().out
    assert "loihi1: 9 cores on 1 chips" in shown
    assert "engines agree" in shown
    assert typed(script, monkeypatch, "--most-joules", "1e-6") == 1


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_embedded_network_answers_as_the_simulator(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert typed("examples/embedded/run.py", monkeypatch) == 0
    assert "50 of 50 answers are the simulator's" in capsys.readouterr().out


def test_the_researchers_comparison_is_paired(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert typed("examples/researcher/compare.py", monkeypatch, *SMALL) == 0
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert re.fullmatch(r"joint: [\d.]+ ± [\d.]+ %, 0.0 ± 0.0 against joint", first)
    assert re.fullmatch(r"target-only: [\d.]+ ± [\d.]+ %, -?[\d.]+ ± [\d.]+ against joint", second)
