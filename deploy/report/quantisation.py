"""Rows of the manifest's quantisation report, for the terminal and for the report's page."""

from typing import Any

from tmkt.console import percent

# Column, key of the report, how it is shown. Error: relative; rate: spikes per neuron and step;
# silent, saturated: share of the neurons.
COLUMNS = (
    ("layer", "layer", str),
    ("bits", "bits", str),
    ("scale", "scale", str),
    ("limited by", "limited_by", str),
    ("grid used", "grid_used", percent),
    ("clipped", "clipped_weights", percent),
    ("zero", "zero_weights", percent),
    ("weight error", "weight_error_rms", percent),
    ("spike rate", "spike_rate", percent),
    ("change", "spike_rate_change", percent),
    ("silent", "silent_neurons", percent),
    ("silent in float", "silent_neurons_float", percent),
    ("saturated", "saturated_neurons", percent),
)


def layer_table(layers: list[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Give the columns and one row a layer. A column that no layer has a value for is left out;
    other unknowns are None.
    """
    columns = [
        column for column in COLUMNS if any(row.get(column[1]) is not None for row in layers)
    ]
    return [name for name, _, _ in columns], [
        [None if row.get(key) is None else show(row[key]) for _, key, show in columns]
        for row in layers
    ]


def answers(layers: list[dict[str, Any]]) -> str | None:
    """Give a line on how the integers' answers compare with the float network's; None where the
    report does not know.
    """
    last = layers[-1] if layers else {}
    if last.get("same_class") is None:
        return None
    dead = [row["layer"] for row in layers if row.get("spike_rate") == 0]
    if dead:
        return (
            f"On {last['calibration_recordings']} calibration recordings no neuron of layer"
            f" {dead[0]} fires: that {percent(last['same_class'])} of the answers are the float"
            " network's says nothing"
        )
    line = (
        f"On {last['calibration_recordings']} calibration recordings: {percent(last['same_class'])}"
        " of the float network's answers"
    )
    if last.get("logit_error") is not None:
        line += f", logits off by {percent(last['logit_error'])}"
    if last.get("accuracy") is not None:
        line += f", accuracy {percent(last['accuracy'])} (float {percent(last['accuracy_float'])})"
    return (
        line + ". The integers were calibrated on them: tmkt evaluate tells the accuracy on others"
    )


def warnings(layers: list[dict[str, Any]]) -> list[str]:
    """Give a line for each layer that is dead, dying, or fires all the time."""
    return [
        f"warning: layer {row['layer']} is {row['warning']}" for row in layers if row.get("warning")
    ]
