"""Layers of a program in the form that the simulator's loops take, and the run of one layer."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.program.arithmetic import (
    CURRENT_LIMIT,
    DECAY_ONE,
    MEMBRANE_LIMIT,
    STATE_ONE,
    STATE_SHIFT,
)
from tmkt.program.model import Layer, Program, Synapse, largest_sum
from tmkt.program.simulator.delivery import LANES
from tmkt.program.simulator.dense import TOGETHER
from tmkt.program.simulator.neurons import (
    MemorylessNeurons,
    Neurons,
    update,
    update_memoryless,
)
from tmkt.program.simulator.synapses import SLAB_BYTES, Deliver, Group, groups_of

# Of sums that stay in the second cache, beside the weights, until the neurons take them in; larger
# layers go band by band (measured on a processor whose cache has 1 MB).
BAND_BYTES = 512_000
LEAST_NARROW = 256  # neurons; fewer gain nothing by int16, and one more loop is compiled for them
LEAST_WRAP = CURRENT_LIMIT >> STATE_SHIFT  # sum with which a current without memory wraps
Bytes = NDArray[np.uint8]
Sums = NDArray[Any]  # int32, or int16 where they fit


@dataclass(frozen=True)
class Path:
    """A synapse, or those of its weights that share a delay.

    `back`: what the source sent so many steps ago arrives now.
    `reached`: weights of one wherever there is a synapse, to find out which neurons got input;
    None: delivery finds it out.
    """

    source: str
    recurrent: bool
    back: int
    groups: list[Group]
    reached: list[Group] | None = None


@dataclass(frozen=True)
class PreparedLayer:
    """A layer in the form that the kernels take.

    `touched`: positions, and blocks of channels that spikes reach together; no blocks where all
    neurons are always active. `bias`: of every neuron, [neurons]. `sums`: the type of the sums.
    `numbers`: the neurons' numbers as an array; a named tuple would cost each call microseconds.
    `in_bands`: bands of positions may go one by one: one group of a synapse, of few enough weights
    to be read again for each, delivers all sums of a position.
    `memoryless`: those for `update_memoryless`, where the current has no memory, with `kept` and
    `limit` for it.
    `may_wrap`: a current may, so that `update` takes those sums with which one does.
    """

    layer: Layer
    paths: list[Path]
    touched: tuple[int, int]
    bias: NDArray[np.int32]
    numbers: NDArray[Any]
    in_bands: bool
    memoryless: NDArray[np.float32] | None = None
    kept: float | None = None
    limit: float | None = float(MEMBRANE_LIMIT)
    may_wrap: bool = True
    sums: type[np.int16] | type[np.int32] = np.int32


@dataclass(frozen=True)
class History:
    """Values that the sources sent in a block of steps, uint8 [steps, sites].

    `earlier`: so many steps from before the block come first, because synapses look back to them.
    """

    values: dict[str, Bytes]
    earlier: dict[str, int]

    def arriving(self, path: Path, begin: int, end: int) -> Bytes:
        """Return what arrives through a path in the steps begin..end of the block."""
        first = self.earlier.get(path.source, 0) - path.back
        return self.values[path.source][first + begin : first + end]

    def append(self, source: str, step: int, spikes: Bytes) -> None:
        """Put in what a source sends in one step of the block."""
        self.values[source][self.earlier[source] + step] = spikes


@dataclass(frozen=True)
class Block:
    """Arrays of one layer over a block of steps of one or several samples.

    `sums` [steps, neurons] is scratch memory that was used before: fresh pages cost more than the
    sums. `spikes`: uint8 [steps, neurons]. `u`, `v`: int32 [samples, neurons]. `counts`: int64
    [samples, 4], the counters of `neurons.update`.
    """

    sums: Sums
    spikes: Bytes
    u: NDArray[np.int32]
    v: NDArray[np.int32]
    counts: NDArray[np.int64]


def prepare(program: Program, layer: Layer) -> PreparedLayer:
    """Prepare a layer, for the fastest loops that are exact for it."""
    positions = layer.neurons // layer.shape[0]
    delayed = any(s.delays is not None for s in layer.synapses)
    blocks = layer.shape[0] if delayed else lcm(*(s.groups for s in layer.synapses))
    paths = [path for s in layer.synapses for path in _paths(program, layer, s, blocks)]
    touched = (positions, 0 if np.all(layer.bias) else blocks)
    bias = np.tile(layer.bias.astype(np.int32), positions)
    kept = DECAY_ONE - layer.voltage_decay
    neurons = Neurons(
        threshold=layer.threshold,
        voltage_kept=kept,
        current_kept=DECAY_ONE - layer.current_decay,
        fires=layer.fires,
    )
    [path, *more], [group, *others] = paths, paths[0].groups
    summed_once = not (more or others or path.reached or path.recurrent)
    few_weights = 2 * group.weight.size <= SLAB_BYTES
    prepared = PreparedLayer(
        layer,
        paths,
        touched,
        bias,
        np.array(neurons, np.int64),
        in_bands=summed_once and group.positions == positions and few_weights,
    )
    if neurons.current_kept:
        return prepared
    largest = largest_sum(program, layer)
    fits = summed_once and largest >> group.shift < 2**15
    narrow = fits and layer.neurons >= LEAST_NARROW
    fast = MemorylessNeurons(
        threshold=layer.threshold << STATE_SHIFT,
        share=kept / DECAY_ONE,
        per_sum=STATE_ONE << group.shift if narrow else STATE_ONE,
        fires=layer.fires,
    )
    power_of_two = kept & (kept - 1) == 0
    return replace(
        prepared,
        paths=[replace(path, groups=[group.narrow()])] if narrow else paths,
        memoryless=np.array(fast, np.float32),
        kept=None if power_of_two else float(kept),
        limit=None if narrow and not _may_clip(layer, largest) else float(MEMBRANE_LIMIT),
        may_wrap=largest >= LEAST_WRAP,
        sums=np.int16 if narrow else np.int32,
    )


def _may_clip(layer: Layer, largest: int) -> bool:
    """Tell whether sums of up to `largest` may carry a membrane that is within the limit beyond it.

    They cannot if they add no more to it than a membrane at the limit loses in a step.
    """
    added = (largest + int(np.abs(layer.bias).max())) << STATE_SHIFT
    return added * DECAY_ONE > layer.voltage_decay * MEMBRANE_LIMIT


def _paths(program: Program, layer: Layer, synapse: Synapse, blocks: int) -> Iterator[Path]:
    recurrent = synapse.source == layer.name
    if synapse.delays is None:
        groups = groups_of(program, layer, synapse, blocks)
        yield Path(synapse.source, recurrent, int(recurrent), groups)
        return
    for delay in np.unique(synapse.delays):
        here = synapse.delays == delay
        groups, reached = (
            groups_of(program, layer, replace(synapse, weight=weight, delays=None), blocks)
            for weight in (
                np.where(here, synapse.weight, 0).astype(np.int16),
                here.astype(np.int16),
            )
        )
        yield Path(synapse.source, recurrent, int(delay) + recurrent, groups, reached)


def run_layer(prepared: PreparedLayer, history: History, block: Block) -> None:
    """Run a layer over a block of steps.

    A layer with recurrent synapses needs a block of one sample and puts its spikes into the history
    step by step.
    """
    steps, name = len(block.spikes), prepared.layer.name
    positions, blocks = prepared.touched
    channels = prepared.layer.neurons // positions
    band = _band(prepared, block)
    taken = [
        _take(path, history.arriving(path, 0, steps), band < positions)
        for path in prepared.paths
        if not path.recurrent and path.source in history.values  # a source may not fire
    ]
    recurrent = [path for path in prepared.paths if path.recurrent]
    sums = block.sums
    for first in range(0, positions, band):
        count = min(band, positions - first)
        if band < positions:
            sums = block.sums.reshape(-1)[: steps * count * channels].reshape(steps, -1)
        touched = np.zeros((steps, count, blocks), np.uint8)
        for i, deliver in enumerate(taken):
            deliver(first, i > 0, sums, touched)
        if not taken:
            sums[:] = 0
        if not recurrent:
            update_neurons(prepared, block, first, sums, touched, block.spikes)
    for t in range(steps if recurrent else 0):
        now = slice(t, t + 1)
        for path in recurrent:
            deliver = _take(path, history.arriving(path, t, t + 1), False)
            deliver(0, True, sums[now], touched[now])
        update_neurons(prepared, block, 0, sums[now], touched[now], block.spikes[now])
        history.append(name, t, block.spikes[t])


def _band(prepared: PreparedLayer, block: Block) -> int:
    """Return how many positions are delivered to and updated before the next ones are.

    All, if the sums of a sample are small: bands gain nothing between samples.
    """
    positions, size = prepared.touched[0], block.sums.nbytes
    if not prepared.in_bands or size < 2 * BAND_BYTES * len(block.v):
        return positions
    return positions * BAND_BYTES // size // TOGETHER * TOGETHER or TOGETHER


def update_neurons(
    prepared: PreparedLayer, block: Block, first: int, sums: Sums, touched: Bytes, spikes: Bytes
) -> None:
    """Update the neurons of a layer's positions from `first` on, in some steps of a block.

    `sums`, `touched`: of these positions in these steps. `spikes`: of the layer in these steps.
    """
    each = (len(block.v), len(sums) // len(block.v))  # samples, and steps of each
    arrays: Any = {
        "first": first * (prepared.layer.neurons // prepared.touched[0]),
        "bias": prepared.bias,
        "sums": sums.reshape(*each, sums.shape[1]),
        "touched": touched.reshape(*each, *touched.shape[1:]),
        "spikes": spikes.reshape(*each, spikes.shape[1]),
        "v": block.v,
        "counts": block.counts,
    }
    fast = prepared.memoryless
    if fast is None or (
        prepared.may_wrap and (sums.max() >= LEAST_WRAP or -sums.min() >= LEAST_WRAP)
    ):
        update(**arrays, numbers=prepared.numbers, u=block.u)
    else:
        update_memoryless(**arrays, numbers=fast, kept=prepared.kept, limit=prepared.limit)


def _take(path: Path, values: Bytes, in_bands: bool) -> Deliver:
    """Take in what arrives through a path, by all of its groups."""
    groups = [(group, group.take(values, in_bands)) for group in path.groups]
    ones = None
    if path.reached:
        ones = _take(replace(path, groups=path.reached, reached=None), values, in_bands)

    def deliver(first: int, add: bool, sums: Sums, touched: Bytes) -> None:
        steps, positions, blocks = touched.shape
        if len(groups) > 1 and not add:  # one's padded rows reach into the next position's sums
            sums[:] = 0
            add = True
        for group, deliver_group in groups:
            own = min(group.positions, positions)  # a dense synapse has one
            if ones:
                marks = np.zeros((steps, own, 0), np.uint8)
            else:
                marks = touched.reshape(steps, own, positions * blocks // own)
            deliver_group(first, add, sums, marks)
        if ones and blocks:
            reached = np.empty(sums.size + LANES, sums.dtype)[: sums.size].reshape(sums.shape)
            ones(first, False, reached, np.zeros((steps, positions, 0), np.uint8))
            touched |= (reached > 0).reshape(touched.shape)

    return deliver
