"""Warnings of an evaluation: recordings that the bins cut, silent and saturated layers."""

from dataclasses import asdict
from typing import Any

import numpy as np

from tmkt.bundle import Bundle
from tmkt.deploy.evaluate import Answers
from tmkt.events.coverage import coverage_of, describe_cut
from tmkt.program.health import Activity, describe_health
from tmkt.program.model import Program


def evaluation_warnings(bundle: Bundle, answers: Answers) -> dict[str, Any]:
    """Give `outside_bins`, how much of the recordings the bins cut, and `warnings`: a line on that,
    and one each for silent and saturated layers.
    """
    contract = bundle.contract
    coverage = coverage_of(answers.extents, contract)
    cut = describe_cut(coverage, contract.bins, contract.bin_us, "--bins ", "--bin-us ")
    health = describe_health(bundle.program, activity_of(bundle.program, contract.bins, answers))
    lines = [*([] if cut is None else [cut]), *(f"warning: {line}" for line in health)]
    return {"outside_bins": asdict(coverage), "warnings": lines}


def activity_of(program: Program, steps: int, answers: Answers) -> Activity:
    """Return the rates at which a program's layers, and its input, were active."""
    turns = len(answers.predictions) * steps
    return Activity(
        steps=steps,
        input=answers.input_spikes / (turns * int(np.prod(program.input_shape))),
        rates={
            layer.name: answers.layer_spikes[layer.name] / (turns * layer.neurons)
            for layer in program.layers
            if layer.fires
        },
    )
