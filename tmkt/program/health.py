"""Health of a program's layers on recordings: a silent or saturated layer passes nothing on."""

from collections.abc import Mapping
from dataclasses import dataclass

from tmkt.console import significant
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program

# Spikes per neuron and step. Our choice: trained layers lie between 0.05 and 0.25 (measured on
# N-MNIST).
SILENT, SATURATED = 0.001, 0.6
FORGETS = 0.9  # of a membrane in a step: such neurons hardly integrate
TIME_STEP = "the time step (of a .nir file: --dt)"


@dataclass(frozen=True)
class Activity:
    """Activity of a program on recordings of `steps` steps: spikes per neuron and step of every
    layer that fires, by name, and `input`: the share of input sites and steps with an event.
    """

    steps: int
    input: float
    rates: Mapping[str, float]


def describe_health(program: Program, activity: Activity) -> list[str]:
    """Say which layers are silent and which saturated, with the likely cause for the first of each.

    Those behind it may be so because of it. One line a kind.
    """
    firing = [layer for layer in program.layers if layer.fires]
    rates = activity.rates
    silent = [layer for layer in firing if rates[layer.name] < SILENT]
    saturated = [layer for layer in firing if rates[layer.name] > SATURATED]
    lines = []
    if silent:
        lines.append(f"{_named(silent, 'silent', rates)}: {cause_of_silence(silent[0], activity)}")
    if saturated:
        lines.append(
            f"{_named(saturated, 'saturated', rates)}: {cause_of_saturation(saturated[0])}"
        )
    return lines


def cause_of_silence(layer: Layer, activity: Activity) -> str:
    """Say why a layer's neurons are likely not to spike."""
    sources = [
        activity.input if synapse.source == INPUT else activity.rates.get(synapse.source, 0.0)
        for synapse in layer.synapses
        if synapse.source != layer.name
    ]
    leak = layer.voltage_decay / DECAY_ONE
    if not any(sources):
        return "nothing reaches it"
    if leak == 0:
        return (
            f"its membrane never leaks; likely {TIME_STEP} is too small, its inputs count whole"
            " (--inputs per-step), or its threshold is too high for the scale of the input"
        )
    if leak * activity.steps < 1:
        return (
            f"its time constant is {1 / leak:.0f} steps, a recording has {activity.steps}; likely"
            f" {TIME_STEP} is too small"
        )
    return (
        "its inputs are too weak for its threshold; likely the scale of the input (max_count),"
        f" {TIME_STEP} or the threshold differs from training"
    )


def cause_of_saturation(layer: Layer) -> str:
    """Say why a layer's neurons are likely to spike all the time."""
    if FORGETS * DECAY_ONE < layer.voltage_decay < DECAY_ONE:
        return (
            f"its membrane loses {100 * layer.voltage_decay / DECAY_ONE:.0f} % in a step; likely"
            f" {TIME_STEP} is too large"
        )
    return (
        "its inputs are too strong for its threshold; likely the scale of the input (max_count),"
        f" {TIME_STEP} or the threshold differs from training"
    )


def _named(layers: list[Layer], what: str, rates: Mapping[str, float]) -> str:
    names = ", ".join(layer.name for layer in layers)
    spikes = f"{significant(100 * rates[layers[0].name], 2)} % of neurons and steps spike"
    if len(layers) == 1:
        return f"layer {names} is {what} ({spikes})"
    return f"layers {names} are {what} ({spikes} in {layers[0].name})"
