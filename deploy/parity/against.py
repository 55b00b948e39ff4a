"""Comparison of recorded spikes and membranes with the simulator.

A chip answers later than a program that computes layer after layer: each layer is aligned by the
latency at which it differs least.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.simulator import SimulatorEngine
from tmkt.deploy.engines.types import EngineOutput
from tmkt.deploy.evaluate import check_samples
from tmkt.deploy.parity.compare import LayerCounts
from tmkt.deploy.parity.divergence import Batch, describe
from tmkt.deploy.recorded.record import membranes_of
from tmkt.deploy.recorded.types import Recorded
from tmkt.errors import InputError
from tmkt.program.model import INPUT, Layer

MOST_LATENCY = 64  # steps that are tried; ours, twice the layers of a deep network


@dataclass
class LayerAgainst(LayerCounts):
    """Comparison of one recorded layer.

    `latency`: steps by which the recording is behind the simulator; None where nothing tells it,
    because neither side spikes. `steps`: those that both sides have. Membranes are compared where
    neither side fires in that step: some record them before the reset, others after it.
    """

    latency: int | None = None
    steps: int = 0


def recorded_frames(
    bundle: Bundle, recorded: Recorded, given: NDArray[np.uint8] | None
) -> NDArray[np.uint8]:
    """Give the frames uint8 [N, T, *input shape] that a recording was made of: `given`, or else
    those that it holds itself. InputError where there are none, or both and they differ.
    """
    shape = bundle.contract.shape
    own = recorded.input
    if own is not None:
        if own.shape[2] != int(np.prod(shape)):
            raise InputError(
                f"{bundle.path}: the recorded input has {own.shape[2]} sites, expected"
                f" {int(np.prod(shape))} as the network; record this bundle"
            )
        own = own.reshape(*own.shape[:2], *shape)
        if given is not None and not np.array_equal(own, given):
            raise InputError(
                f"{bundle.path}: the recorded input {own.shape} is not that of the recordings of"
                f" --data {given.shape}; leave --data out, or give the same --split and --limit"
            )
        return own
    if given is None:
        raise InputError(
            f"{bundle.path}: no input is recorded, expected the recordings that it was made of; add"
            " --data DIR"
        )
    return given


def against(
    bundle: Bundle,
    recorded: Recorded,
    frames: NDArray[np.uint8],
    max_mismatches: int = 0,
) -> dict[str, Any]:
    """Compare recorded layers with the simulator over frames uint8 [N, T, *input shape].

    Passes if at most `max_mismatches` spikes and membranes together differ. Returns reference,
    samples, passed, failures, max_mismatches, layers (a `LayerAgainst` each), not_recorded (names)
    and first_divergence, as in `EngineReport`. InputError for layers that the bundle does not have.
    """
    if frames.shape[1] == bundle.contract.bins:
        check_samples(bundle, frames)
    known = {layer.name: layer for layer in bundle.program.layers}
    for name, _, values in recorded.arrays:
        _check_layer(bundle, known, name, values, frames)
    expected = SimulatorEngine(bundle, None).run(frames)
    membranes = membranes_of(bundle.program, frames) if recorded.membranes else {}
    layers: list[LayerAgainst] = []
    found: dict[str, NDArray[np.uint8]] = {}
    for layer in bundle.program.layers:
        if layer.name not in recorded.spikes and layer.name not in recorded.membranes:
            continue
        ours = expected.spikes.get(layer.name, np.zeros((*frames.shape[:2], 0), np.uint8))
        compared, aligned = _compare(
            layer,
            recorded,
            ours.reshape(*frames.shape[:2], -1),
            membranes.get(layer.name),
        )
        layers.append(compared)
        if aligned is not None:
            found[layer.name] = aligned
    spikes, values = (
        sum(getattr(layer, f"{what}_mismatches") for layer in layers)
        for what in ("spike", "membrane")
    )
    passed = spikes + values <= max_mismatches
    return {
        "reference": "simulator",
        "samples": len(frames),
        "passed": passed,
        "failures": []
        if passed
        else [f"the recording differs in {spikes} spikes and {values} membranes"],
        "max_mismatches": max_mismatches,
        "layers": [asdict(layer) for layer in layers],
        "not_recorded": [name for name in known if not any(layer.name == name for layer in layers)],
        "first_divergence": _first(bundle, frames, found, expected, layers),
    }


def _check_layer(
    bundle: Bundle,
    known: dict[str, Layer],
    name: str,
    values: NDArray[Any],
    frames: NDArray[np.uint8],
) -> None:
    if name == INPUT:
        return
    if name not in known:
        raise InputError(
            f"{bundle.path}: the recording has a layer {name!r}, expected some of"
            f" {', '.join(known)}; name the layers as the program does"
        )
    neurons = known[name].neurons
    if values.shape[2] != neurons or len(values) != len(frames):
        raise InputError(
            f"{bundle.path}: {name} was recorded in {len(values)} samples and {values.shape[2]}"
            f" neurons, expected {len(frames)} and {neurons}; record the same recordings"
        )


def _compare(
    layer: Layer,
    recorded: Recorded,
    ours: NDArray[np.uint8],
    our_membranes: NDArray[np.int64] | None,
) -> tuple[LayerAgainst, NDArray[np.uint8] | None]:
    """Compare one layer; also give its spikes, aligned, [N, T', *shape], if they are recorded."""
    # an integrator has no spikes to compare
    spikes = recorded.spikes.get(layer.name) if layer.fires else None
    membranes = recorded.membranes.get(layer.name)
    latency: int | None = None
    if spikes is not None and (spikes.any() or ours.any()):
        latency = _latency(spikes, ours)
    elif membranes is not None and our_membranes is not None:
        latency = _latency(membranes, our_membranes)
    late = latency or 0
    counts = {"spikes_compared": 0}
    aligned = None
    steps = ours.shape[1]
    quiet: NDArray[np.bool_] | None = None
    if spikes is not None:
        aligned = spikes[:, late : late + steps]
        steps = aligned.shape[1]
        right = ours[:, :steps]
        quiet = (aligned == 0) & (right == 0)
        counts |= {
            "spikes_compared": aligned.size,
            "spike_mismatches": int(np.count_nonzero(aligned != right)),
            "spikes": int(aligned.sum(dtype=np.int64)),
            "reference_spikes": int(right.sum(dtype=np.int64)),
        }
        aligned = aligned.reshape(*aligned.shape[:2], *layer.shape)
    if membranes is not None and our_membranes is not None:
        theirs = membranes[:, late : late + steps]
        steps = theirs.shape[1]
        right_v = our_membranes[:, :steps]
        fired = ours[:, :steps] > 0 if layer.fires else np.zeros(theirs.shape, bool)
        where = ~fired if quiet is None else quiet[:, :steps]
        counts |= {
            "membranes_compared": int(np.count_nonzero(where)),
            "membrane_mismatches": int(np.count_nonzero((theirs != right_v) & where)),
        }
    return LayerAgainst(layer.name, **counts, latency=latency, steps=steps), aligned


def _latency(theirs: NDArray[Any], ours: NDArray[Any]) -> int:
    """Find the latency at which the share of values that differ is least; the smallest of equals.

    Values that neither side has left from zero tell nothing, so they do not count. At least half
    of our steps must overlap.
    """
    best, least = 0, np.inf
    for latency in range(min(MOST_LATENCY, theirs.shape[1] - 1) + 1):
        part = theirs[:, latency : latency + ours.shape[1]]
        if latency and 2 * part.shape[1] < ours.shape[1]:
            break
        right = ours[:, : part.shape[1]]
        moved = np.count_nonzero((part != 0) | (right != 0))
        share = np.count_nonzero(part != right) / moved if moved else np.inf
        if share < least:
            best, least = latency, share
    return best


def _first(
    bundle: Bundle,
    frames: NDArray[np.uint8],
    found: dict[str, NDArray[np.uint8]],
    expected: EngineOutput,
    layers: list[LayerAgainst],
) -> dict[str, Any] | None:
    """Describe the first spike that differs: in the first sample, the earliest step, then layer."""
    if not found:
        return None
    steps = min(layer.steps for layer in layers)
    frames = frames[:, :steps]
    found = {name: values[:, :steps] for name, values in found.items()}
    right = {name: values[:, :steps] for name, values in expected.spikes.items()}
    places = []
    for order, layer in enumerate(bundle.program.layers):
        if layer.name in found:
            differs = found[layer.name] != right[layer.name]
            differs = differs.reshape(*differs.shape[:2], -1)
            if differs.any():
                sample, step, neuron = np.argwhere(differs)[0].tolist()
                places.append((sample, step, order, neuron))
    if not places:
        return None
    sample, step, order, neuron = min(places)
    batch = Batch(
        bundle.program,
        0,
        frames,
        EngineOutput(expected.readout, found),
        EngineOutput(expected.readout, right),
    )
    return describe(batch, bundle.program.layers[order], (sample, step, neuron), is_readout=False)
