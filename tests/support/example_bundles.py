"""Small bundles, made by the exporters from an untrained network."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from example_networks import make_frames, make_network
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.events.frames import InputContract
from tmkt.export.quantise.quantise import quantise
from tmkt.export.targets.nir import write_nir
from tmkt.export.targets.onnx import write_onnx
from tmkt.export.targets.onnx_float import float_to_onnx
from tmkt.nir.from_network import network_to_nir
from tmkt.program.model import Program

SHAPE, STEPS = (2, 13, 13), 6


def example_frames(samples: int) -> NDArray[np.uint8]:
    return make_frames(samples, STEPS, SHAPE, seed=1)


def example_parts() -> tuple[Any, Program, list[dict[str, Any]]]:
    """Return a NIR graph (odd maps, pools that crop), its program, and the quantisation report."""
    graph = network_to_nir(make_network(SHAPE, (6, 8), (1, 1), (2, 2), classes=4))
    return graph, *quantise(graph, SHAPE, 1, example_frames(8))


def write_example(
    path: Path,
    parts: tuple[Any, Program, list[dict[str, Any]]],
    onnx: Program | None = None,
    files: Sequence[str] = (),
) -> Bundle:
    """Write a bundle of the parts, with these files or all of NIR, ONNX and ONNX_FLOAT. `onnx`: a
    program to put into network.onnx instead of the bundle's own.
    """
    graph, program, report = parts
    writers = {
        bundles.NIR: lambda p: write_nir(graph, p),
        bundles.ONNX: lambda p: write_onnx(onnx or program, p),
        bundles.ONNX_FLOAT: lambda p: float_to_onnx(graph).write(p),
    }
    kept = {name: writer for name, writer in writers.items() if not files or name in files}
    classes = [str(i) for i in range(program.classes)]
    origin = {"dataset": "nmnist", "trained_on": [], "images_trained_on": {}}
    return bundles.write(
        path, program, InputContract(SHAPE[1:], STEPS, 1000, 1), classes, origin, report, kept
    )
