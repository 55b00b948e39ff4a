"""Recordings run in shares, here and over processes: the same answers, whoever runs them and
whoever dies on the way.
"""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example
from example_recordings import write_recordings

from tmkt.bundle import MANIFEST, Bundle, sha256
from tmkt.datasets import Recording
from tmkt.deploy import evaluate as evaluation
from tmkt.deploy import shares
from tmkt.deploy.engines import open_engine
from tmkt.deploy.evaluate import measure, write_results
from tmkt.deploy.processes import on_processes
from tmkt.deploy.shares import Job, in_this_process, run_recordings, run_share
from tmkt.errors import InputError

FRAMES = example_frames(11)
FRAMES[:, 0, 0, 0, 0] = 1  # a recording starts with its first event


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts())


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[Recording]:
    return write_recordings(tmp_path_factory.mktemp("recordings"), FRAMES, 1000, 4)


@pytest.fixture(autouse=True)
def nothing_left() -> Any:
    yield
    assert multiprocessing.active_children() == []


def test_shares_give_what_the_whole_gives_in_bounded_memory(
    bundle: Bundle, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = measure(bundle, open_engine("simulator", bundle), FRAMES)
    monkeypatch.setattr(shares, "SHARE", 4)
    monkeypatch.setattr(evaluation, "MOST_SAMPLES", 3)
    told: list[int] = []
    answers = run_recordings(bundle, "simulator", recordings, in_this_process, None, told.append)
    np.testing.assert_array_equal(answers.readout, whole.readout)
    np.testing.assert_array_equal(answers.spikes, whole.trace.per_sample("spikes"))
    assert answers.faults == whole.faults
    assert told == [4, 8, 11]


@pytest.mark.parametrize("engine", ["simulator", "onnx", "float"])
def test_processes_write_the_same_bytes(
    bundle: Bundle,
    recordings: list[Recording],
    engine: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shares, "SHARE", 2)
    write_results(
        tmp_path / "here",
        recordings,
        run_recordings(bundle, engine, recordings, in_this_process, None),
    )
    write_results(
        tmp_path / "processes",
        recordings,
        run_recordings(bundle, engine, recordings, on_processes(3), 1),
    )
    assert (tmp_path / "here").read_bytes() == (tmp_path / "processes").read_bytes()


def test_a_killed_workers_share_runs_again(
    bundle: Bundle, recordings: list[Recording], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares, "SHARE", 1)
    recordings = recordings * 30  # so that some are left when others take the place of the killed
    seen: set[int] = set()
    killed: list[int] = []

    def kill_one(_done: int) -> None:
        pids = {int(child.pid or 0) for child in multiprocessing.active_children()}
        seen.update(pids)
        if len(killed) < 2:
            killed.append(max(pids))
            os.kill(killed[-1], signal.SIGKILL)

    answers = run_recordings(bundle, "simulator", recordings, on_processes(2), 1, kill_one)
    np.testing.assert_array_equal(
        answers.readout, run_recordings(bundle, "simulator", recordings, in_this_process, 1).readout
    )
    assert len(seen) > 2  # others took their place


def test_a_share_that_kills_every_worker_is_given_up_in_one_line(
    bundle: Bundle, recordings: list[Recording]
) -> None:
    stop = threading.Event()

    def kill_all() -> None:
        while not stop.wait(0.01):
            for child in multiprocessing.active_children():
                if child.pid:
                    os.kill(child.pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(
            InputError,
            match=(
                r"3 died \(exit code -9\) over the recordings .*00001\.bin to .*00011\.bin; use"
                r" fewer workers"
            ),
        ):
            run_recordings(bundle, "simulator", recordings, on_processes(2), 1)
    finally:
        stop.set()
        killer.join()


@pytest.mark.parametrize("runner", [in_this_process, on_processes(2)], ids=["here", "processes"])
def test_a_damaged_recording_is_named(
    bundle: Bundle, recordings: list[Recording], runner: Any, tmp_path: Path
) -> None:
    damaged = tmp_path / "Test" / "3" / "00099.bin"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(recordings[0].path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"00099\.bin: truncated"):
        run_recordings(
            bundle, "simulator", [*recordings, Recording(damaged, 3, "mnist-test-98")], runner, 1
        )


def test_no_recordings_are_refused(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="no recordings to run"):
        run_recordings(bundle, "simulator", [], in_this_process, None)


def test_a_recording_of_an_unknown_class_is_refused_before_the_work(
    bundle: Bundle, recordings: list[Recording]
) -> None:
    strange = replace(recordings[-1], label=7)
    with pytest.raises(InputError, match=r"of class 7, the bundle knows 4 classes"):
        run_recordings(bundle, "simulator", [*recordings, strange], in_this_process, None)


def test_another_bundle_or_another_tmkt_answers_nothing(
    bundle: Bundle, recordings: list[Recording]
) -> None:
    job = Job(bundle.path, sha256(bundle.path / MANIFEST), "simulator", 1)
    with pytest.raises(InputError, match="another bundle"):
        run_share(replace(job, manifest_sha256="0" * 64), tuple(recordings[:1]))
    with pytest.raises(InputError, match=r"expected 0\.0\.0"):
        run_share(replace(job, tmkt="0.0.0"), tuple(recordings[:1]))


def workers_of(process: "subprocess.Popen[str]", loaded: str) -> list[int]:
    """Waits for the two workers of a command that has just started, until they have loaded that
    library.
    """
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    for _ in range(1000):
        found = [
            pid
            for pid in children.read_text().split()
            if "spawn_main" in Path(f"/proc/{pid}/cmdline").read_text()
        ]
        if len(found) == 2 and all(
            loaded in Path(f"/proc/{pid}/maps").read_text() for pid in found
        ):
            return [int(pid) for pid in found]
        time.sleep(0.02)
    raise AssertionError("no workers came up")


def runs(pid: int) -> bool:
    """Whether the process works on: an orphan's remains wait for init."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def ended(processes: list[int]) -> bool:
    """Waits until they run no more: a process closes its files some time before it is gone."""
    for _ in range(500):
        if not any(map(runs, processes)):
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the workers in /proc")
@pytest.mark.parametrize("how", ["Ctrl-C at once", "Ctrl-C at work", "killed"])
def test_workers_end_with_the_command(
    bundle: Bundle, recordings: list[Recording], how: str, tmp_path: Path
) -> None:
    many = tmp_path / "Test" / "0"
    many.mkdir(parents=True)
    for i in range(1, 10001):
        (many / f"{i:05d}.bin").symlink_to(recordings[0].path)
    command = [
        sys.executable,
        "-m",
        "tmkt",
        "evaluate",
        bundle.path,
        "--data",
        tmp_path,
        "--workers",
        "2",
        "--results",
        tmp_path / "answers",
    ]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    # A parent that dies while it hands a worker its start is told of by Python itself, before any
    # line of ours runs: so it is killed at work.
    workers = workers_of(process, "" if how == "Ctrl-C at once" else "llvmlite")
    if how != "killed":  # a terminal sends it to all of them
        os.killpg(process.pid, signal.SIGINT)
    else:
        process.kill()
    out, err = process.communicate(
        timeout=60
    )  # ends when the last of them has closed its standard error
    assert out == ""
    if how != "killed":
        assert ended(workers)
    assert "Traceback" not in err
    assert not (tmp_path / "answers").exists()
    if how != "killed":
        assert process.returncode == 130
        assert err == "tmkt: interrupted\n"
