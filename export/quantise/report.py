"""Report what quantisation did to each layer: the rows of the manifest's `quantisation`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.console import significant
from tmkt.nir.lower import FloatLayer
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.health import SILENT, Activity, cause_of_saturation, cause_of_silence
from tmkt.program.model import Layer
from tmkt.program.weight_grid import WeightGrid

# A layer is dying below this share of the float network's spikes, and a neuron is saturated that
# fires in more than this share of the steps; ours.
DEAD, SATURATED = 0.1, 0.9


def describe_weights(
    exact: FloatLayer, layer: Layer, grid: WeightGrid, limited_by: str
) -> dict[str, Any]:
    """Describe a layer's integers.

    `layer`, `bits`, `step` and `scale` (tmkt.program.weight_grid.WeightGrid), `limited_by` (what
    decided the scale), `largest_weight`, `grid_used` (share of the grid's levels that occur),
    `clipped_weights` (share more than half a step beyond its end), `largest_bias`,
    `weight_error_rms` (relative), `zero_weights` (share), `silent_channels` (outputs without any
    weight but zero), `voltage_decay`, `current_decay`, `decay_error` (relative).
    """
    assert layer.scale is not None
    distinct = {
        id(weight): (weight, synapse.weight)
        for weight, synapse in zip(exact.weights, layer.synapses, strict=True)
    }.values()
    wanted, found = (
        np.concatenate([pair[i].reshape(len(pair[i]), -1) for pair in distinct], 1)
        for i in range(2)
    )
    return {
        "layer": layer.name,
        "bits": grid.bits,
        "step": grid.step,
        "scale": layer.scale,
        "limited_by": limited_by,
        "largest_weight": int(np.abs(found).max()),
        "grid_used": len(np.unique(found)) / (2**grid.bits - 1),
        "clipped_weights": float(
            (np.abs(wanted * layer.scale) > grid.limit + grid.step / 2).mean()
        ),
        "largest_bias": int(np.abs(layer.bias).max(initial=0)),
        "weight_error_rms": float(
            np.sqrt(((found / layer.scale - wanted) ** 2).mean() / (wanted**2).mean())
        ),
        "zero_weights": float((found == 0).mean()),
        "silent_channels": int((~found.any(1)).sum()),
        "voltage_decay": layer.voltage_decay,
        "current_decay": layer.current_decay,
        "decay_error": (
            0.0 if exact.decay == 0 else abs(layer.voltage_decay / DECAY_ONE / exact.decay - 1)
        ),
    }


def describe_spikes(expected: NDArray[np.uint8], found: NDArray[np.uint8]) -> dict[str, Any]:
    """Describe a layer's spikes on the calibration recordings, [N, T, ...]: `spike_rate` and
    `spike_rate_float` (per neuron and step), `spike_rate_change` (relative; None where the float
    network is silent), `silent_neurons`, `silent_neurons_float`, `saturated_neurons` (shares:
    never, and nearly always firing), `warning` (None, or what is wrong).
    """
    if found.ndim == 5:
        expected = expected[..., : found.shape[-2], : found.shape[-1]]
    counts = found.sum((0, 1), dtype=np.int64)
    rate, wanted = float(found.mean()), float(expected.mean())
    saturated = float((counts > SATURATED * found.shape[0] * found.shape[1]).mean())
    warning = None
    if not counts.any():
        warning = "dead: no neuron ever fires" + (
            ""
            if wanted == 0
            else f", of {_percent(wanted)} in the float network; use more bits or --finetune"
        )
    elif rate < DEAD * wanted:
        warning = (
            f"dying: {_percent(rate)} of neurons and steps spike, of {_percent(wanted)} in the"
            " float network; use more bits or --finetune"
        )
    elif rate < SILENT:
        warning = f"silent: {_percent(rate)} of neurons and steps spike"
    elif saturated > 0.5:
        warning = f"saturated: {100 * saturated:.0f} % of its neurons nearly always fire"
    return {
        "spike_rate": rate,
        "spike_rate_float": wanted,
        "spike_rate_change": rate / wanted - 1 if wanted else None,
        "silent_neurons": float((counts == 0).mean()),
        "silent_neurons_float": float((~expected.any((0, 1))).mean()),
        "saturated_neurons": saturated,
        "warning": warning,
    }


def add_cause(entry: dict[str, Any], layer: Layer, activity: Activity) -> None:
    """Add the likely cause to a layer's warning, where the float network is no better."""
    warning = entry["warning"]
    if warning is None:
        return
    if warning.startswith("saturated"):
        entry["warning"] = f"{warning}; {cause_of_saturation(layer)}"
    elif entry["spike_rate_float"] < SILENT:
        entry["warning"] = f"{warning}; {cause_of_silence(layer, activity)}"


def describe_answers(
    expected: NDArray[Any], found: NDArray[Any], labels: NDArray[np.int64] | None
) -> dict[str, Any]:
    """Describe the read-out on the calibration recordings, [N, K]: `logit_error` (root mean square,
    relative), `same_class` (share of answers that are the float network's), `accuracy` and
    `accuracy_float` (None where the labels are not known), `calibration_recordings`.
    """
    size = float((expected.astype(np.float64) ** 2).mean())
    return {
        "calibration_recordings": len(found),
        "logit_error": float(np.sqrt(((found - expected) ** 2).mean() / size)) if size else None,
        "same_class": float((found.argmax(1) == expected.argmax(1)).mean()),
        "accuracy": None if labels is None else float((found.argmax(1) == labels).mean()),
        "accuracy_float": None if labels is None else float((expected.argmax(1) == labels).mean()),
    }


def _percent(share: float) -> str:
    return f"{significant(100 * share, 2)} %"
