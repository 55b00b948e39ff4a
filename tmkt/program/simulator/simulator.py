"""The reference engine: an exact simulator of the integer program.

docs/program.md states the semantics. layers.py prepares and runs single layers; delivery.py,
dense.py, tiles.py and neurons.py hold the loops.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.processor import features
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Program
from tmkt.program.simulator.delivery import LANES
from tmkt.program.simulator.layers import Block, Bytes, History, prepare, run_layer
from tmkt.program.simulator.layout import channels_first, channels_last
from tmkt.program.simulator.neurons import ACTIVE, FAULTS

# Samples that run at once share the cost of the calls, as long as no layer's sums take more bytes
# (measured: eight samples of the N-MNIST network with AVX-512, four elsewhere; of VGGSNN, one is
# quicker than two).
SAMPLES_AT_ONCE = 8
SUMS_BYTES = 3 * 2 ** (19 if "avx512f" in features() else 18)
# A layer runs so many steps before the next one does: its sums stay in the cache, however long the
# sample.
STEPS_AT_ONCE = 16


@dataclass(frozen=True)
class State:
    """Memory of a batch's neurons between two runs, in the simulator's own order (layout.py).

    `u`: the current of each layer, int32 [N, neurons]; of no neurons if it is gone after a step.
    `v`: the membrane of each layer, int32 [N, neurons].
    `past`: the last steps of the sources that synapses look back to (delays, recurrent synapses),
    uint8 [N, steps, sites].
    """

    u: tuple[NDArray[np.int32], ...]
    v: tuple[NDArray[np.int32], ...]
    past: dict[str, Bytes]

    def copy(self) -> "State":
        """Copy all arrays."""
        past = {name: values.copy() for name, values in self.past.items()}
        return State(tuple(u.copy() for u in self.u), tuple(v.copy() for v in self.v), past)


@dataclass(frozen=True)
class Result:
    """Result of a run: the fields of an engine's `EngineOutput`, and the state to go on from."""

    readout: NDArray[np.int64]
    spikes: dict[str, Bytes]
    faults: dict[str, int]
    active_updates: dict[str, int]
    state: State


class Simulator:
    """Runs a program.

    The same integers come out whatever the number of threads, and however the steps are cut into
    runs.
    """

    def __init__(self, program: Program, threads: int | None = None) -> None:
        """`threads`: the number of samples that run at a time; all cores if None."""
        self.program = program
        self.threads = threads or os.cpu_count() or 1
        self._layers = [prepare(program, layer) for layer in program.layers]
        self._back: dict[str, int] = {}  # how many steps of a source are looked back to
        for path in (path for prepared in self._layers for path in prepared.paths if path.back):
            self._back[path.source] = max(self._back.get(path.source, 0), path.back)

    def zero_state(self, samples: int) -> State:
        """Return the state at a sample's start."""
        neurons = [layer.neurons for layer in self.program.layers]
        currents = [
            layer.neurons if layer.current_decay < DECAY_ONE else 0 for layer in self.program.layers
        ]
        past = {
            source: np.zeros((samples, back, int(np.prod(self.program.shape_of(source)))), np.uint8)
            for source, back in self._back.items()
        }
        u, v = (
            tuple(np.zeros((samples, n), np.int32) for n in sizes) for sizes in (currents, neurons)
        )
        return State(u, v, past)

    def run(self, frames: Bytes, state: State | None = None) -> Result:
        """Run frames uint8 [N, T, C, H, W] from `state`, which is not changed; from zeros if None.

        Runs over the parts of a sample, each from the state of the one before, give the same as one
        run over the whole; a read-out by spike count counts the spikes of its own run. The spikes
        [N, T, *layer.shape] are views of arrays with the channels last.
        """
        self._check(frames)
        samples, steps = frames.shape[:2]
        state = self.zero_state(samples) if state is None else state.copy()
        spikes = _spike_arrays(self.program, samples, steps)
        counts = np.zeros((len(self._layers), samples, ACTIVE + 1), np.int64)
        largest = max(p.layer.neurons * np.dtype(p.sums).itemsize for p in self._layers)
        together = 1
        if not self._back and steps <= STEPS_AT_ONCE:
            together = min(max(SUMS_BYTES // max(steps * largest, 1), 1), SAMPLES_AT_ONCE)

        def work(parts: Sequence[slice]) -> None:
            size = together * min(steps, STEPS_AT_ONCE) * largest
            scratch = np.empty(-(-size // 4) + LANES, np.int32)
            for part in parts:
                fired = {name: s[part] for name, s in spikes.items()}
                self._run_samples(
                    frames[part],
                    fired,
                    state=state,
                    part=part,
                    counts=counts[:, part],
                    scratch=scratch,
                )

        parts = [slice(i, min(i + together, samples)) for i in range(0, samples, together)]
        threads = min(self.threads, len(parts))
        if threads <= 1:
            work(parts)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, [parts[i::threads] for i in range(threads)]))
        total, active = counts.sum((0, 1)), counts[:, :, ACTIVE].sum(1)
        shown = {
            layer.name: channels_first(spikes[layer.name], layer.shape)
            for layer in self.program.layers
            if layer.fires
        }
        return Result(
            self._readout(state, shown),
            shown,
            {name: int(total[column]) for name, column in FAULTS.items()},
            {layer.name: int(n) for layer, n in zip(self.program.layers, active, strict=True)},
            state,
        )

    def _check(self, frames: Bytes) -> None:
        if frames.dtype != np.uint8 or frames.shape[2:] != self.program.input_shape:
            raise ValueError(
                f"frames {frames.dtype} {frames.shape}: expected uint8 [N, T,"
                f" {self.program.input_shape}]"
            )
        if frames.max(initial=0) > self.program.max_count:
            raise ValueError(
                f"frames up to {frames.max()}: expected at most {self.program.max_count}"
            )

    def _readout(self, state: State, spikes: dict[str, Bytes]) -> NDArray[np.int64]:
        last = self.program.layers[-1]
        if self.program.readout == "membrane":
            membrane = channels_first(state.v[-1], last.shape)
            return membrane.reshape(len(membrane), -1).astype(np.int64)
        counted = spikes[last.name].sum(1, dtype=np.int64)
        return np.asarray(counted.reshape(len(counted), -1))

    def _run_samples(
        self,
        frames: Bytes,
        spikes: dict[str, Bytes],
        state: State,
        part: slice,
        counts: NDArray[np.int64],
        scratch: NDArray[np.int32],
    ) -> None:
        """Run a few samples layer by layer, all their steps in one array.

        Either there are few steps, or there is one sample, which runs block by block.
        """
        samples = len(frames)
        for begin in range(0, frames.shape[1], STEPS_AT_ONCE):
            block = frames[:, begin : begin + STEPS_AT_ONCE]
            steps = samples * block.shape[1]
            sites = channels_last(block.reshape(steps, block.shape[2], -1))
            history = History({INPUT: self._after_past(state, INPUT, part, sites)}, self._back)
            for i, prepared in enumerate(self._layers):
                layer = prepared.layer
                name, size = layer.name, steps * layer.neurons
                if layer.fires:
                    fired = spikes[name][:, begin : begin + STEPS_AT_ONCE]
                else:
                    fired = np.empty((steps, layer.neurons), np.uint8)
                own = fired.reshape(steps, layer.neurons)
                if name in self._back:  # filled step by step: its own synapses may look back
                    history.values[name] = self._after_past(state, name, part, own)
                sums = scratch.view(prepared.sums)[:size].reshape(steps, layer.neurons)
                arrays = Block(sums, own, state.u[i][part], state.v[i][part], counts[i])
                run_layer(prepared, history, arrays)
                if name in self._back:
                    history.values[name][self._back[name] :] = own
                elif layer.fires:
                    history.values[name] = own
            for source, back in self._back.items():
                state.past[source][part] = history.values[source][-back:]

    def _after_past(self, state: State, source: str, part: slice, values: Bytes) -> Bytes:
        if source not in self._back:
            return values
        return np.concatenate([state.past[source][part.start], values])


def _spike_arrays(program: Program, samples: int, steps: int) -> dict[str, Bytes]:
    """Allocate [samples, steps, neurons] for every layer that fires, not filled.

    It is one block of memory, so that it comes in large pages.
    """
    layers = [layer for layer in program.layers if layer.fires]
    ends = np.cumsum([samples * steps * layer.neurons for layer in layers], dtype=np.int64)
    parts = np.split(np.empty(int(ends[-1]) if layers else 0, np.uint8), ends[:-1])
    return {
        layer.name: part.reshape(samples, steps, layer.neurons)
        for layer, part in zip(layers, parts, strict=False)
    }
