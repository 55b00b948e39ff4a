"""Ray cluster: the same answers as in this process, also when workers are lost."""

import importlib.util
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_bundles import example_frames, example_parts, write_example
from example_recordings import write_recordings

from tmkt.bundle import Bundle
from tmkt.datasets.types import Recording
from tmkt.deploy import shards
from tmkt.deploy.ray_cluster import on_ray
from tmkt.deploy.shards import in_this_process, run_recordings
from tmkt.errors import InputError
from tmkt.install import pip_install

INSTALLED = importlib.util.find_spec("ray") is not None
needs_ray = pytest.mark.skipif(not INSTALLED, reason="Ray is not installed (the extra ray)")
FRAMES = example_frames(30)
FRAMES[:, 0, 0, 0, 0] = 1  # a recording starts with its first event


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write_example(tmp_path_factory.mktemp("bundle") / "b", example_parts())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("recordings")


@pytest.fixture(scope="module")
def recordings(data: Path) -> list[Recording]:
    return write_recordings(data, FRAMES, 1000, 4)


@dataclass(frozen=True)
class Cluster:
    address: str
    session: int

    def workers(self) -> list[int]:
        """List the processes that run shards now."""
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if (
                    entry.joinpath("cmdline").read_bytes().startswith(b"ray::run_share")
                    and os.getsid(int(entry.name)) == self.session
                ):
                    found.append(int(entry.name))
        return found


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Start a cluster of one machine and two cores that asks for its token."""
    folder = tmp_path_factory.mktemp("ray")
    token = folder / "token"
    token.touch(0o600)
    token.write_text(secrets.token_hex(32))
    with (
        socket.create_server(("127.0.0.1", 0)) as one,
        socket.create_server(("127.0.0.1", 0)) as other,
    ):
        port, client_port = one.getsockname()[1], other.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")
        patch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
        start = [
            "start",
            "--head",
            "--block",
            f"--port={port}",
            f"--ray-client-server-port={client_port}",
            "--num-cpus=2",
            "--node-ip-address=127.0.0.1",
        ]
        start += ["--disable-usage-stats", "--include-dashboard=false"]
        with open(folder / "log", "w") as log:
            head = subprocess.Popen(
                [sys.executable, "-m", "ray.scripts.scripts", *start],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        while "Ray runtime started" not in (folder / "log").read_text():
            assert head.poll() is None, (folder / "log").read_text()
            time.sleep(0.2)
        yield Cluster(f"127.0.0.1:{port}", head.pid)
        head.terminate()
        head.wait(timeout=60)


@pytest.mark.ray
@needs_ray
def test_a_cluster_writes_the_same_bytes(
    tmkt_process: Any,
    bundle: Bundle,
    data: Path,
    recordings: list[Recording],
    cluster: Cluster,
    tmp_path: Path,
) -> None:
    reports = []
    for place, option in (("here", ()), ("ray", ("--ray", cluster.address))):
        done = tmkt_process(
            "evaluate",
            bundle.path,
            "--data",
            data,
            "--results",
            tmp_path / place,
            "--json",
            *option,
        )
        assert done.code == 0, done.err
        reports.append(
            {
                key: value
                for key, value in done.json.items()
                if key not in ("seconds_per_sample", "elapsed_s")
            }
        )
    assert reports[0] == reports[1]
    assert (tmp_path / "here").read_bytes() == (tmp_path / "ray").read_bytes()
    assert len((tmp_path / "ray").read_text().splitlines()) == len(recordings)


@pytest.mark.ray
@needs_ray
def test_a_damaged_recording_is_named_by_a_cluster(
    tmkt_process: Any, bundle: Bundle, recordings: list[Recording], cluster: Cluster, tmp_path: Path
) -> None:
    damaged = tmp_path / "Test" / "3" / "00099.bin"
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(recordings[0].path.read_bytes()[:-2])
    done = tmkt_process("evaluate", bundle.path, "--data", tmp_path, "--ray", cluster.address)
    assert done.code == 2
    assert "00099.bin: truncated" in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.ray
@needs_ray
def test_a_killed_worker_of_a_cluster_loses_nothing(
    bundle: Bundle, recordings: list[Recording], cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shards, "SHARD_SIZE", 1)
    here = run_recordings(bundle, "simulator", recordings, in_this_process, 1)
    killed: list[int] = []

    def kill_one() -> None:
        while not killed:
            for pid in cluster.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    answers = run_recordings(bundle, "simulator", recordings, on_ray(cluster.address), 1)
    killer.join()
    np.testing.assert_array_equal(answers.readout, here.readout)
    np.testing.assert_array_equal(answers.synops, here.synops)


@pytest.mark.ray
@needs_ray
def test_a_shard_that_kills_every_worker_of_a_cluster_is_given_up_in_one_line(
    bundle: Bundle, recordings: list[Recording], cluster: Cluster
) -> None:
    stop = threading.Event()

    def kill_all() -> None:
        while not stop.wait(0.005):
            for pid in cluster.workers():
                os.kill(pid, signal.SIGKILL)

    killer = threading.Thread(target=kill_all)
    killer.start()
    try:
        with pytest.raises(
            InputError,
            match=r"3 died .* over the recordings .*00001\.bin to .*00030\.bin; use fewer workers",
        ):
            run_recordings(bundle, "simulator", recordings, on_ray(cluster.address), 1)
    finally:
        stop.set()
        killer.join()


@pytest.mark.ray
@needs_ray
@pytest.mark.parametrize(
    ("address", "says"),
    [("127.0.0.1:1", "does not answer"), ("nonsense", "does not answer"), ("127.0.0.1:x", "'x'")],
)
def test_an_address_without_cluster_is_one_line(
    tmkt_process: Any,
    bundle: Bundle,
    data: Path,
    recordings: list[Recording],
    address: str,
    says: str,
) -> None:
    assert recordings
    done = tmkt_process("evaluate", bundle.path, "--data", data, "--ray", address)
    assert done.code == 2
    assert says in done.err
    assert len(done.err.splitlines()) == 1


@pytest.mark.skipif(INSTALLED, reason="Ray is installed")
def test_without_ray_the_extra_is_named(
    tmkt_process: Any, bundle: Bundle, data: Path, recordings: list[Recording]
) -> None:
    assert recordings
    done = tmkt_process("evaluate", bundle.path, "--data", data, "--ray", "auto")
    assert (done.code, done.err) == (
        2,
        f"tmkt: --ray: Ray is not installed; {pip_install('ray')}\n",
    )
