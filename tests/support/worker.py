"""Calls in a process of bounded memory and time, in which files from strangers are read.

`Worker` starts this file as a program. A call is a line of JSON on its standard input, `[name,
*arguments]`, where the name is one of CALLS. The answer is a line of JSON: how it ended, what it
printed last, and the peak of its memory.
"""

import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

if sys.platform != "linux":
    import pytest

    pytest.skip("a call's memory and time are bounded by what Linux has", allow_module_level=True)

import resource
import select

GIB = 2**30
# of addresses: above the GiB that a call may take, so that it is seen when it takes more
ADDRESSES = 6 * GIB
WAIT_TIMES = 12  # so many times its processor time may a call take on a busy machine
PEAK = "VmHWM:"  # a line of /proc/self/status


@dataclass(frozen=True)
class Answer:
    """The end of a call: "done", "refused" (one line), "traceback", "crash" or "hang"."""

    ended: str
    text: str  # the last line that was printed, or a traceback
    peak: int  # bytes of memory

    @property
    def fault(self) -> str | None:
        """Name the kind of fault; None for a call that ended as it should."""
        if self.ended not in ("done", "refused"):
            return self.ended
        return "memory" if self.peak > GIB else None


class Worker:
    """The process, which is started when it is needed and again after a crash or a hang.

    `limit_s`: most processor time of a call, where the system tells it, as a call on a busy machine
    waits for others. One that only waits hangs after WAIT_TIMES as long.
    """

    def __init__(self, limit_s: float = 10) -> None:
        self.limit_s = limit_s
        self._process: subprocess.Popen[str] | None = None

    def __call__(self, name: str, *arguments: object) -> Answer:
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            assert self._answer(300) == "ready\n"
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([name, *map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        line = self._answer(self.limit_s)
        if line:
            return Answer(**json.loads(line))
        hung = line is None
        self.close()
        return Answer("hang" if hung else "crash", f"{name} {' '.join(map(str, arguments))}", 0)

    def _answer(self, limit_s: float) -> str | None:
        """Give a line, "" where the process is gone, None where none comes in time."""
        assert self._process is not None
        assert self._process.stdout is not None
        pid, begin = self._process.pid, time.monotonic()
        before = _processor_time_s(pid)
        while not select.select([self._process.stdout], [], [], 0.5)[0]:
            waited = time.monotonic() - begin
            now = _processor_time_s(pid)
            used = waited if before is None or now is None else now - before
            if used > limit_s or waited > WAIT_TIMES * limit_s:
                return None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def tmkt(*arguments: str) -> str:
    """Run a command line. Gives what it printed last, raises SystemExit as it ends."""
    from tmkt.cli import main

    sys.argv = ["tmkt", *arguments]
    main()
    return ""


def read(path: str, width: str, height: str) -> str:
    """Read a data set's recording as events and as frames."""
    import numpy as np

    from tmkt.datasets.reading import count_frames, read_recording
    from tmkt.datasets.types import Recording
    from tmkt.events.frames import InputContract
    from tmkt.events.types import View

    sensor = int(height), int(width)
    recording = Recording(Path(path), 0, "thing-1", View(sensor))
    frames = count_frames(recording, InputContract(sensor, 4, 1000, 255))
    events = read_recording(recording, sensor)
    assert np.count_nonzero(frames) <= len(events)
    return f"{len(events)} events"


def image(path: str) -> str:
    """Read an image."""
    from tmkt.datasets.images import read_value

    return str(read_value(Path(path), (8, 8)).shape)


def images(name: str, folder: str) -> str:
    """Load the images of a data set."""
    from tmkt.datasets.registry import dataset

    load = dataset(name).load_images
    assert load is not None
    return f"{len(load(Path(folder), (8, 8)))} images"


def spike_trains(path: str) -> str:
    """Read a file of spike trains."""
    from tmkt.readers.spike_trains import read_spike_file

    return f"{len(read_spike_file(Path(path)).labels)} recordings"


def recorded(path: str) -> str:
    """Read a file of recorded spikes and membranes."""
    from tmkt.deploy.recorded.file import read_recorded

    return f"{len(read_recorded(Path(path), 1e-3).arrays)} arrays"


def float_network(path: str) -> str:
    """Run a .nir file on frames of zeros and ones."""
    import numpy as np

    from tmkt.nir.float_network import FloatNetwork

    network = FloatNetwork.load(Path(path))
    shape = network.graph.input_shape
    if np.prod(shape) > 10**6:
        return "too large for a test"
    return str(network.run(np.ones((1, 2, *shape), np.uint8)).readout.shape)


CALLS: dict[str, Callable[..., str]] = {
    "tmkt": tmkt,
    "read": read,
    "image": image,
    "images": images,
    "float": float_network,
    "spikes": spike_trains,
    "recorded": recorded,
}


def _run(name: str, arguments: list[str]) -> dict[str, Any]:
    from tmkt.errors import InputError

    with contextlib.suppress(OSError):  # the peak begins anew
        Path("/proc/self/clear_refs").write_text("5")
    out, ended, text = io.StringIO(), "done", ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            text = CALLS[name](*arguments)
        except InputError as error:
            ended, text = "refused", str(error)
            if "\n" in text:
                ended = "traceback"
        except SystemExit as error:
            ended = "refused" if error.code else "done"
        except BaseException:
            ended, text = "traceback", traceback.format_exc()
    if not text:
        text = (out.getvalue().strip().splitlines() or [""])[-1]
    return {"ended": ended, "text": text, "peak": _peak()}


def _processor_time_s(pid: int) -> float | None:
    """Read a process's time on processors; None where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    ticks = int(fields[11]) + int(fields[12])  # utime and stime, proc(5)
    return ticks / os.sysconf("SC_CLK_TCK")


def _peak() -> int:
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    line = next(line for line in status.read_text().splitlines() if line.startswith(PEAK))
    return int(line.split()[1]) * 1024


def _serve() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.simplefilter("ignore")
    import tmkt.cli
    import tmkt.datasets.reading  # noqa: F401

    _, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, most))
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        print(json.dumps(_run(name, arguments)), file=answers, flush=True)


if __name__ == "__main__":
    _serve()
