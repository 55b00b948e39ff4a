"""What is installed on this machine, what is missing, and what to do about it."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from tmkt import __version__
from tmkt.deploy.engines import c
from tmkt.deploy.engines.lava import INSTALL_HINT, installed


class Finding(TypedDict):
    """One part: what was found (None = missing), whether tmkt cannot do without it, and what to do about a lack."""

    part: str
    found: str | None
    required: bool
    advice: str | None


PARTS = (
    ("numpy", True, "pip install tmkt"),
    ("numba", True, "pip install tmkt"),
    ("onnxruntime", True, "pip install tmkt"),
    ("torch", False, "to train and export: pip install 'tmkt[train,export]'"),
    ("spikingjelly", False, "to train and export: pip install 'tmkt[train,export]'"),
    ("scikit-learn", False, "for the demo's digits: pip install 'tmkt[train]'"),
    ("nir", False, "to export, and for the float engine: pip install 'tmkt[export]'"),
    ("onnx", False, "to export: pip install 'tmkt[export]'"),
    ("h5py", False, "to export: pip install 'tmkt[export]'"),
)


def examine() -> list[Finding]:
    """Looks at Python, the packages, Lava, the GPU, and runs the simulator once. Imports neither torch nor Lava."""
    findings: list[Finding] = [
        {"part": "tmkt", "found": __version__, "required": True, "advice": None},
        {"part": "Python", "found": f"{platform.python_version()} ({sys.executable})", "required": True, "advice": None},
        {"part": "processor cores", "found": str(os.cpu_count()), "required": True, "advice": None},
    ]
    for name, required, advice in PARTS:
        found = _version(name)
        findings.append({"part": name, "found": found, "required": required, "advice": None if found else advice})
    lava = f"lava-nc {_version('lava-nc')}, lava-dl {_version('lava-dl')}" if installed() else None
    findings.append({"part": "Lava", "found": lava, "required": False, "advice": None if lava else INSTALL_HINT})
    cc = c.compiler()
    findings.append({"part": "C compiler", "found": cc, "required": False, "advice": None if cc else f"for the engine c: {c.INSTALL_HINT}"})
    gpu = _gpu()
    findings.append({"part": "GPU", "found": gpu, "required": False, "advice": None if gpu else "none needed; training uses the processor"})
    findings.append({"part": "simulator", "found": _simulate(), "required": True, "advice": None})
    return findings


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        done = subprocess.run(["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip().replace("\n", ", ") or None if done.returncode == 0 else None


def _simulate() -> str:
    """Speed of a small random network on random spikes: a sign of life, not a benchmark."""
    import time

    import numpy as np

    from tmkt.deploy.simulator import Simulator
    from tmkt.program import Layer, Program, Synapse

    rng = np.random.default_rng(0)
    conv = Synapse("input", "conv", (2 * rng.integers(-60, 60, (16, 2, 3, 3))).astype(np.int16), (2, 2), (1, 1))
    dense = Synapse("conv1", "dense", (2 * rng.integers(-60, 60, (10, 16 * 17 * 17))).astype(np.int16))
    program = Program(
        (2, 34, 34),
        1,
        (
            Layer("conv1", (16, 17, 17), (conv,), np.zeros(16, np.int32), 200, 2048),
            Layer("readout", (10,), (dense,), np.zeros(10, np.int32), 0, 0, fires=False),
        ),
        "membrane",
    )
    frames = (rng.random((20, 10, 2, 34, 34)) < 0.1).astype(np.uint8)
    simulator = Simulator(program)
    simulator.run(frames[:1])
    begin = time.perf_counter()
    simulator.run(frames)
    return f"runs, {1e3 * (time.perf_counter() - begin) / len(frames):.2f} ms a sample on a small network"
