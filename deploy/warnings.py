"""Warnings of a run on recordings: what the bins cut of them, silent and saturated layers."""

from collections.abc import Mapping
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
    samples, sent = len(answers.predictions), answers.layer_spikes
    health = layer_warnings(bundle.program, contract.bins, samples, answers.input_spikes, sent)
    lines = [*([] if cut is None else [cut]), *health]
    return {"outside_bins": asdict(coverage), "warnings": lines}


def layer_warnings(
    program: Program, steps: int, samples: int, input_spikes: int, layer_spikes: Mapping[str, int]
) -> list[str]:
    """Give a line on silent and one on saturated layers.

    `input_spikes`, `layer_spikes` (by name): what the input and the layers sent in all samples.
    """
    turns = samples * steps
    rates = {
        layer.name: layer_spikes[layer.name] / (turns * layer.neurons)
        for layer in program.layers
        if layer.fires
    }
    share = input_spikes / (turns * int(np.prod(program.input_shape)))
    health = describe_health(program, Activity(steps, share, rates))
    return [f"warning: {line}" for line in health]
