"""ONNX Runtime on the bundle's integer graph, `network.onnx`."""

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.onnx_graph import OnnxGraph, State, open_file
from tmkt.deploy.engines.types import EngineOutput
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Program


class OnnxEngine(OnnxGraph):
    """Runs `network.onnx`, each sample from states of zero.

    In: x uint8 [T, B, C, H, W] and the states. Out: read-out, spikes and the states.
    """

    name = "onnx"
    exact = True

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        program = bundle.program
        spikes = {layer.name: layer.shape for layer in program.layers if layer.fires}
        super().__init__(open_file(bundle, bundles.ONNX, threads), _states(program), spikes)
        self._program = program

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Run frames uint8 [N, T, C, H, W].

        Raises InputError if the file does something else than its program.
        """
        readout, spikes = self.run_from_zero(frames)
        return EngineOutput(readout.astype(np.int64), spikes)


def _states(program: Program) -> dict[str, State]:
    """Return the states that the graph of a program carries (tmkt.export.targets.onnx)."""
    states = {}
    sending = {INPUT, *(layer.name for layer in program.layers if layer.fires)}
    for layer in program.layers:
        states[f"{layer.name}.v"] = State(np.int32, layer.shape)
        if layer.current_decay != DECAY_ONE:
            states[f"{layer.name}.u"] = State(np.int32, layer.shape)
        for i, synapse in enumerate(layer.synapses):
            back = layer.steps_back(synapse)
            if back and synapse.source in sending:
                source = program.shape_of(synapse.source)
                states[f"{layer.name}.past_{i}"] = State(np.uint8, (back, *source))
    return states
