"""The reference: an exact simulator of the integer program. tmkt/program/model.py states the
semantics, delivery.py and neurons.py hold the loops.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.kernels import kernel
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, largest_sum
from tmkt.program.simulator.delivery import LANES, deliver
from tmkt.program.simulator.neurons import update, update_plain
from tmkt.program.simulator.synapses import Group, groups_of

FAULTS = ("current_wraps", "membrane_clips", "readout_over_threshold")
# halves the cost of the calls; with more, the sums of a small network no longer fit the second
# cache (measured)
SAMPLES_AT_ONCE = 2
# a layer runs this many steps before the next one does: its sums stay in the cache, however long
# the sample
STEPS_AT_ONCE = 16

Bytes = NDArray[np.uint8]
Sums = NDArray[Any]  # int32, or int16 where they fit


@dataclass(frozen=True)
class State:
    """What the neurons of a batch remember between two runs, in the simulator's own order
    (positions, then channels): per layer the current u, int32 [N, neurons] (of no neurons where it
    is gone after a step), and the membrane v, int32 [N, neurons]; and of the sources that synapses
    look back to (delays, recurrent synapses) the last steps, uint8 [N, steps, sites].
    """

    u: tuple[NDArray[np.int32], ...]
    v: tuple[NDArray[np.int32], ...]
    past: dict[str, Bytes]


@dataclass(frozen=True)
class Result:
    """What the simulator computed and counted; the fields are those of `engines.EngineOutput`, and
    the state to go on from.
    """

    readout: NDArray[np.int64]
    spikes: dict[str, Bytes]
    faults: dict[str, int]
    active_updates: dict[str, int]
    state: State


@dataclass(frozen=True)
class _Path:
    """A synapse, or those of its weights that share a delay: what the source sent `back` steps ago
    arrives now.
    """

    source: str
    recurrent: bool
    back: int
    groups: list[Group]
    reached: (
        list[Group] | None
        # weights of one wherever there is a synapse, to find out which neurons got input; None:
        # `deliver` says it
    )


@dataclass
class _Layer:
    """A layer in the form that the kernels take."""

    layer: Layer
    paths: list[_Path] = field(default_factory=list)
    plain: bool = False
    sums: type[np.int16] | type[np.int32] = np.int32
    shift: int = 0  # of sums in int16
    bias: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    unbiased: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, np.int32))
    touched: tuple[int, int] = (
        0,
        0,
        # positions, blocks of channels that spikes reach together; no blocks: all neurons are always
        # active
    )

    @classmethod
    def of(cls, program: Program, layer: Layer) -> "_Layer":
        positions = layer.neurons // layer.shape[0]
        delayed = any(s.delays is not None for s in layer.synapses)
        blocks = layer.shape[0] if delayed else lcm(*(s.groups for s in layer.synapses))
        out = cls(layer, bias=np.tile(layer.bias.astype(np.int32), positions))
        out.unbiased = (out.bias == 0).astype(np.int32)
        out.touched = (positions, 0 if np.all(layer.bias) else blocks)
        out.plain = layer.current_decay == DECAY_ONE and largest_sum(program, layer) < 2**17
        for synapse in layer.synapses:
            recurrent = synapse.source == layer.name
            for delay in [0] if synapse.delays is None else np.unique(synapse.delays):
                part, reached = synapse, None
                if synapse.delays is not None:
                    here = synapse.delays == delay
                    part = replace(
                        synapse,
                        weight=np.where(here, synapse.weight, 0).astype(np.int16),
                        delays=None,
                    )
                    reached = groups_of(
                        program, layer, replace(part, weight=here.astype(np.int16)), blocks
                    )
                out.paths.append(
                    _Path(
                        synapse.source,
                        recurrent,
                        int(delay) + recurrent,
                        groups_of(program, layer, part, blocks),
                        reached,
                    )
                )
        [path, *more] = out.paths
        group, *others = path.groups
        if (
            out.plain
            and not (more or others or path.reached or path.recurrent)
            and largest_sum(program, layer) >> group.shift < 2**15
        ):
            out.paths = [replace(path, groups=[group.narrow()])]
            out.sums, out.shift = np.int16, group.shift
        return out


class Simulator:
    """Runs a program. The same integers come out whatever the number of threads, and however the
    steps are cut into runs.
    """

    def __init__(self, program: Program, threads: int | None = None) -> None:
        """`threads`: how many samples at a time; all cores unless told."""
        self.program = program
        self.threads = threads or os.cpu_count() or 1
        self._layers = [_Layer.of(program, layer) for layer in program.layers]
        self._back: dict[str, int] = {}  # how many steps of a source are looked back to
        for path in (path for prepared in self._layers for path in prepared.paths if path.back):
            self._back[path.source] = max(self._back.get(path.source, 0), path.back)

    def zero_state(self, samples: int) -> State:
        """The state at a sample's start."""
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
        """Runs frames uint8 [N, T, C, H, W] from `state` (zeros if None; it is not changed).

        Runs over the parts of a sample, each from the state of the one before, give what one run
        over the whole gives; a read-out by spike count counts the spikes of its own run. The spikes
        are views with the channels in the second place.
        """
        samples, steps = frames.shape[:2]
        if frames.dtype != np.uint8 or frames.shape[2:] != self.program.input_shape:
            raise ValueError(
                f"frames {frames.dtype} {frames.shape}: expected uint8 [N, T,"
                f" {self.program.input_shape}]"
            )
        if frames.max(initial=0) > self.program.max_count:
            raise ValueError(
                f"frames up to {frames.max()}: expected at most {self.program.max_count}"
            )
        if state is None:
            state = self.zero_state(samples)
        else:
            state = State(
                tuple(u.copy() for u in state.u),
                tuple(v.copy() for v in state.v),
                {name: p.copy() for name, p in state.past.items()},
            )
        spikes = _spike_arrays(self.program, samples, steps)
        counts = np.zeros((len(self._layers), samples, 4), np.int64)
        together = 1 if self._back or steps > STEPS_AT_ONCE else SAMPLES_AT_ONCE

        def work(parts: Sequence[slice]) -> None:
            scratch = np.empty(
                together
                * min(steps, STEPS_AT_ONCE)
                * max(layer.neurons for layer in self.program.layers)
                + LANES,
                np.int32,
            )
            for part in parts:
                self._run_samples(
                    frames[part],
                    {name: s[part] for name, s in spikes.items()},
                    state,
                    part,
                    counts[:, part],
                    scratch,
                )

        parts = [slice(i, min(i + together, samples)) for i in range(0, samples, together)]
        threads = min(self.threads, len(parts))
        if threads <= 1:
            work(parts)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(work, [parts[i::threads] for i in range(threads)]))
        total = counts.sum((0, 1))
        last = self.program.layers[-1]
        if self.program.readout == "membrane":
            channels = last.shape[0]
            readout = (
                state.v[-1]
                .reshape(samples, -1, channels)
                .transpose(0, 2, 1)
                .reshape(samples, -1)
                .astype(np.int64)
            )
        else:
            readout = (
                channels_first(spikes[last.name], last.shape)
                .sum(1, dtype=np.int64)
                .reshape(samples, -1)
            )
        active = {
            layer.name: int(n)
            for layer, n in zip(self.program.layers, counts[:, :, 3].sum(1), strict=True)
        }
        shown = {
            layer.name: channels_first(spikes[layer.name], layer.shape)
            for layer in self.program.layers
            if layer.fires
        }
        return Result(
            readout,
            shown,
            {name: int(n) for name, n in zip(FAULTS, total, strict=False)},
            active,
            state,
        )

    def _run_samples(
        self,
        frames: Bytes,
        spikes: dict[str, Bytes],
        state: State,
        part: slice,
        counts: NDArray[np.int64],
        scratch: NDArray[np.int32],
    ) -> None:
        """Runs a few samples layer by layer, all their steps in one array: either few steps, or one
        sample block by block.
        """
        samples = len(frames)
        for begin in range(0, frames.shape[1], STEPS_AT_ONCE):
            block = frames[:, begin : begin + STEPS_AT_ONCE]
            steps = samples * block.shape[1]
            sent = {
                INPUT: self._after_past(
                    state, INPUT, part, channels_last(block.reshape(steps, block.shape[2], -1))
                )
            }
            for i, prepared in enumerate(self._layers):
                layer = prepared.layer
                fired = (
                    spikes[layer.name][:, begin : begin + STEPS_AT_ONCE]
                    if layer.fires
                    else np.empty((steps, layer.neurons), np.uint8)
                )
                own = fired.reshape(steps, layer.neurons)
                if layer.name in self._back:  # filled step by step: its own synapses may look back
                    sent[layer.name] = self._after_past(state, layer.name, part, own)
                sums = scratch.view(prepared.sums)[: steps * layer.neurons].reshape(
                    steps, layer.neurons
                )
                _run_layer(
                    prepared,
                    sent,
                    self._back,
                    sums,
                    own,
                    state.u[i][part],
                    state.v[i][part],
                    counts[i],
                )
                if layer.name in self._back:
                    sent[layer.name][self._back[layer.name] :] = own
                elif layer.fires:
                    sent[layer.name] = own
            for source, back in self._back.items():
                state.past[source][part] = sent[source][-back:]

    def _after_past(self, state: State, source: str, part: slice, values: Bytes) -> Bytes:
        return (
            np.concatenate([state.past[source][part.start], values])
            if source in self._back
            else values
        )


def _run_layer(
    prepared: _Layer,
    sent: dict[str, Bytes],
    looked_back: dict[str, int],
    a: Sums,
    spikes: Bytes,
    u: NDArray[np.int32],
    v: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Runs a layer over steps of one or several samples. `sent`: what the sources sent, after as
    many earlier steps as are `looked_back` to. `a` is scratch for the sums (memory that was used
    before: fresh pages cost more than the sums).
    """
    layer, steps, samples = prepared.layer, len(spikes), len(v)
    touched = np.zeros((steps, *prepared.touched), np.uint8)
    add = False
    for path in prepared.paths:
        if path.source in sent and not path.recurrent:  # a layer that does not fire sends nothing
            begin = looked_back.get(path.source, 0) - path.back
            _deliver(path, sent[path.source][begin : begin + steps], add, a, touched)
            add = True
    if not add:
        a[:] = 0
    recurrent = [path for path in prepared.paths if path.recurrent]
    for part in [slice(t, t + 1) for t in range(steps)] if recurrent else [slice(0, steps)]:
        for path in recurrent:
            begin = looked_back[layer.name] - path.back + part.start
            _deliver(path, sent[layer.name][begin : begin + 1], True, a[part], touched[part])
        kept = DECAY_ONE - layer.voltage_decay
        arrays: Any = (a, touched, spikes)
        sums, reached, fired = (
            x[part].reshape(samples, len(x[part]) // samples, *x.shape[1:]) for x in arrays
        )
        if prepared.plain:
            share, per_sum = np.float32(kept / DECAY_ONE), np.float32(64 << prepared.shift)
            split = None if kept & (kept - 1) == 0 else np.float32(kept)
            update_plain(
                sums,
                reached,
                fired,
                prepared.unbiased,
                prepared.bias,
                layer.threshold,
                share,
                split,
                per_sum,
                layer.fires,
                v,
                counts,
            )
        else:
            kept_u = DECAY_ONE - layer.current_decay
            update(
                sums,
                reached,
                fired,
                prepared.unbiased,
                prepared.bias,
                layer.threshold,
                kept,
                kept_u,
                layer.fires,
                u,
                v,
                counts,
            )
        if recurrent:
            sent[layer.name][looked_back[layer.name] + part.start] = spikes[part.start]


def _deliver(path: _Path, values: Bytes, add: bool, a: Sums, touched: Bytes) -> None:
    steps, positions, blocks = touched.shape
    for group in path.groups:
        at = group.positions
        marks = (
            touched.reshape(steps, at, positions * blocks // at)
            if path.reached is None
            else np.zeros((steps, at, 0), np.uint8)
        )
        deliver(values, group.weight, group.shape, add, a, marks)
    if path.reached and blocks:
        reached = np.empty_like(a)
        _deliver(
            replace(path, groups=path.reached, reached=None),
            values,
            False,
            reached,
            np.zeros((steps, positions, 0), np.uint8),
        )
        touched |= (reached > 0).reshape(touched.shape)


def _spike_arrays(program: Program, samples: int, steps: int) -> dict[str, Bytes]:
    """[samples, steps, neurons] for every layer that fires, not filled. One block of memory, so
    that it comes in large pages.
    """
    layers = [layer for layer in program.layers if layer.fires]
    ends = np.cumsum([samples * steps * layer.neurons for layer in layers], dtype=np.int64)
    parts = np.split(np.empty(int(ends[-1]) if layers else 0, np.uint8), ends[:-1])
    return {
        layer.name: part.reshape(samples, steps, layer.neurons)
        for layer, part in zip(layers, parts, strict=False)
    }


@kernel
def channels_last(values: Any) -> Any:
    """uint8 [T, C, positions] as [T, positions * C], the order that the kernels take."""
    steps, channels, positions = values.shape
    out = np.empty((steps, positions * channels), np.uint8)
    for t in range(steps):
        for c in range(channels):
            for position in range(positions):
                out[t, position * channels + c] = values[t, c, position]
    return out


def channels_first(values: Bytes, shape: tuple[int, ...]) -> Bytes:
    """[N, T, sites] in the simulator's order as [N, T, *shape], a view."""
    samples, steps = values.shape[:2]
    return (
        values
        if len(shape) == 1
        else values.reshape(samples, steps, *shape[1:], shape[0]).transpose(0, 1, 4, 2, 3)
    )
