"""Activity of a network on recordings: the counts that every estimator is given."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.energy.active_updates import active_neurons
from tmkt.deploy.energy.calibrated import ESTIMATOR as CALIBRATED
from tmkt.deploy.energy.calibrated import Cost, cost, neurons_by_core
from tmkt.deploy.energy.constants import estimators, load_constants
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.evaluate import batches, check_samples
from tmkt.deploy.fit.device import devices as chips
from tmkt.deploy.fit.device import load_device
from tmkt.deploy.fit.latency import step_time, work_of
from tmkt.deploy.fit.network import from_program
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.placement import Placement
from tmkt.deploy.fit.traffic import Traffic, traffic
from tmkt.deploy.trace import Trace, count, join
from tmkt.program.model import Program

# Active updates are counted under this chip's placement; their sums do not depend on it.
REFERENCE = "loihi1"
PARTS = ("synapse", "soma", "network")
Counts = NDArray[np.float64]
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class ChipActivity:
    """Activity on a chip under the placement of `tmkt fit`, float64.

    `step_low_s`, `step_high_s` [N, T]: least and most time of a step. `messages`, `hops`,
    `between_chips`: [N]. `parts_j`: joules [N, T, layers] for each of PARTS, None on a chip that is
    not calibrated.
    """

    placement: Placement
    step_low_s: Counts
    step_high_s: Counts
    messages: Counts
    hops: Counts
    between_chips: Counts
    parts_j: dict[str, Counts] | None


@dataclass(frozen=True)
class Activity:
    """Counts of N recordings of T steps.

    `active` float64 [N, T, layers]: neurons that had something to do. `on`: the activity on each
    device, or the reason why there is none. `labels`: int64 [N]. `bin_us`: length of a step in the
    stream.
    """

    program: Program
    trace: Trace
    active: Counts
    on: dict[str, ChipActivity | str]
    labels: NDArray[np.int64]
    classes: list[str]
    bin_us: int

    def each(self, kind: str) -> Counts:
        """Return float64 [N, T, layers] of one of the trace's counts.

        `kind`: "synops", "updates", "spikes", "source_spikes" or "nonzero_synops".
        """
        return np.stack([getattr(layer, kind) for layer in self.trace.layers], axis=2).astype(
            np.float64
        )

    @property
    def bias_reads(self) -> Counts:
        """Bias reads, float64 [N, T, layers]: one per update of a layer that has biases.

        A weight is read for each synaptic operation.
        """
        return self.each("updates") * np.array(
            [bool(layer.bias.any()) for layer in self.program.layers], np.float64
        )

    @property
    def state_accesses(self) -> Counts:
        """Membrane accesses, float64 [N, T, layers]: a read and a write per synaptic operation and
        update.

        No partial sums are kept elsewhere.
        """
        return 2 * (self.each("synops") + self.each("updates"))

    @property
    def layers(self) -> tuple[str, ...]:
        return tuple(layer.name for layer in self.trace.layers)

    @property
    def sample_s(self) -> float:
        """Length of a recording in the stream, in seconds."""
        return self.trace.steps * self.bin_us * 1e-6


def count_activity(
    bundle: Bundle,
    frames: Frames,
    labels: NDArray[np.int64],
    devices: Sequence[str],
    progress: Callable[[int], None] | None = None,
) -> Activity:
    """Run frames uint8 [N, T, 2, H, W] on the simulator, batch by batch, and count.

    `progress` is called with the number of samples done.
    """
    check_samples(bundle, frames)
    program, engine = bundle.program, open_engine("simulator", bundle)
    network = from_program(program)
    placed = {
        name: place(network, load_device(name))
        for name in dict.fromkeys([*devices, REFERENCE])
        if name in chips()
    }
    traces: list[Any] = []
    active: list[Any] = []
    parts: dict[str, list[Any]] = {
        name: [] for name in devices if name in placed and not placed[name].misfits
    }
    for batch in batches(program, frames):
        if busy_everywhere(program):
            spikes, busy = engine.run(frames[batch]).spikes, None
        else:
            busy, spikes = active_neurons(program, placed[REFERENCE], frames[batch])
        traces.append(count(program, frames[batch], spikes))
        active.append(_active(traces[-1], busy, placed[REFERENCE]))
        for name, chip in parts.items():
            chip.append(
                _on_chip(
                    placed[name],
                    moved=traffic(placed[name], frames[batch], spikes),
                    active=active[-1],
                    trace=traces[-1],
                    program=program,
                    frames=frames[batch],
                )
            )
        if progress:
            progress(batch.stop)
    on: dict[str, ChipActivity | str] = {name: _join(found) for name, found in parts.items()}
    for name in devices:
        if name in placed and name not in on:
            on[name] = (
                f"{', '.join(p.layer.name for p in placed[name].misfits)} does not fit; see: tmkt"
                f" fit --device {name}"
            )
    return Activity(
        program,
        trace=join(traces),
        active=np.concatenate(active),
        on=on,
        labels=labels,
        classes=bundle.classes,
        bin_us=bundle.contract.bin_us,
    )


def busy_everywhere(program: Program) -> bool:
    """Tell whether every neuron has a bias, and so something to do in every step."""
    return all(bool(np.all(layer.bias)) for layer in program.layers)


def _active(trace: Trace, busy: Counts | None, placement: Placement) -> Counts:
    if busy is None:
        return np.stack([layer.updates for layer in trace.layers], axis=2).astype(np.float64)
    return _by_layer(busy, placement, [layer.name for layer in trace.layers])


def _by_layer(cores: Counts, placement: Placement, layers: Sequence[str]) -> Counts:
    """Sum [..., cores] to [..., layers]."""
    found = (placement.by_name[name] for name in layers)
    return np.stack(
        [cores[..., p.first_core : p.first_core + p.cores].sum(-1) for p in found], axis=-1
    )


def _on_chip(
    placement: Placement,
    moved: Traffic,
    active: Counts,
    trace: Trace,
    program: Program,
    frames: Frames,
) -> ChipActivity:
    low, high = step_time(placement.device, work_of(placement, moved), placement.tiles_used)
    messages, between = (
        sum(getattr(link, what) for link in moved.links) for what in ("messages", "between_chips")
    )
    hops = sum(link.hops_x + link.hops_y for link in moved.links)
    known = None
    if CALIBRATED in estimators(placement.device.name):
        if busy_everywhere(program):
            busy = np.broadcast_to(neurons_by_core(placement), (*active.shape[:2], placement.cores))
        else:
            busy = active_neurons(program, placement, frames)[0]
        known = _parts(
            cost(placement, moved, busy, load_constants(placement.device.name, CALIBRATED)),
            placement,
            moved,
            trace,
        )
    samples = len(frames)
    messages, hops, between = (
        np.broadcast_to(np.asarray(value, np.float64), (samples,))
        for value in (messages, hops, between)
    )
    return ChipActivity(
        placement,
        step_low_s=low,
        step_high_s=high,
        messages=messages,
        hops=hops,
        between_chips=between,
        parts_j=known,
    )


def _parts(found: Cost, placement: Placement, moved: Traffic, trace: Trace) -> dict[str, Counts]:
    """Sum the joules of each part by layer.

    Hops are counted per recording. They are spread over its steps in proportion to the spikes that
    reach the layer.
    """
    names = [layer.name for layer in trace.layers]
    synapse, soma, network = (
        _by_layer(part, placement, names)
        for part in (found.synapse_j, found.soma_j, found.message_j)
    )
    for i, layer in enumerate(trace.layers):
        links = [at for at, link in enumerate(moved.links) if link.target == layer.name]
        spikes = layer.source_spikes / np.maximum(layer.source_spikes.sum(1, keepdims=True), 1)
        network[:, :, i] += found.hop_j[:, links].sum(1)[:, None] * spikes
    return dict(zip(PARTS, (synapse, soma, network), strict=True))


def _join(found: Sequence[ChipActivity]) -> ChipActivity:
    arrays: dict[str, Any] = {
        what: np.concatenate([getattr(part, what) for part in found])
        for what in ("step_low_s", "step_high_s", "messages", "hops", "between_chips")
    }
    known = [part.parts_j for part in found if part.parts_j is not None]
    parts = (
        {name: np.concatenate([part[name] for part in known]) for name in PARTS} if known else None
    )
    return ChipActivity(found[0].placement, **arrays, parts_j=parts)
