"""Real Lava, started as a user starts it. Each run takes seconds, most of them Lava's start."""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from plain_program import run_plain

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines import lava
from tmkt.deploy.engines.lava import LavaEngine, installed
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.parity.report import parity
from tmkt.errors import InputError
from tmkt.events.frames import InputContract
from tmkt.export.targets.lava import write_lava
from tmkt.install import pip_install
from tmkt.program.model import Layer, Program, Synapse

real_lava = [pytest.mark.lava, pytest.mark.skipif(not installed(), reason="Lava is not installed")]


def make_program(max_count: int = 3) -> Program:
    """Two convolutions and a read-out; both maps are pooled, the first is cropped from 13 x 11 to
    12 x 10.
    """
    rng = np.random.default_rng(3)

    def even(*shape: int) -> NDArray[np.int16]:
        return (2 * rng.integers(-50, 60, shape)).astype(np.int16)

    conv1 = Synapse("input", "conv", even(4, 2, 3, 3), padding=(1, 1))
    conv2 = Synapse("conv1", "conv", even(6, 4, 3, 3), padding=(1, 1), pool=2)
    dense = Synapse("conv2", "dense", even(3, 6 * 3 * 2), pool=2)
    bias = [rng.integers(-40, 40, n).astype(np.int32) for n in (4, 6, 3)]
    layers = (
        Layer("conv1", (4, 12, 10), (conv1,), bias[0], 160, 2048),
        Layer("conv2", (6, 6, 5), (conv2,), bias[1], 500, 1365, 2000),
        Layer("readout", (3,), (dense,), bias[2], 131071, 0, fires=False),
    )
    return Program((2, 13, 11), max_count, layers, "membrane")


def make_bundle(path: Path, program: Program, with_lava: bool = True) -> Bundle:
    contract = InputContract(program.input_shape[1:], 6, 10_000, program.max_count)
    writers = {bundles.LAVA: lambda file: write_lava(program, file)} if with_lava else {}
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    return bundles.write(path, program, contract, ["a", "b", "c"], origin, [], writers)


def make_frames(samples: int, program: Program, steps: int = 6) -> NDArray[np.uint8]:
    rng = np.random.default_rng(4)
    shape = (samples, steps, *program.input_shape)
    return ((rng.random(shape) < 0.2) * rng.integers(1, program.max_count + 1, shape)).astype(
        np.uint8
    )


def processes_of(folder: Path) -> list[int]:
    """List the living processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if (
                str(folder).encode() in (entry / "cmdline").read_bytes()
                and int(entry.name) != os.getpid()
            ):
                found.append(int(entry.name))
        except OSError:
            continue
    return found


def wait_until_gone(folder: Path) -> None:
    deadline = time.monotonic() + 60
    while processes_of(folder):
        assert time.monotonic() < deadline, f"left behind: {processes_of(folder)}"
        time.sleep(0.1)


FEED_AND_READ = """
import numpy as np
from lava.magma.core.run_conditions import RunSteps
from lava.magma.core.run_configs import Loihi2SimCfg
from lava.proc.io.source import RingBuffer

if __name__ == "__main__":
    frames = np.load("frames.npy")
    depth = len(network.layers)
    steps = frames.reshape(-1, *frames.shape[2:]).T.astype(np.int32)
    source = RingBuffer(data=np.pad(steps, [(0, 0)] * 3 + [(0, depth)]))
    source.s_out.connect(network.inp)
    readout = []
    for k in range(len(frames)):
        condition = RunSteps(num_steps=T + (depth if k == 0 else 0))
        network.run(condition=condition, run_cfg=Loihi2SimCfg(select_tag="fixed_pt"))
        readout.append(network.layers[-1].neuron.v.get().reshape(-1))
    network.stop()
    np.save("readout.npy", np.stack(readout))
"""


@pytest.fixture
def jobs() -> Iterator[Path]:
    """A place for temporary files whose path is short, as Lava's sockets need it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as folder:
        yield Path(folder)


class TestRealLava:
    pytestmark = real_lava

    def test_spikes_and_membranes_equal_the_plain_reference(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(
            "tmkt.deploy.engines.lava.MAX_SAMPLES", 3
        )  # two runs of Lava: the second begins at sample 3
        program = make_program()
        frames = make_frames(5, program)
        done: list[int] = []
        engine = open_engine("lava", make_bundle(tmp_path / "bundle", program))
        assert isinstance(engine, LavaEngine)
        engine.progress = done.append
        output = engine.run(frames)
        readout, spikes, _ = run_plain(program, frames)
        np.testing.assert_array_equal(output.readout, readout)
        assert output.readout.dtype == np.int64
        assert set(output.spikes) == set(spikes) == {"conv1", "conv2"}
        for name, expected in spikes.items():
            assert expected.any()
            np.testing.assert_array_equal(output.spikes[name], expected, err_msg=name)
        assert done == [1, 2, 3, 4, 5]
        assert output.faults is None

    def test_a_comparison_knows_the_time_that_is_left_from_the_second_recording_on(
        self, tmp_path: Path
    ) -> None:
        program = make_program()
        told: list[tuple[int, float | None]] = []
        parity(
            make_bundle(tmp_path / "bundle", program),
            ["lava", "simulator"],
            make_frames(4, program),
            np.zeros(4, np.int64),
            progress=lambda done, _total, _, left_s: told.append((done, left_s)),
        )
        assert [done for done, _ in told] == [4, 5, 6, 7, 8, 8, 12]
        assert [left_s is None for _, left_s in told] == [True, True, *[False] * 3, True, False]

    def test_runs_without_torch_and_matplotlib_and_with_warnings_as_errors(
        self, tmp_path: Path
    ) -> None:
        program = make_program(max_count=1)
        write_lava(program, tmp_path / "loihi.net")
        frames = make_frames(1, program)
        np.save(tmp_path / "frames.npy", frames)
        job = {
            "net": str(tmp_path / "loihi.net"),
            "samples": 1,
            "steps": frames.shape[1],
            "input_shape": program.input_shape,
            "max_count": 1,
            "shapes": [layer.shape for layer in program.layers],
            "fires": [layer.fires for layer in program.layers],
        }
        (tmp_path / "job.json").write_text(json.dumps(job))
        script = (
            "import sys; from pathlib import Path\n"
            "from tmkt.deploy.engines.lava_process import runner\ncode ="
            f" runner.main(Path({str(tmp_path)!r}))\nprint(code, sorted({{'torch', 'matplotlib',"
            " 'cv2', 'spikingjelly'} & set(sys.modules)))"
        )
        done = subprocess.run(
            [sys.executable, "-P", "-W", "error", "-c", script],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.strip().endswith("0 []"), done.stderr
        assert done.stderr.split("\n") == ["done 1", ""]
        np.testing.assert_array_equal(
            np.load(tmp_path / "membrane.npy"), run_plain(program, frames)[0]
        )

    @pytest.mark.parametrize("as_documented", [True, False])
    def test_the_document_says_how_netx_must_load_the_file(
        self, tmp_path: Path, as_documented: bool
    ) -> None:
        page = (Path(__file__).parents[2] / "docs" / "bundle.md").read_text(encoding="utf-8")
        (loading,) = re.findall(r"```python\n(.*?hdf5\.Network.*?)```", page, re.S)
        loading = loading.replace("bundles/nmnist/loihi.net", "loihi.net").replace(
            "T = 10", "T = 6"
        )
        if not as_documented:
            loading = re.sub(r"hdf5\.Network\(.*\)", 'hdf5.Network("loihi.net")', loading)
        program = make_program(max_count=1)
        write_lava(program, tmp_path / "loihi.net")
        frames = make_frames(3, program)
        np.save(tmp_path / "frames.npy", frames)
        done = subprocess.run(
            [sys.executable, "-P", "-c", loading + FEED_AND_READ],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        readout = np.load(tmp_path / "readout.npy")
        assert (readout == run_plain(program, frames)[0]).all() == as_documented

    def test_file_that_is_no_netx_file_is_refused_in_one_line(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle", make_program())
        bundle.contents[bundles.LAVA] = bundle.contents[bundles.LAVA][:200]
        with pytest.raises(
            InputError,
            match=r"loihi\.net: Lava cannot run it \(OSError: .*\); export the network again",
        ) as error:
            LavaEngine(bundle).run(make_frames(1, bundle.program))
        assert "\n" not in str(error.value)

    def test_file_of_another_network_is_refused_with_both_shapes(self, tmp_path: Path) -> None:
        bundle = make_bundle(tmp_path / "bundle", make_program())
        rng = np.random.default_rng(0)
        dense = Synapse("input", "dense", (2 * rng.integers(-50, 60, (3, 286))).astype(np.int16))
        write_lava(
            Program(
                (2, 13, 11),
                3,
                (Layer("readout", (3,), (dense,), np.zeros(3, np.int32), 0, 0, fires=False),),
                "membrane",
            ),
            bundle.path / bundles.LAVA,
        )
        bundle.contents[bundles.LAVA] = (bundle.path / bundles.LAVA).read_bytes()
        with pytest.raises(
            InputError,
            match=(
                r"has layers of shape \[\(3,\)\], the program \[\(4, 12, 10\), \(6, 6, 5\),"
                r" \(3,\)\]"
            ),
        ):
            LavaEngine(bundle).run(make_frames(1, bundle.program))

    @pytest.mark.parametrize(
        ("sign", "victim"),
        [(signal.SIGINT, "engine"), (signal.SIGKILL, "engine"), (signal.SIGKILL, "child")],
    )
    def test_nothing_is_left_behind(
        self, tmp_path: Path, jobs: Path, sign: signal.Signals, victim: str
    ) -> None:
        bundle = make_bundle(tmp_path / "bundle", make_program())
        script = (
            "import numpy as np; from pathlib import Path; from tmkt import bundle; from"
            " tmkt.deploy.engines.lava import LavaEngine\nengine ="
            f" LavaEngine(bundle.load(Path({str(bundle.path)!r})), lambda k: print(k,"
            " flush=True))\nengine.run(np.zeros((500, 40, 2, 13, 11), np.uint8))"
        )
        environment = {**os.environ, "TMPDIR": str(jobs)}
        engine = subprocess.Popen(
            [sys.executable, "-P", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment,
        )
        assert engine.stdout is not None
        assert engine.stderr is not None
        assert engine.stdout.readline() == "1\n", engine.stderr.read()
        assert len(processes_of(jobs)) > 5
        os.kill(engine.pid if victim == "engine" else max(processes_of(jobs)), sign)
        _, errors = engine.communicate(timeout=120)
        assert engine.returncode != 0
        wait_until_gone(jobs)
        if victim == "child":
            assert "InputError" in errors
            assert "one of Lava's processes ended early" in errors
        if sign == signal.SIGINT or victim == "child":  # killed, the engine cannot tidy up
            assert list(jobs.iterdir()) == []

    def test_a_place_for_temporary_files_whose_path_is_too_long_is_named(
        self, tmp_path: Path, jobs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of all paths that are taken, the longest works."""
        engine = LavaEngine(make_bundle(tmp_path / "bundle", make_program()))
        frames = make_frames(1, engine.program)
        for length in (71, 72):
            place = jobs / ("x" * (length - len(str(jobs)) - 1))
            place.mkdir()
            monkeypatch.setattr(lava.tempfile, "tempdir", str(place))
            monkeypatch.setenv("TMPDIR", str(place))
            if length == 71:
                assert engine.run(frames).readout.shape == (1, 3)
                continue
            with pytest.raises(InputError, match=r"a path of 72 characters, expected at most 71"):
                engine.run(frames)


def test_bundle_without_a_netx_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no loihi\.net; export again with --target all"):
        LavaEngine(make_bundle(tmp_path / "bundle", make_program(), with_lava=False))


def test_without_lava_the_engine_says_how_to_install_it(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", make_program())
    script = f"""
import sys
class NoLava:
    def find_spec(self, name, *_):
        if name == "lava" or name.startswith("lava."):
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, NoLava())
from pathlib import Path
from tmkt import bundle
from tmkt.deploy.engines.registry import open_engine
from tmkt.errors import InputError
try:
    open_engine("lava", bundle.load(Path({str(bundle.path)!r})))
except InputError as error:
    print(error)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "error", "-c", script],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("\n") == 1
    assert "Lava is not installed" in done.stdout
    assert (
        "pip install --no-deps --ignore-requires-python lava-nc==0.10.0 lava-dl==0.6.0"
        in done.stdout
    )
    assert pip_install("lava") in done.stdout
