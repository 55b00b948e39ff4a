import contextlib
import io
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tmkt import cli, console

# A change must pass or fail by what it changes, not by the examples of the day: make test draws the
# same ones each time, make test-random others.
settings.register_profile("same", derandomize=True)
settings.register_profile("random", derandomize=False)
settings.load_profile("same")

# A shell starts jobs in its background deaf to Ctrl-C, and their children, too: tests of Ctrl-C
# need ears.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


# A shell may export its width; tests that want one set it. The library readline, which pytest
# loads, sets it for child processes alone, where os.environ does not show it.
os.environ.pop("COLUMNS", None)
os.unsetenv("COLUMNS")

if not hasattr(os, "mkfifo"):  # Windows

    def _no_pipes(*_: object) -> None:
        pytest.skip("this system has no pipes with names")

    os.mkfifo = _no_pipes  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _notes_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test a console that shows notes, whatever a command set in another test."""
    monkeypatch.setattr(console, "quiet", False)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and images, beside the checkout."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real recordings at {folder}")
    return folder


@dataclass(frozen=True)
class Done:
    """The result of a command: exit code and output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        report = json.loads(self.out)
        assert isinstance(report, dict)
        return report


def run_tmkt(*arguments: object, cwd: Path | None = None) -> Done:
    """Run the command line as a user does, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tmkt", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        cwd=cwd,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def call_tmkt(*arguments: object, cwd: Path | None = None) -> Done:
    """Run the command line in this process: the imports, seconds for each command, are done once.

    Signal handlers and the console are put back as they were.
    """
    handlers = {sign: signal.getsignal(sign) for sign in (signal.SIGINT, signal.SIGTERM)}
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", write_through=True) for _ in range(2))
    try:
        with (
            pytest.MonkeyPatch.context() as patch,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(err),
            pytest.raises(SystemExit) as left,
        ):
            patch.setattr(sys, "argv", ["tmkt", *map(str, arguments)])
            patch.setattr(console, "quiet", False)
            patch.setattr(console, "command_line", False)
            if cwd is not None:
                patch.chdir(cwd)
            cli.main()
    finally:
        for sign, handler in handlers.items():
            signal.signal(sign, handler)
    shown, errors = (stream.buffer.getvalue().decode() for stream in (out, err))  # type: ignore[attr-defined]
    return Done(int(left.value.code or 0), shown, errors)


@pytest.fixture(scope="session")
def tmkt() -> Any:
    """Run a command in this process."""
    return call_tmkt


@pytest.fixture(scope="session")
def tmkt_process() -> Any:
    """Run a command in a process of its own, for tests of what only that shows."""
    return run_tmkt


@dataclass(frozen=True)
class Pipeline:
    """A small data set, a short training on it, and its bundle, all made by the command line."""

    data: Path
    run: Path
    bundle: Path


@pytest.fixture(scope="session")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    root = tmp_path_factory.mktemp("pipeline")
    made = Pipeline(root / "data", root / "run", root / "bundle")
    for arguments in (
        ("data", "simulate", made.data, "--per-class", 6),
        (
            "train",
            "digits",
            "--data",
            made.data,
            "--out",
            made.run,
            "--set",
            "train.steps=60",
            "--set",
            "data.shots=2",
            "--set",
            "train.batch=8",
        ),
        ("export", made.run, "--target", "all", "--out", made.bundle),
    ):
        done = run_tmkt(*arguments)
        assert done.code == 0, done.err
    return made
