"""The unquantised network: what the integers are measured against."""

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.onnx_graph import (
    SAMPLES_AT_ONCE,
    OnnxGraph,
    State,
    misfit,
    open_file,
)
from tmkt.deploy.engines.types import EngineOutput
from tmkt.errors import NotInstalled
from tmkt.install import pip_install
from tmkt.program.model import Layer

# Gives the read-out [N, K] and the spikes [N, T, *shape] by layer of frames uint8 [N, T, 2, H, W].
Run = Callable[[NDArray[np.uint8]], tuple[NDArray[Any], dict[str, NDArray[np.uint8]]]]


class FloatEngine:
    """Runs `network-float.onnx` with ONNX Runtime, or `network.nir` in numpy where a bundle has no
    such file: float32 both. Spikes are cropped to the program's shapes, so that they compare neuron
    by neuron.
    """

    name = "float"
    exact = False

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        self._shapes = {layer.name: layer.shape for layer in bundle.program.layers if layer.fires}
        has_onnx = bundles.ONNX_FLOAT in bundle.manifest["files"]
        self._run: Run = _open_onnx(bundle, threads) if has_onnx else _open_nir(bundle)

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, 2, H, W]."""
        readout, whole = self._run(frames)
        spikes = {
            name: whole[name][:, :, :, : shape[1], : shape[2]] if len(shape) == 3 else whole[name]
            for name, shape in self._shapes.items()
        }
        return EngineOutput(readout, spikes)


def _open_onnx(bundle: Bundle, threads: int | None) -> Run:
    file = open_file(bundle, bundles.ONNX_FLOAT, threads)
    declared = {node.name: node.shape for node in file.session.get_outputs()}
    spikes = {}
    for layer in bundle.program.layers:
        if layer.fires:
            shape = tuple(declared.get(f"{layer.name}.spikes", ())[2:])
            if not _crops_to(shape, layer):
                raise misfit(file)
            spikes[layer.name] = shape
    states = {f"{name}.v": State(np.float32, shape) for name, shape in spikes.items()}
    states["readout.sum"] = State(np.float32, (bundle.program.classes,))
    graph = OnnxGraph(file, states, spikes)
    return graph.run_from_zero


def _crops_to(shape: tuple[Any, ...], layer: Layer) -> bool:
    """Tell whether a program's layer may be the upper left part of a map of this shape: at least
    half of each side, as it is cropped to a multiple of the pool that reads it.
    """
    if len(shape) != len(layer.shape) or not all(isinstance(n, int) for n in shape):
        return False
    same_channels = shape[0] == layer.shape[0]
    sides = zip(shape[1:], layer.shape[1:], strict=True)
    return same_channels and all(kept <= side < 2 * kept for side, kept in sides)


def _open_nir(bundle: Bundle) -> Run:
    try:
        from tmkt.nir.float_network import FloatNetwork
    except ModuleNotFoundError as error:
        raise NotInstalled(
            f"engine 'float': needs {error.name}, which is not installed", pip_install("export")
        ) from None
    content = bundle.read(bundles.NIR)
    with TemporaryDirectory(prefix="tmkt-nir-") as folder:  # libhdf5 reads files
        copy = Path(folder) / bundles.NIR
        copy.write_bytes(content)
        network = FloatNetwork.load(copy, bundle.path / bundles.NIR)

    def run(frames: NDArray[np.uint8]) -> tuple[NDArray[Any], dict[str, NDArray[np.uint8]]]:
        parts = [
            network.run(frames[i : i + SAMPLES_AT_ONCE])
            for i in range(0, len(frames), SAMPLES_AT_ONCE)
        ]
        names = parts[0].spikes
        spikes = {name: np.concatenate([part.spikes[name] for part in parts]) for name in names}
        return np.concatenate([part.readout for part in parts]), spikes

    return run
