"""Report of `tmkt fit`: cores and their use, traffic, the time of a step, and changes to a network
that does not fit.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.engines.registry import open_engine
from tmkt.deploy.evaluate import batches, check_samples
from tmkt.deploy.fit.advice import advise
from tmkt.deploy.fit.device import Device
from tmkt.deploy.fit.latency import step_time, work_of
from tmkt.deploy.fit.network import Network
from tmkt.deploy.fit.place import place
from tmkt.deploy.fit.placement import LayerPlacement, Placement, capacity, describe
from tmkt.deploy.fit.traffic import Traffic, expected, traffic
from tmkt.program.model import INPUT

# spikes a neuron and step that a time is given for where nothing is counted: our choice, small
# event networks fire within it
RATES = (0.01, 0.10)
MICRO = 1e6
Frames = NDArray[np.uint8]


def fit(
    network: Network,
    device: Device,
    chips: int | None = None,
    spread: int | None = None,
    bundle: Bundle | None = None,
    frames: Frames | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Place a network; returns the report as a dictionary for JSON.

    `chips`: number of chips at hand, by default the device's largest system. `spread`: use up to so
    many cores, for speed. `bundle` and frames uint8 [N, T, 2, H, W]: count traffic and time on
    these recordings; else the time is for RATES and traffic is None.
    """
    runs = None if bundle is None or frames is None else _Runs(bundle, frames)
    rates = None if runs is None or spread is None else runs.rates()
    placement = place(network, device, cores=spread, rates=rates)
    worst = place(network, device, device.sharing[-1]) if len(device.sharing) > 1 else placement
    fits = placement.fits(chips)
    changes, changed = ([], None) if fits else advise(placement, chips)
    counted, time = None, None
    if not placement.misfits:
        if runs is None:
            time = _assumed_time(placement)
        else:
            counted, time = runs.count(placement, progress)
    return {
        "device": device.name,
        "title": device.title,
        "fits": fits,
        "cores": None if placement.misfits else placement.cores,
        "chips": None if placement.misfits else placement.chips,
        "cores_without_sharing": None if worst.misfits else worst.cores,
        "chips_without_sharing": None if worst.misfits else worst.chips,
        "chips_allowed": chips or device.limits.chips,
        "cores_per_chip": device.limits.cores,
        "relay_neurons": network.relay_neurons,
        "layers": [_layer(placed, placement) for placed in placement.layers],
        "traffic": counted,
        "step_time": time,
        "changes": [
            {"layer": c.layer, "change": c.text, "weights_lost": c.weights_lost} for c in changes
        ],
        "changed": None if changed is None else {"cores": changed.cores, "chips": changed.chips},
        "limits": [
            dict(zip(("name", "value", "status", "source"), row, strict=True))
            for row in device.sources
        ],
    }


def _layer(placed: LayerPlacement, placement: Placement) -> dict[str, Any]:
    held = capacity(placement.device)
    return {
        "name": placed.layer.name,
        "shape": list(placed.layer.shape),
        "neurons": placed.layer.neurons,
        "cores": None if placed.over else placed.cores,
        "tile": None if placed.over else describe(placed),
        "use": {name: {"used": placed.used[name], "limit": limit} for name, limit in held.items()},
        "over": list(placed.over),
        "binding_limit": placed.binding,
    }


def _assumed_time(placement: Placement) -> dict[str, Any]:
    ends = [
        step_time(
            placement.device, work_of(placement, expected(placement, rate)), placement.tiles_used
        )[i]
        for i, rate in enumerate(RATES)
    ]
    return {
        "low_us": float(ends[0].max()) * MICRO,
        "high_us": float(ends[1].max()) * MICRO,
        "assumed_rates": list(RATES),
        "slowest_high_us": None,
    }


class _Runs:
    """Recordings that a bundle runs on the simulator, batch by batch."""

    def __init__(self, bundle: Bundle, frames: Frames) -> None:
        check_samples(bundle, frames)
        self.bundle, self.frames, self.engine = bundle, frames, open_engine("simulator", bundle)
        self.batches = list(batches(bundle.program, frames))

    def rates(self) -> dict[str, float]:
        """Count spikes a site and step of every source, in the first batch."""
        batch = self.frames[self.batches[0]]
        sources = {INPUT: batch, **self.engine.run(batch).spikes}
        return {
            name: float(np.count_nonzero(spikes) / spikes.size) for name, spikes in sources.items()
        }

    def count(
        self, placement: Placement, progress: Callable[[int], None] | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Count traffic and time, means over samples and steps."""
        low, high, links, per_core = [], [], [], []
        for batch in self.batches:
            counted = traffic(
                placement, self.frames[batch], self.engine.run(self.frames[batch]).spikes
            )
            ends = step_time(placement.device, work_of(placement, counted), placement.tiles_used)
            low.append(ends[0])
            high.append(ends[1])
            links.append(counted.links)
            per_core.append(_sums(counted))
            if progress:
                progress(batch.stop)
        samples, steps = self.frames.shape[:2]
        step = {
            "low_us": float(np.concatenate(low).mean()) * MICRO,
            "high_us": float(np.concatenate(high).mean()) * MICRO,
            "assumed_rates": None,
            "slowest_high_us": float(np.concatenate(high).max()) * MICRO,
        }
        synops, messages = np.sum(per_core, axis=0) / (samples * steps)
        busiest = int(np.argmax(synops))
        owner = next(
            placed
            for placed in placement.layers
            if placed.first_core <= busiest < placed.first_core + placed.cores
        )
        report = {
            "samples": samples,
            "steps": steps,
            "links": [
                _link(same, samples, same[0].source in placement.by_name)
                for same in zip(*links, strict=True)
            ],
            "busiest_core": {
                "layer": owner.layer.name,
                "synops_per_step": float(synops[busiest]),
                "mean_synops_per_step": float(synops.mean()),
                "messages_in_per_step": float(messages[busiest]),
            },
        }
        for key in ("messages", "hops", "between_chips"):
            report[f"{key}_per_sample"] = sum(
                link[f"{key}_per_sample"] or 0.0 for link in report["links"]
            )
        return report, step


def _sums(counted: Traffic) -> NDArray[np.float64]:
    """Sum synaptic operations and messages in over samples and steps: [2, cores]."""
    return np.stack(
        [sum(part.sum((0, 1)) for part in counted.synops.values()), counted.messages_in.sum((0, 1))]
    )


def _link(same: tuple[Any, ...], samples: int, on_cores: bool) -> dict[str, Any]:
    """Sum one link over all batches. The way of a source that is not on cores is not known."""
    total = {
        what: sum(float(getattr(link, what).sum()) for link in same)
        for what in ("messages", "hops_x", "hops_y", "between_chips")
    }
    return {
        "source": same[0].source,
        "target": same[0].target,
        "messages_per_sample": total["messages"] / samples,
        "hops_per_sample": (total["hops_x"] + total["hops_y"]) / samples if on_cores else None,
        "between_chips_per_sample": total["between_chips"] / samples if on_cores else None,
    }
