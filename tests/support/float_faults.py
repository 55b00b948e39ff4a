"""Faults that can be planted in the NIR graph of a trained network: for parity to find."""

from typing import Any

import numpy as np
from trained_networks import CLASSES


def flip(nodes: Any) -> None:
    nodes["conv2_synapse"].weight = nodes["conv2_synapse"].weight[:, :, ::-1, ::-1].copy()


def swap_polarity(nodes: Any) -> None:
    nodes["conv1_synapse"].weight = nodes["conv1_synapse"].weight[:, ::-1].copy()


def halve(nodes: Any) -> None:
    nodes["conv2_synapse"].weight = nodes["conv2_synapse"].weight / 2


def flatten_otherwise(nodes: Any) -> None:
    weight = nodes["readout"].weight
    by_place = weight.reshape(CLASSES, 2, 2, -1).transpose(0, 3, 1, 2)
    nodes["readout"].weight = by_place.reshape(weight.shape).copy()


def other_dt(nodes: Any) -> None:
    """Change neurons as if read with half the time step. Those without leak stay."""
    for name in ("conv1", "conv2"):
        if not hasattr(nodes[name], "tau"):
            continue
        nodes[name].tau, nodes[name].r = 2 * nodes[name].tau, 2 * nodes[name].r


def no_bias(nodes: Any) -> None:
    nodes["conv1_synapse"].bias = np.zeros_like(nodes["conv1_synapse"].bias)


FAULTS = {
    "flip": (flip, "conv2", "kernel flip"),
    "polarity": (swap_polarity, "conv1", "polarity"),
    "halve": (halve, "conv2", "weight scale"),
    "flatten": (flatten_otherwise, "readout", "axis order"),
    "dt": (other_dt, "conv1", "dt"),
    "bias": (no_bias, "conv1", "bias"),
}
