"""The Lava engine: runs the exported netx file on Lava's own fixed-point model of the chip.

Lava is used as it is, as an independent proof. A program with branches has no netx file: it runs as
a graph of Lava's processes that is built from the program itself. Lava is slow (most of the time is
its convolution, one call for each pair of channels) and takes seconds to start.
"""

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.types import EngineOutput
from tmkt.errors import InputError, one_line
from tmkt.hdf5 import check_hdf5
from tmkt.install import pip_install
from tmkt.program.lava_form import fits_netx
from tmkt.program.model import Program

MAX_SAMPLES = 200  # in one run of Lava, so that a crash late in a long evaluation loses little
CALL_S = (8e-6, 22e-6)  # a convolution of one pair of channels in one step
MAX_NET_BYTES = 2**31  # of all arrays of the netx file when unpacked
MOST_CHARACTERS = 71  # of the path of temporary files
MAX_VALUES = 2**24  # of the input in one run: Lava holds several int32 copies of it


def install_hint() -> str:
    """Give the commands that install Lava."""
    return (
        f"{pip_install('lava')}; then: pip install --no-deps --ignore-requires-python"
        " lava-nc==0.10.0 lava-dl==0.6.0"
    )


def installed() -> bool:
    """Tell if both parts of Lava (lava-nc, lava-dl) are installed, without importing them."""
    try:
        return all(
            importlib.util.find_spec(name) is not None
            for name in ("lava.magma", "lava.lib.dl.netx", "h5py", "scipy", "networkx", "asteval")
        )
    except ModuleNotFoundError:
        return False


def expected_s(program: Program, steps: int, samples: int) -> tuple[float, float]:
    """Estimate the least and the most seconds that Lava takes for samples of so many steps.

    Nearly all of it are its convolutions, one call for each pair of channels and step. CALL_S is
    what two machines took on N-MNIST (docs/results.md), so another may take longer.
    """
    calls = sum(
        synapse.weight.shape[0] * synapse.weight.shape[1]
        for layer in program.layers
        for synapse in layer.synapses
        if synapse.kind == "conv"
    )
    low, high = (seconds * calls * steps * samples for seconds in CALL_S)
    return low, high


def _need_short(folder: str) -> None:
    """Raise InputError for a folder in which the sockets of Lava's processes have no place.

    Their names there take 32 characters more, and a socket's path has 103 at most (macOS; Linux
    107). Python's multiprocessing says EOFError of a longer one.
    """
    if len(os.fsencode(folder)) > MOST_CHARACTERS:
        raise InputError(
            f"{folder}: a path of {len(os.fsencode(folder))} characters, expected at most"
            f" {MOST_CHARACTERS} for the sockets of Lava's processes; set TMPDIR to a shorter one"
        )


class LavaEngine:
    """Runs a bundle's netx file in Lava, in processes of its own.

    A program that netx cannot express runs as a graph. Raises InputError if the bundle has no netx
    file but could have one. `progress` is called with the number of samples that are done.
    """

    name = "lava"
    exact = True

    def __init__(self, bundle: Bundle, progress: Callable[[int], None] | None = None) -> None:
        self.graph = bundles.LAVA not in bundle.manifest["files"] and not fits_netx(bundle.program)
        name = bundles.PROGRAM if self.graph else bundles.LAVA
        self.net, self.content = bundle.path / name, bundle.read(name)
        self.program = bundle.program
        self.progress = progress

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, C, H, W], each sample from states of zero.

        Raises InputError if Lava cannot run the file.
        """
        _need_short(tempfile.gettempdir())
        samples, steps = frames.shape[:2]
        layers = self.program.layers
        spikes = {
            layer.name: np.zeros((samples, steps, *layer.shape), np.uint8)
            for layer in layers
            if layer.fires
        }
        membrane = np.zeros((samples, self.program.classes), np.int64)
        batch = max(1, min(MAX_SAMPLES, MAX_VALUES // max(1, frames[0].size))) if samples else 1
        if any(layer.steps_back(synapse) for layer in layers for synapse in layer.synapses):
            batch = 1  # Lava's reset between samples does not take back spikes that are under way
        for start in range(0, samples, batch):
            stop = min(samples, start + batch)
            try:
                with tempfile.TemporaryDirectory(prefix="tmkt-lava-") as folder:
                    self._run_job(Path(folder), frames[start:stop], start)
                    membrane[start:stop] = np.load(
                        Path(folder) / "membrane.npy", allow_pickle=False
                    )
                    for i, layer in enumerate(layers):
                        if layer.fires:
                            packed = np.load(Path(folder) / f"spikes-{i}.npy", allow_pickle=False)
                            unpacked = np.unpackbits(packed, axis=-1, count=layer.neurons)
                            spikes[layer.name][start:stop] = unpacked.reshape(
                                stop - start, steps, *layer.shape
                            )
            except OSError as error:
                raise InputError(
                    f"{tempfile.gettempdir()}: Lava's job cannot be kept there"
                    f" ({error.strerror or error}); free space or set TMPDIR"
                ) from error
        if self.program.readout == "membrane":
            return EngineOutput(membrane, spikes)
        return EngineOutput(
            spikes[layers[-1].name].reshape(samples, steps, -1).sum(1, dtype=np.int64), spikes
        )

    def _write_net(self, folder: Path) -> Path:
        """Write the file for Lava, and check netx files: Lava itself checks nothing."""
        net = folder / self.net.name
        net.write_bytes(self.content)
        if self.graph:
            return net
        try:
            check_hdf5(net, MAX_NET_BYTES)
        except (OSError, ValueError) as error:
            what = one_line(error, 150)
            raise InputError(
                f"{self.net}: Lava cannot run it ({type(error).__name__}: {what}); export the"
                " network again"
            ) from None
        return net

    def _run_job(self, folder: Path, frames: NDArray[np.uint8], done: int) -> None:
        late = {
            synapse.source
            for layer in self.program.layers
            for synapse in layer.synapses
            if layer.steps_back(synapse)
        }
        job = {
            "net": str(self._write_net(folder)),
            "samples": frames.shape[0],
            "steps": frames.shape[1],
            "input_shape": self.program.input_shape,
            "max_count": self.program.max_count,
            "shapes": [layer.shape for layer in self.program.layers],
            "fires": [layer.fires for layer in self.program.layers],
            "late": [layer.name in late for layer in self.program.layers],
            "graph": self.graph,
        }
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8", newline="\n")
        np.save(folder / "frames.npy", frames)
        code, errors = self._run_process(folder, done)
        if code != 0:
            why = (
                errors[0]
                if errors
                else f"ended by signal {-code}"
                if code < 0
                else f"exit code {code}"
            )
            raise InputError(f"{self.net}: Lava cannot run it ({why}); export the network again")

    def _run_process(self, folder: Path, done: int) -> tuple[int, list[str]]:
        """Run the runner (lava_process/runner.py); return its exit code and its errors."""
        runner = "tmkt.deploy.engines.lava_process.runner"
        command = [sys.executable, "-P", "-m", runner, str(folder)]
        errors: list[str] = []
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stderr is not None
        # A thread, because Lava's processes hold the pipe too: it may stay open after the runner is
        # dead.
        reader = threading.Thread(
            target=self._read, args=(process.stderr, done, errors), daemon=True
        )
        reader.start()
        try:
            code = process.wait()
        finally:
            process.stdin.close()  # tells a runner that still works to end what it started
            _end_group(process)
            reader.join(timeout=5)
            process.stderr.close()
        return code, errors

    def _read(self, lines: IO[str], done: int, errors: list[str]) -> None:
        with contextlib.suppress(ValueError):  # closed while it was read
            for line in lines:
                word, _, rest = line.strip().partition(" ")
                if word == "done" and rest.isdigit() and self.progress is not None:
                    self.progress(done + int(rest))
                elif word == "error:":
                    errors.append(rest)


def _end_group(process: "subprocess.Popen[str]") -> None:
    """Wait a little for the runner to end, then end what is left of its process group.

    SIGTERM comes first: Python's own keeper of shared memory survives it and leaves none behind.
    """
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=3)
    for sign in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, sign)
            for _ in range(40):
                process.poll()
                time.sleep(0.05)
                os.killpg(process.pid, 0)
    process.wait()
