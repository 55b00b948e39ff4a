"""Recordings for the page's player: events, spikes of every layer, and the read-out by step."""

import json
import math
import zlib
from base64 import b64encode
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.datasets.reading import seen_chunks
from tmkt.datasets.types import Recording
from tmkt.deploy.report.gather import Samples
from tmkt.events.frames import InputContract
from tmkt.events.types import Events
from tmkt.program.model import Layer
from tmkt.program.simulator.simulator import Simulator
from tmkt.readers.strict import collect

MOST_SAMPLES, MOST_WRONG = 12, 4
# Bytes of compressed arrays of all samples, 3.2 MB as text: the page stays below 5 MB.
MOST_PACKED = 2_400_000
# Of a recording with more events, every second, third, ... is shown.
MOST_EVENTS = 60_000
# Of a layer with more bytes per recording, before compression, the first channels are shown.
MOST_SPIKE_BYTES = 60_000
MOST_STEPS = 2_000  # that are shown
MOST_READOUT = 150_000  # values of the read-out in them


@dataclass(frozen=True)
class Replay:
    """Activity on one recording: `spikes` uint8 [T, *shape] by layer, `readout` int64 [T, K] after
    every step.
    """

    spikes: dict[str, NDArray[np.uint8]]
    readout: NDArray[np.int64]


def choose(labels: NDArray[np.int64], predictions: NDArray[np.int64]) -> list[int]:
    """Choose the recordings to show, in their order.

    Up to MOST_WRONG wrong answers, then right ones, class after class.
    """
    wrong = np.flatnonzero(labels != predictions)[:MOST_WRONG].tolist()
    right = np.flatnonzero(labels == predictions)
    of_class = {
        int(label): right[labels[right] == label].tolist() for label in np.unique(labels[right])
    }
    chosen: list[int] = list(wrong)
    while len(chosen) < MOST_SAMPLES and any(of_class.values()):
        for found in of_class.values():
            if found and len(chosen) < MOST_SAMPLES:
                chosen.append(found.pop(0))
    return sorted(chosen)


def shown_steps(bundle: Bundle) -> int:
    """Return the number of steps that the player shows: all, unless they are very many."""
    return max(1, min(bundle.contract.bins, MOST_STEPS, MOST_READOUT // bundle.program.classes))


def replay(simulator: Simulator, frames: NDArray[np.uint8]) -> Replay:
    """Run one recording, uint8 [T, 2, H, W], step by step, which also gives the read-out between
    the steps.
    """
    parts = []
    state = simulator.zero_state(1)
    for step in range(len(frames)):
        result = simulator.run(frames[None, step : step + 1], state)
        state = result.state
        parts.append(
            (
                result.readout[0],
                {name: spikes[0, 0].copy() for name, spikes in result.spikes.items()},
            )
        )
    readout = np.stack([part[0] for part in parts])
    if simulator.program.readout == "spikes":
        readout = np.cumsum(readout, axis=0)
    spikes = {name: np.stack([part[1][name] for part in parts]) for name in parts[0][1]}
    return Replay(spikes, readout)


def pack_samples(
    bundle: Bundle, samples: Samples, predictions: NDArray[np.int64]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Make the report's entries of the chosen recordings and the data of the player.

    An entry has name, label, prediction, events and read-out. As many recordings are packed as
    MOST_PACKED allows, at least one.
    """
    entries: list[dict[str, Any]] = []
    packed: list[dict[str, Any]] = []
    size = 0
    simulator, steps = Simulator(bundle.program, 1), shown_steps(bundle)
    for i in choose(samples.labels, predictions):
        recording = samples.recordings[i]
        events = _events(bundle, recording, samples.frames[i])
        shown = replay(simulator, samples.frames[i])
        block = _pack(events, bundle, shown, steps)
        size += block["bytes"] + len(json.dumps(block["readout"])) * 3 // 4
        if size > MOST_PACKED and entries:
            break
        name = recording.title
        since = events.t - _start_us(bundle, events)
        seen = int(np.count_nonzero(since < bundle.contract.bins * bundle.contract.bin_us))
        names = {
            "label": bundle.classes[recording.label],
            "prediction": bundle.classes[int(predictions[i])],
        }
        entries.append(
            {"recording": name, **names, "events": seen, "readout": shown.readout[-1].tolist()}
        )
        region = recording.view.region if recording.view else None
        box = None if region is None else [region[1], region[0], region[3], region[2]]
        packed.append(
            {
                **block,
                "label": recording.label,
                "prediction": int(predictions[i]),
                "sensor": list(events.sensor),
                "box": box,
            }
        )
    return entries, {**_layers(bundle, steps), "samples": packed}


def _events(bundle: Bundle, recording: Recording, frames: NDArray[np.uint8]) -> Events:
    """Give what a recording holds as events. Those of channels are a raster: a row a channel, a
    column a time step, on events alone.
    """
    if isinstance(bundle.contract, InputContract):
        sensor = recording.view.sensor if recording.view else bundle.contract.sensor
        return collect(seen_chunks(recording, bundle.contract), sensor, recording.path)
    steps, channels = len(frames), bundle.contract.channels
    counts = frames.reshape(steps, channels)
    step, channel = (np.repeat(axis, counts[counts > 0]) for axis in np.nonzero(counts))
    return Events(
        step.astype(np.int64) * bundle.contract.bin_us,
        step.astype(np.uint16),
        channel.astype(np.uint16),
        np.ones(len(step), np.uint8),
        (channels, steps),
    )


def _start_us(bundle: Bundle, events: Events) -> int:
    """Give the time at which the first bin begins."""
    return int(events.t[0]) if isinstance(bundle.contract, InputContract) else 0


def _layers(bundle: Bundle, steps: int) -> dict[str, Any]:
    """Describe what all samples have in common."""
    last = bundle.program.layers[-1]
    unit = 64.0 * last.scale if last.scale and bundle.program.readout == "membrane" else 1.0
    kind = (
        "spikes so far"
        if bundle.program.readout == "spikes"
        else "membrane, in thresholds"
        if unit > 1
        else "membrane"
    )
    layers = []
    for layer in bundle.program.layers:
        if layer.fires:
            shape = _picture(layer)
            kept = _channels(shape, steps)
            neurons = min(layer.neurons, kept * shape[1] * shape[2])
            layers.append(
                {
                    "name": layer.name,
                    "channels": shape[0],
                    "neurons": neurons,
                    "shape": [kept, *shape[1:]],
                }
            )
    contract = bundle.contract
    return {
        "raster": not isinstance(contract, InputContract),
        "shown": steps,
        "bins": contract.bins,
        "bin_us": contract.bin_us,
        "classes": bundle.classes,
        "layers": layers,
        "unit": unit,
        "kind": kind,
    }


def _picture(layer: Layer) -> tuple[int, int, int]:
    """Return (channels, rows, columns) of a layer's picture.

    Neurons without places are drawn as a square that need not be full.
    """
    if len(layer.shape) == 3:
        channels, rows, columns = layer.shape
        return channels, rows, columns
    columns = math.ceil(math.sqrt(layer.neurons))
    return 1, math.ceil(layer.neurons / columns), columns


def _channels(shape: tuple[int, ...], steps: int) -> int:
    """Return the number of channels that are shown."""
    return int(np.clip(8 * MOST_SPIKE_BYTES // (steps * shape[1] * shape[2]), 1, shape[0]))


def _pack(events: Events, bundle: Bundle, shown: Replay, steps: int) -> dict[str, Any]:
    """Pack one recording into one deflated block.

    It holds time differences as uint32, x and y as uint16, polarities as uint8, then bit-packed
    spikes, layer by layer.
    """
    since = events.t - _start_us(bundle, events)
    inside = since < steps * bundle.contract.bin_us
    every = max(1, int(np.ceil(np.count_nonzero(inside) / MOST_EVENTS)))
    kept = np.flatnonzero(inside)[::every]
    t = since[kept]
    parts = [
        np.diff(t, prepend=0).astype("<u4"),
        events.x[kept].astype("<u2"),
        events.y[kept].astype("<u2"),
        events.p[kept].astype(np.uint8),
    ]
    for layer in bundle.program.layers:
        if layer.fires:
            shape = _picture(layer)
            spikes = shown.spikes[layer.name][:steps].reshape(steps, -1)
            size = _channels(shape, steps) * shape[1] * shape[2]
            parts.append(
                np.packbits(
                    np.pad(spikes[:, :size], ((0, 0), (0, max(0, size - layer.neurons)))), axis=1
                )
            )
    block = zlib.compress(b"".join(part.tobytes() for part in parts), 9)
    return {
        "bytes": len(block),
        "events": len(t),
        "every": every,
        "readout": shown.readout[:steps].tolist(),
        "data": b64encode(block).decode("ascii"),
    }
