"""The quantisation report for people."""

from typing import Any

from tmkt import console

# Column, key of the report, how it is shown. Error: relative; rate: spikes per neuron and step; silent, saturated: share of the neurons.
COLUMNS = (
    ("layer", "layer", str),
    ("bits", "bits", str),
    ("scale", "scale", str),
    ("limited by", "limited_by", str),
    ("grid used", "grid_used", console.percent),
    ("clipped", "clipped_weights", console.percent),
    ("zero", "zero_weights", console.percent),
    ("weight error", "weight_error_rms", console.percent),
    ("spike rate", "spike_rate", console.percent),
    ("change", "spike_rate_change", console.percent),
    ("silent", "silent_neurons", console.percent),
    ("float", "silent_neurons_float", console.percent),
    ("saturated", "saturated_neurons", console.percent),
)


def quantisation_table(layers: list[dict[str, Any]]) -> None:
    """One row a layer, without the columns that this report has not, and a line on the answers."""
    columns = [column for column in COLUMNS if any(row.get(column[1]) is not None for row in layers)]
    rows: list[list[object]] = [[None if row.get(key) is None else show(row[key]) for _, key, show in columns] for row in layers]
    console.table("Quantisation", [name for name, _, _ in columns], rows)
    last = layers[-1]
    if last.get("same_class") is None:
        return
    line = f"On {last['calibration_recordings']} calibration recordings: {console.percent(last['same_class'])} of the float network's answers"
    if last["logit_error"] is not None:
        line += f", logits off by {console.percent(last['logit_error'])}"
    if last["accuracy"] is not None:
        line += f", accuracy {console.percent(last['accuracy'])} (float {console.percent(last['accuracy_float'])})"
    console.note(line + ". They were trained on: tmkt evaluate tells the accuracy on others")


def quantisation_warnings(layers: list[dict[str, Any]]) -> None:
    """A line for each layer that died."""
    for row in layers:
        if row.get("warning"):
            console.note(f"warning: layer {row['layer']} is {row['warning']}")
