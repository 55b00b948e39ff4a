"""ONNX Runtime on the bundle's explicit-state graph."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt import bundle as bundles
from tmkt.bundle import Bundle
from tmkt.deploy.engines.types import EngineOutput
from tmkt.errors import InputError
from tmkt.program.arithmetic import DECAY_ONE

SAMPLES_AT_ONCE = 16  # more made no run faster (measured), and memory grows with it


class OnnxEngine:
    """Runs `network.onnx`: x uint8 [T, B, C, H, W] and the states in; read-out, spikes and the
    states out. States start at zero.
    """

    name = "onnx"
    exact = True

    def __init__(self, bundle: Bundle, threads: int | None = None) -> None:
        import onnxruntime

        path = bundle.file(bundles.ONNX)
        options = onnxruntime.SessionOptions()
        options.log_severity_level = (
            4  # its errors are raised and said in one line; it would print them, too
        )
        options.intra_op_num_threads = threads or 0  # 0: as many as there are cores
        try:
            # Without enable_fallback=0 it prints to standard output when it fails, and tries the
            # same once more.
            self._session = onnxruntime.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            inputs, outputs = (
                {n.name for n in nodes}
                for nodes in (self._session.get_inputs(), self._session.get_outputs())
            )
        except Exception as error:  # ONNX Runtime has no common base class for its errors
            raise InputError(
                f"{path}: ONNX Runtime cannot load it ({_line(error)}); export the network again"
            ) from None
        self._path = path
        self._program = bundle.program
        self._states: dict[str, tuple[type[np.integer[Any]], tuple[int, ...]]] = {}
        for layer in bundle.program.layers:
            self._states[f"{layer.name}.v"] = (np.int32, layer.shape)
            if layer.current_decay != DECAY_ONE:
                self._states[f"{layer.name}.u"] = (np.int32, layer.shape)
            for i, synapse in enumerate(layer.synapses):
                if back := layer.steps_back(synapse):
                    self._states[f"{layer.name}.past_{i}"] = (
                        np.uint8,
                        (back, *bundle.program.shape_of(synapse.source)),
                    )
        self._outputs = [
            "readout",
            *(f"{layer.name}.spikes" for layer in bundle.program.layers if layer.fires),
        ]
        if inputs != {"x", *self._states} or not outputs.issuperset(self._outputs):
            raise InputError(
                f"{path}: its inputs {sorted(inputs)} and outputs do not fit the program; export"
                " the network again"
            )

    def run(self, frames: NDArray[np.uint8]) -> EngineOutput:
        """Runs frames uint8 [N, T, 2, H, W]. InputError where the file does something else than its
        program.
        """
        parts = [
            self._run(frames[i : i + SAMPLES_AT_ONCE])
            for i in range(0, len(frames), SAMPLES_AT_ONCE)
        ]
        readout, *spikes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        names = [name.removesuffix(".spikes") for name in self._outputs[1:]]
        return EngineOutput(readout.astype(np.int64), dict(zip(names, spikes, strict=True)))

    def _run(self, frames: NDArray[np.uint8]) -> list[NDArray[np.int64]]:
        feed = {"x": np.ascontiguousarray(frames.swapaxes(0, 1))}
        feed |= {
            name: np.zeros((len(frames), *shape), kind)
            for name, (kind, shape) in self._states.items()
        }
        try:
            readout, *spikes = self._session.run(self._outputs, feed)
        except Exception as error:
            raise InputError(
                f"{self._path}: ONNX Runtime cannot run it ({_line(error)}); export the network"
                " again"
            ) from None
        layers = [layer for layer in self._program.layers if layer.fires]
        shapes = [
            (len(frames), self._program.classes),
            *((*frames.shape[1::-1], *layer.shape) for layer in layers),
        ]
        if [out.shape for out in (readout, *spikes)] != shapes:
            raise InputError(
                f"{self._path}: gives outputs of other shapes than the program has; export the"
                " network again"
            )
        return [readout, *(np.ascontiguousarray(s.swapaxes(0, 1)) for s in spikes)]


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:150]
