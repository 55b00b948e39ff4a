"""Report of `tmkt energy`: every estimator on one counted run.

Estimators differ by orders of magnitude on the same counts (measured on one network: 1.5 uJ to 3.4
mJ), so no number stands alone.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.bundle import Bundle
from tmkt.deploy.energy import ann
from tmkt.deploy.energy.activity import Activity, ChipActivity, count_activity
from tmkt.deploy.energy.constants import Constants, estimators, load_constants
from tmkt.deploy.energy.constants import devices as described
from tmkt.deploy.energy.count_estimators import davies2018, horowitz45nm, lemaire2022
from tmkt.deploy.energy.estimate import Estimate, to_json
from tmkt.deploy.energy.neurobench import neurobench
from tmkt.deploy.energy.placement_estimators import calibrated, pilotnet, static
from tmkt.deploy.warnings import layer_warnings
from tmkt.errors import InputError, nearest

PROXY, CROSSOVER = "45nm-cmos-proxy", "22nm-cmos-proxy"
COUNTED: dict[str, Callable[[Activity, Constants], Estimate]] = {
    "davies2018": davies2018,
    "horowitz45nm": horowitz45nm,
    "lemaire2022": lemaire2022,
}
PLACED: dict[str, Callable[[Activity, ChipActivity, Constants], Estimate]] = {
    "loihi1-calibrated": calibrated,
    "loihi2-pilotnet": pilotnet,
    "loihi1-static": static,
    "loihi2-static": static,
}


def devices() -> list[str]:
    """List the devices that an estimator of energy knows."""
    return [
        name
        for name in described()
        if any(found in COUNTED or found in PLACED for found in estimators(name))
    ]


def check_device(name: str) -> None:
    """Raise InputError, with the nearest name, for a device that no estimator knows."""
    if name not in devices():
        raise InputError(
            f"device {name!r}: unknown, known are {', '.join(devices())}{nearest(name, devices())}"
        )


def estimates(
    activity: Activity, chosen: Sequence[str]
) -> tuple[list[Estimate], list[dict[str, str]]]:
    """Apply every estimator of the devices, in their order, then the proxies.

    Also returns the estimators that give nothing, with the reason.
    """
    found: list[Estimate] = []
    unknown: list[dict[str, str]] = []
    for device in dict.fromkeys([*chosen, PROXY]):
        known = estimators(device)
        for name in [name for name in COUNTED if name in known]:
            found.append(COUNTED[name](activity, load_constants(device, name)))
        for name in [name for name in PLACED if name in known]:
            on = activity.on[device]
            if isinstance(on, str):
                unknown.append({"estimator": name, "device": device, "reason": on})
            else:
                found.append(PLACED[name](activity, on, load_constants(device, name)))
    return found, unknown


def ann_comparisons(activity: Activity, chosen: Sequence[str]) -> list[dict[str, Any]]:
    """Compare the network with its bit-matched ANN: on each chosen chip whose operations have known
    costs, and by the published rule.
    """
    found = []
    for device in chosen:
        on = activity.on.get(device)
        if "bit-matched-ann" in estimators(device) and isinstance(on, ChipActivity):
            costs, assumed = (
                load_constants(device, "loihi1-calibrated"),
                load_constants(device, "bit-matched-ann"),
            )
            found.append(ann.same_chip(activity, on, costs, assumed))
    return [*found, ann.yan2024(activity, load_constants(CROSSOVER, "yan2024"))]


def energy(
    bundle: Bundle,
    chosen: Sequence[str],
    frames: NDArray[np.uint8],
    labels: NDArray[np.int64],
    progress: Callable[[int], None] | None = None,
) -> dict[str, Any]:
    """Run frames uint8 [N, T, 2, H, W] with labels int64 [N] on the simulator and report their
    energy.

    docs/energy-reference.md lists the report's keys. Raises InputError for a device that no
    estimator knows. `progress` is called with the number of samples done.
    """
    for name in chosen:
        check_device(name)
    activity = count_activity(bundle, frames, labels, chosen, progress)
    return {**report(activity, chosen), "warnings": activity_warnings(activity, frames)}


def activity_warnings(activity: Activity, frames: NDArray[np.uint8]) -> list[str]:
    """Give a line on silent and one on saturated layers of a run that was counted on `frames`."""
    trace = activity.trace
    sent = {layer.name: int(layer.spikes.sum()) for layer in trace.layers}
    events = int(np.count_nonzero(frames))
    return layer_warnings(activity.program, trace.steps, trace.samples, events, sent)


def report(activity: Activity, chosen: Sequence[str]) -> dict[str, Any]:
    """Make the report of a counted run."""
    found, unknown = estimates(activity, chosen)
    return {
        "samples": activity.trace.samples,
        "steps": activity.trace.steps,
        "seconds_of_stream": activity.sample_s,
        "trace": _trace(activity),
        "estimates": [to_json(e, activity) for e in found],
        "unknown": unknown,
        "neurobench": neurobench(activity),
        "ann": ann_comparisons(activity, chosen),
    }


def _trace(activity: Activity) -> dict[str, Any]:
    """Report the counts: means per recording, and what depends on the placement on each chip."""
    trace = {
        **activity.trace.to_json(),
        "active_updates_per_sample": float(activity.active.sum((1, 2)).mean()),
    }
    trace["weight_accesses_per_sample"] = float(
        (activity.each("synops") + activity.bias_reads).sum((1, 2)).mean()
    )
    trace["state_accesses_per_sample"] = float(activity.state_accesses.sum((1, 2)).mean())
    trace["chips"] = [
        {
            "device": name,
            "cores": on.placement.cores,
            "chips": on.placement.chips,
            "messages_per_sample": float(on.messages.mean()),
            "hops_per_sample": float(on.hops.mean()),
            "messages_between_chips_per_sample": float(on.between_chips.mean()),
            "step_low_us": 1e6 * float(on.step_low_s.mean()),
            "step_high_us": 1e6 * float(on.step_high_s.mean()),
            "keeps_up": bool(on.step_high_s.max() * 1e6 <= activity.bin_us),
        }
        for name, on in activity.on.items()
        if isinstance(on, ChipActivity)
    ]
    return trace
