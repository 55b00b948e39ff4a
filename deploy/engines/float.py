"""The unquantised network: what the integers are measured against."""

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.types import EngineOutput
from tmkt.errors import InputError

SAMPLES_AT_ONCE = 16


class FloatEngine:
    """Runs `network.nir` in float32. Spikes are cropped to the program's shapes, so that they
    compare neuron by neuron.
    """

    name = "float"
    exact = False

    def __init__(self, bundle: Bundle) -> None:
        try:
            from tmkt.nir.float_network import FloatNetwork
        except ModuleNotFoundError as error:
            raise InputError(
                f"engine 'float': needs {error.name}, which is not installed; run: pip install"
                " 'tmkt[export]'"
            ) from None
        self._network = FloatNetwork.load(bundle.file(bundles.NIR))
        self._shapes = {layer.name: layer.shape for layer in bundle.program.layers if layer.fires}

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Runs frames uint8 [N, T, 2, H, W]."""
        parts = [
            self._network.run(frames[i : i + SAMPLES_AT_ONCE])
            for i in range(0, len(frames), SAMPLES_AT_ONCE)
        ]
        spikes = {}
        for name, shape in self._shapes.items():
            whole = np.concatenate([part.spikes[name] for part in parts])
            spikes[name] = whole[:, :, :, : shape[1], : shape[2]] if len(shape) == 3 else whole
        return EngineOutput(np.concatenate([part.readout for part in parts]), spikes)
