"""Examination of this machine: installed parts, missing parts, and what to do about them."""

import os
import platform
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TypedDict

from tmkt import __version__, processor
from tmkt.deploy.engines import c
from tmkt.deploy.engines.lava import install_hint, installed
from tmkt.install import pip_install


class Finding(TypedDict):
    """One part of the installation: what was found (None: missing), and what to do about a lack.

    tmkt cannot do without a `required` part.
    """

    part: str
    found: str | None
    required: bool
    advice: str | None


DATA_HINT = (
    "none in $TMKT_DATA or ./data; tmkt demo needs none, tmkt data fetch nmnist downloads one, tmkt"
    " data list DIR looks in DIR"
)
EXPORT = "to export, and to run float networks of older bundles"
# Package, the extra that brings it, and what it is for; tmkt cannot do without a required one.
PARTS = (
    ("numpy", "", "required"),
    ("numba", "", "required"),
    ("onnxruntime", "", "required"),
    ("safetensors", "", "required"),
    ("torch", "train,export", "to train and export"),
    ("spikingjelly", "train,export", "to train and export"),
    ("scikit-learn", "train", "for the demo's digits"),
    ("nir", "export", EXPORT),
    ("onnx", "export", EXPORT),
    ("h5py", "export", "to export, and to read HDF5 recordings"),
    ("tonic", "data", "to fetch event data sets"),
    ("pillow", "data", "to read images"),
    ("resvg-py", "plot", "for tmkt energy --plot x.png"),
    ("ray", "ray", "to evaluate on a cluster"),
)


def examine() -> list[Finding]:
    """Look at Python, the packages, Lava, the C compiler, the GPU and the data sets, and run the
    simulator once.

    Imports neither torch nor Lava.
    """
    python = f"{platform.python_version()} ({sys.executable}), {platform.system()}"
    gpu = _gpu()
    return [
        _finding("tmkt", __version__, required=True),
        _finding("Python", python, required=True),
        Finding(part="processor", found=_processor(), required=True, advice=_processor_advice()),
        *(
            _finding(name, _version(name), f"{use}; {pip_install(extra)}", use == "required")
            for name, extra, use in PARTS
        ),
        _finding("Lava", _lava(), install_hint()),
        _finding("C compiler", c.compiler(), f"for the engine c: {c.INSTALL_HINT}"),
        Finding(part="GPU", found=gpu, required=False, advice=_gpu_advice(gpu)),
        _finding("data sets", _data(), DATA_HINT),
        _finding("simulator", _simulate(), required=True),
    ]


def _finding(
    part: str, found: str | None, advice: str | None = None, required: bool = False
) -> Finding:
    """Give a finding whose advice is for a missing part."""
    return Finding(part=part, found=found, required=required, advice=None if found else advice)


def _processor() -> str:
    told = [processor.name() or "of unknown name", f"{os.cpu_count()} cores"]
    return ", ".join(told + processor.instructions())


def _processor_advice() -> str | None:
    faster = processor.faster_bfloat16()
    return faster and f"train with --set train.precision=bf16: about {faster}"


def _lava() -> str | None:
    return f"lava-nc {_version('lava-nc')}, lava-dl {_version('lava-dl')}" if installed() else None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> str | None:
    if shutil.which("nvidia-smi") is None:
        return None
    try:
        done = subprocess.run(
            ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"],
            capture_output=True,
            text=True,
            timeout=10,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    if done.returncode != 0:
        return None
    return done.stdout.strip().replace("\n", ", ") or None


def _gpu_advice(gpu: str | None) -> str | None:
    if gpu is None:
        return "none needed; training uses the processor"
    if "+cpu" in (_version("torch") or ""):
        return (
            "torch is built for the processor alone; to train on the GPU install the build that"
            " https://pytorch.org names for it"
        )
    return None


def _data() -> str | None:
    """Find data sets where `tmkt data list` looks without being told; None if there is none."""
    from tmkt.datasets.check import known_sets

    sets = known_sets([])
    found = [
        f"{entry['name']}: {f['path']} ({f['recordings']} recordings)"
        for entry in sets
        for f in entry["recordings"]
    ]
    found += [f"images of {entry['name']}: {path}" for entry in sets for path in entry["images"]]
    return "; ".join(found) or None


def _simulate() -> str:
    """Time a small random network on random spikes: a sign of life, not a benchmark."""
    import time

    import numpy as np

    from tmkt.program.model import Layer, Program, Synapse
    from tmkt.program.simulator.simulator import Simulator

    rng = np.random.default_rng(0)
    conv = Synapse(
        "input", "conv", (2 * rng.integers(-60, 60, (16, 2, 3, 3))).astype(np.int16), (2, 2), (1, 1)
    )
    dense = Synapse(
        "conv1", "dense", (2 * rng.integers(-60, 60, (10, 16 * 17 * 17))).astype(np.int16)
    )
    program = Program(
        (2, 34, 34),
        1,
        (
            Layer(
                "conv1",
                (16, 17, 17),
                synapses=(conv,),
                bias=np.zeros(16, np.int32),
                threshold=200,
                voltage_decay=2048,
            ),
            Layer(
                "readout",
                (10,),
                synapses=(dense,),
                bias=np.zeros(10, np.int32),
                threshold=0,
                voltage_decay=0,
                fires=False,
            ),
        ),
        "membrane",
    )
    frames = (rng.random((20, 10, 2, 34, 34)) < 0.1).astype(np.uint8)
    simulator = Simulator(program)
    simulator.run(frames[:1])
    begin = time.perf_counter()
    simulator.run(frames)
    return (
        f"runs, {1e3 * (time.perf_counter() - begin) / len(frames):.2f} ms a sample on a small"
        " network"
    )
