"""The reference: an exact, event-driven simulator of the integer program. tmkt/program.py states the semantics."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fanout import Fan, Taps, fan, source_shape
from tmkt.kernels import kernel
from tmkt.program import DECAY_ONE, INPUT, Layer, Program

WRAP = 2**23  # of the current: Lava leaves +2^23 as it is and wraps -2^23
CLIP = 2**23 - 1  # of the membrane
FAULTS = ("current_wraps", "membrane_clips", "readout_over_threshold")
STEPS_AT_ONCE = 16  # a layer runs this many steps before the next one does: its sums stay in the cache, however long the sample


@kernel
def _scatter(spikes: Any, rows: Any, runs: Any, weight: Any, first: Any, block_first: Any, layout: Any, a: Any, touched: Any) -> None:
    """Adds what every spike of [T, C, H, W] drives to the sums a [T, N]; marks the blocks of neurons that got any input."""
    row_n, row_tap, row_to = rows
    run_n, run_from, run_to, run_span = runs
    group, width, channels, block_n, blocks = layout
    steps, sources, height, columns = spikes.shape
    for t in range(steps):
        for c in range(sources):
            for y in range(height):
                for x in range(columns):
                    n = spikes[t, c, y, x]
                    if n == 0:
                        continue
                    for i in range(row_n[y]):
                        for j in range(run_n[x]):
                            at = row_to[y, i] * width + run_to[x, j]
                            size = run_span[x, j] * group
                            sums = a[t, at * channels + first[c] : at * channels + first[c] + size]
                            w = weight[c, row_tap[y, i], run_from[x, j] : run_from[x, j] + size]
                            for k in range(size):
                                sums[k] += n * w[k]
                            block = at * blocks + block_first[c]
                            for k in range(block, block + run_span[x, j] * block_n):
                                touched[t, k] = 1


def _runs(columns: Taps, taps: int, group: int, channels: int) -> tuple[NDArray[np.int32], ...]:
    """A row's taps as runs of weights that are added in one go: how many at each source column, then [columns, taps] each: where in
    the row's weights (last tap first) a run begins, its first target column, and how many target columns it spans.

    At stride 1 neighbouring taps meet neighbouring targets, so that a whole row of an ungrouped kernel is one run.
    """
    count = np.zeros(len(columns.count), np.int32)
    begin, to, span = np.zeros((3, len(count), columns.tap.shape[1]), np.int32)
    for x, n in enumerate(columns.count):
        previous = None
        for tap, target in sorted(zip(columns.tap[x, :n], columns.target[x, :n], strict=True), reverse=True):
            if group == channels and previous == (tap + 1, target - 1):
                span[x, count[x] - 1] += 1
            else:
                begin[x, count[x]], to[x, count[x]], span[x, count[x]] = (taps - 1 - tap) * group, target, 1
                count[x] += 1
            previous = (tap, target)
    return count, begin, to, span


@kernel
def _neurons(
    a: Any,
    touched: Any,
    channels: int,
    bias: Any,
    top: int,
    voltage_kept: float,
    current_kept: float,
    fires: bool,
    u: Any,
    v: Any,
    fired: Any,
    spikes: Any,
    counts: Any,
) -> None:
    """The neuron update over the steps of a [T, N]; neuron i is channel i % channels of position i // channels. `fired` [N] is scratch.

    tz(x * kept / 4096) is taken in doubles: the product has fewer than 53 bits, the division is by a power of two and the cast rounds
    toward zero, so it is exact. Sums are int32 as in Lava. Without branches, so that the compiler makes vector code of it.
    """
    steps, neurons = a.shape
    positions, per_block = neurons // channels, neurons // touched.shape[1]
    for t in range(steps):
        active = 0
        for block in range(touched.shape[1]):
            if touched[t, block]:
                active += per_block
            else:
                for i in range(block * per_block, (block + 1) * per_block):
                    active += (v[i] | u[i] | bias[i]) != 0
        wraps: Any = 0
        clips: Any = 0
        over: Any = 0
        for i in range(neurons):
            summed = np.int32(np.int32(u[i] * current_kept) + (a[t, i] << 6))
            above, below = summed > WRAP, summed <= -WRAP
            wraps += above | below
            current = np.int32(summed - 2 * WRAP * above + 2 * WRAP * below)
            membrane = np.int32(np.int32(v[i] * voltage_kept) + current + (bias[i] << 6))
            clipped = np.int32(min(max(int(membrane), -CLIP), CLIP))
            clips += clipped != membrane
            spike = clipped > top
            over += spike
            fired[i] = spike
            u[i] = current
            v[i] = 0 if spike and fires else clipped
        if current_kept == 0:
            u[:] = 0
        if fires and over:
            for position in range(positions):
                for c in range(channels):
                    if fired[position * channels + c]:
                        spikes[t, c * positions + position] = 1
        counts[0] += wraps
        counts[1] += clips
        counts[2] += 0 if fires else over
        counts[3] += active


@dataclass(frozen=True)
class State:
    """What the neurons of a batch remember between two runs: per layer the current u (kept only where it decays slowly) and the
    membrane v, both int32 [N, neurons] in the simulator's own order (positions, then channels)."""

    u: tuple[NDArray[np.int32], ...]
    v: tuple[NDArray[np.int32], ...]


@dataclass(frozen=True)
class Result:
    """What the simulator computed and counted; the fields are those of `engines.EngineOutput`, and the state to go on from."""

    readout: NDArray[np.int64]
    spikes: dict[str, NDArray[np.uint8]]
    faults: dict[str, int]
    active_updates: dict[str, int]
    state: State


KernelArguments = tuple[Any, Any, Any, Any, Any, Any]  # rows to layout of _scatter


class _Layer:
    """A layer's tables in the form that the kernels take."""

    def __init__(self, program: Program, layer: Layer) -> None:
        self.layer = layer
        self.channels = layer.shape[0]
        self.positions = layer.neurons // self.channels
        self.bias = np.tile(layer.bias.astype(np.int32), self.positions)
        # Neurons that any spike reaches together: the channels of one position, cut by the groups of all synapses.
        self.blocks = lcm(*(s.groups for s in layer.synapses))
        self.synapses: list[tuple[str, tuple[int, int, int], KernelArguments]] = []
        for synapse in layer.synapses:
            table = fan(program, layer, synapse)
            self.synapses.append((synapse.source, source_shape(program, synapse), self._arguments(table, synapse.kind == "dense", synapse.groups)))

    def _arguments(self, table: Fan, dense: bool, groups: int) -> KernelArguments:
        weight, width, channels, blocks = table.weight, self.layer.shape[-1], self.channels, self.blocks
        block_first = (table.first // (self.channels // groups) * (self.blocks // groups)).astype(np.int32)
        block_n = self.blocks // groups
        if dense:  # one target position that holds every neuron: from C, H, W order to the simulator's, positions before channels
            order = np.arange(self.layer.neurons).reshape(self.channels, self.positions).T.reshape(-1)
            weight, width, channels = np.ascontiguousarray(weight[..., order]), 1, self.layer.neurons
            blocks = block_n = self.positions * self.blocks
        taps, group = weight.shape[2:]
        flipped = np.ascontiguousarray(weight[:, :, ::-1]).reshape(*weight.shape[:2], taps * group)
        rows, runs = (table.rows.count, table.rows.tap, table.rows.target), _runs(table.columns, taps, group, channels)
        return rows, runs, flipped, table.first, block_first, (group, width, channels, block_n, blocks)


class Simulator:
    """Runs a program. The same integers come out whatever the number of threads, and however the steps are cut into runs."""

    def __init__(self, program: Program, threads: int | None = None) -> None:
        """`threads`: how many samples at a time; all cores unless told."""
        self.program = program
        self.threads = threads or os.cpu_count() or 1
        self._layers = [_Layer(program, layer) for layer in program.layers]

    def zero_state(self, samples: int) -> State:
        """The state at a sample's start."""
        sizes = [layer.neurons for layer in self.program.layers]
        return State(*(tuple(np.zeros((samples, n), np.int32) for n in sizes) for _ in "uv"))

    def run(self, frames: NDArray[np.uint8], state: State | None = None) -> Result:
        """Runs frames uint8 [N, T, C, H, W] from `state` (zeros if None; it is not changed).

        Runs over the parts of a sample, each from the state of the one before, give what one run over the whole gives; a read-out by
        spike count counts the spikes of its own run.
        """
        samples, steps = frames.shape[:2]
        if frames.dtype != np.uint8 or frames.shape[2:] != self.program.input_shape:
            raise ValueError(f"frames {frames.dtype} {frames.shape}: expected uint8 [N, T, {self.program.input_shape}]")
        start = state or self.zero_state(samples)
        state = State(tuple(u.copy() for u in start.u), tuple(v.copy() for v in start.v))
        spikes = {layer.name: np.zeros((samples, steps, *layer.shape), np.uint8) for layer in self.program.layers if layer.fires}
        counts = np.zeros((samples, len(self._layers), 4), np.int64)

        def work(part: Sequence[int]) -> None:
            for n in part:
                self._run_sample(frames[n], {name: s[n] for name, s in spikes.items()}, [u[n] for u in state.u], [v[n] for v in state.v], counts[n])

        threads = min(self.threads, samples)
        if threads <= 1:
            work(range(samples))
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, [range(i, samples, threads) for i in range(threads)]))
        total = counts.sum((0, 1))
        last = self.program.layers[-1]
        if self.program.readout == "membrane":
            channels = last.shape[0]
            readout = state.v[-1].reshape(samples, -1, channels).transpose(0, 2, 1).reshape(samples, -1).astype(np.int64)
        else:
            readout = spikes[last.name].sum(1, dtype=np.int64).reshape(samples, -1)
        active = {layer.name: int(n) for layer, n in zip(self.program.layers, counts[:, :, 3].sum(0), strict=True)}
        return Result(readout, spikes, {name: int(n) for name, n in zip(FAULTS, total, strict=False)}, active, state)

    def _run_sample(
        self,
        frames: NDArray[np.uint8],
        spikes: dict[str, NDArray[np.uint8]],
        u: list[NDArray[np.int32]],
        v: list[NDArray[np.int32]],
        counts: NDArray[np.int64],
    ) -> None:
        for begin in range(0, len(frames), STEPS_AT_ONCE):
            block = slice(begin, begin + STEPS_AT_ONCE)
            sources = {INPUT: np.ascontiguousarray(frames[block])}
            for i, prepared in enumerate(self._layers):
                layer = prepared.layer
                steps = len(sources[INPUT])
                a = np.zeros((steps, layer.neurons), np.int32)
                touched = np.zeros((steps, prepared.positions * prepared.blocks), np.uint8)
                for source, shape, arguments in prepared.synapses:
                    if source in sources:  # a layer that does not fire sends nothing
                        _scatter(sources[source].reshape(steps, *shape), *arguments, a, touched)
                fired = spikes[layer.name][block] if layer.fires else np.zeros((0, *layer.shape), np.uint8)
                _neurons(
                    a,
                    touched,
                    prepared.channels,
                    prepared.bias,
                    layer.threshold << 6,
                    (DECAY_ONE - layer.voltage_decay) / DECAY_ONE,
                    (DECAY_ONE - layer.current_decay) / DECAY_ONE,
                    layer.fires,
                    u[i],
                    v[i],
                    np.empty(layer.neurons, np.uint8),
                    fired.reshape(len(fired), layer.neurons),
                    counts[i],
                )
                if layer.fires:
                    sources[layer.name] = fired
