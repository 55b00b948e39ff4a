"""The weights that did best on the validation recordings (`train.choose = "validation"`)."""

import copy
from typing import Any

import torch
from torch import nn

from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.train.averaging import average_of
from tmkt.train.data import TrainingData


class Chosen(nn.Module):
    """The best network so far, with its step and its results; part of a checkpoint.

    Best is the highest accuracy on the validation recordings; among equal ones the lowest loss,
    among these the earliest (ours). `step` is 0 as long as there is none.
    """

    step: torch.Tensor
    accuracy: torch.Tensor
    loss: torch.Tensor

    def __init__(self, net: SpikingNetwork) -> None:
        super().__init__()
        self.net = average_of(net)
        self.register_buffer("step", torch.tensor(0))
        for name in ("accuracy", "loss"):
            self.register_buffer(name, torch.tensor(0.0, dtype=torch.float64))

    def consider(self, net: SpikingNetwork, step: int, measured: dict[str, Any]) -> None:
        """Take over the weights of `net` if it is better; `measured` is what `measure` gave."""
        found = (measured["accuracy"], -measured["loss"])
        if int(self.step) and found <= (float(self.accuracy), -float(self.loss)):
            return
        self.net.load_state_dict(copy.deepcopy(net.state_dict()))
        self.step.fill_(step)
        self.accuracy.fill_(measured["accuracy"])
        self.loss.fill_(measured["loss"])

    def describe(self) -> dict[str, Any]:
        """Give what run.json says of the choice."""
        return {
            "by": "validation",
            "step": int(self.step),
            "accuracy": float(self.accuracy),
            "loss": float(self.loss),
        }


def chosen_of(net: SpikingNetwork, source: TrainingData) -> Chosen:
    """Make the place of the best network; InputError where nothing is left to validate on."""
    if not len(source.validation_frames):
        raise InputError(
            "train.choose = validation: no recordings are left to choose by; raise data.validation"
        )
    return Chosen(net)
