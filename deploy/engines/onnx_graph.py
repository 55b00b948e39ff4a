"""An ONNX graph of a bundle that carries its states, run by ONNX Runtime on the processor."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.onnx_file import check_onnx
from tmkt.deploy.engines.onnx_read import Graph
from tmkt.deploy.engines.onnx_runtime import NEVER, import_runtime
from tmkt.deploy.engines.onnx_work import check_work
from tmkt.errors import InputError, one_line
from tmkt.program.model import Program

SAMPLES_AT_ONCE = 16  # more made no run faster (measured), and memory grows with it


class State(NamedTuple):
    """The type of a state and its shape without the batch axis."""

    dtype: type[np.generic]
    shape: tuple[int, ...]


@dataclass
class OpenFile:
    """An ONNX file of a bundle in a session of ONNX Runtime."""

    path: Path
    session: Any
    graph: Graph
    program: Program
    steps: int

    def check_steps(self, steps: int) -> None:
        """Check the work of a run of so many steps, unless longer ones have been checked."""
        if steps > self.steps:
            check_work(self.graph, self.program, steps, SAMPLES_AT_ONCE, self.path)
            self.steps = steps


def open_file(bundle: Bundle, name: str, threads: int | None = None) -> OpenFile:
    """Open one of a bundle's ONNX files, with that many threads, all cores unless told.

    Raises InputError if it holds what our own graphs do not, if it is more work than the program
    allows, or if ONNX Runtime cannot load it.
    """
    onnxruntime = import_runtime()

    content, path = bundle.read(name), bundle.path / name
    file = OpenFile(path, None, check_onnx(content, path), bundle.program, 0)
    if file.graph.inputs.get("x", [])[2:] != list(bundle.program.input_shape):
        raise misfit(file)
    file.check_steps(bundle.contract.bins)
    options = onnxruntime.SessionOptions()
    # Its errors are raised and said in one line; it would print them, too.
    options.log_severity_level = NEVER
    # It would take content that begins like its own format for that, which nothing here checks.
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.intra_op_num_threads = threads or 0  # 0: as many as there are cores
    try:
        # Without enable_fallback=0 it prints to standard output when it fails, and tries the same
        # once more.
        file.session = onnxruntime.InferenceSession(
            content, options, providers=["CPUExecutionProvider"], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime has no common base class for its errors
        raise InputError(
            f"{path}: ONNX Runtime cannot load it ({one_line(error, 150)}); export the"
            " network again"
        ) from None
    return file


class OnnxGraph:
    """A graph with the inputs x uint8 [T, B, C, H, W] and the states, and the outputs `readout`
    [B, K] and `<layer>.spikes` [T, B, *shape].
    """

    def __init__(
        self,
        file: OpenFile,
        states: Mapping[str, State],
        spikes: Mapping[str, tuple[int, ...]],
    ) -> None:
        """`states` and `spikes` (shapes by layer): what the program says that the graph has.
        InputError where it has something else.
        """
        self._file, self._path, self._session = file, file.path, file.session
        self._states, self._spikes = dict(states), dict(spikes)
        self._outputs = ["readout", *(f"{name}.spikes" for name in self._spikes)]
        inputs = {node.name for node in self._session.get_inputs()}
        outputs = {node.name for node in self._session.get_outputs()}
        if inputs != {"x", *self._states} or not outputs.issuperset(self._outputs):
            raise misfit(file)

    def run_from_zero(
        self, frames: NDArray[np.uint8]
    ) -> tuple[NDArray[Any], dict[str, NDArray[np.uint8]]]:
        """Run frames uint8 [N, T, C, H, W], each sample from states of zero: its read-out [N, K]
        and its spikes [N, T, *shape] by layer.

        InputError where ONNX Runtime fails, or the file gives something else than it declares.
        """
        self._file.check_steps(frames.shape[1])
        parts = [
            self._run(frames[i : i + SAMPLES_AT_ONCE])
            for i in range(0, len(frames), SAMPLES_AT_ONCE)
        ]
        readout, *spikes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return readout, dict(zip(self._spikes, spikes, strict=True))

    def _run(self, frames: NDArray[np.uint8]) -> list[NDArray[Any]]:
        samples, steps = frames.shape[:2]
        feed: dict[str, NDArray[Any]] = {"x": np.ascontiguousarray(frames.swapaxes(0, 1))}
        feed |= {
            name: np.zeros((samples, *state.shape), state.dtype)
            for name, state in self._states.items()
        }
        try:
            readout, *spikes = self._session.run(self._outputs, feed)
        except Exception as error:
            raise InputError(
                f"{self._path}: ONNX Runtime cannot run it ({one_line(error, 150)}); export the"
                " network again"
            ) from None
        shapes = [
            (samples, self._file.program.classes),
            *((steps, samples, *shape) for shape in self._spikes.values()),
        ]
        if [out.shape for out in (readout, *spikes)] != shapes:
            raise InputError(
                f"{self._path}: gives outputs of other shapes than the program has; export the"
                " network again"
            )
        return [readout, *(np.ascontiguousarray(s.swapaxes(0, 1)) for s in spikes)]


def misfit(file: OpenFile) -> InputError:
    """Return the error for a graph of another network than the bundle's program."""
    inputs = sorted(file.graph.inputs)
    return InputError(
        f"{file.path}: its inputs {inputs} and outputs do not fit the program; export the"
        " network again"
    )
