"""Quantisation-aware training: a finished run goes on with integers in the forward pass."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmkt.bundle import sha256
from tmkt.datasets.decoded import Rows
from tmkt.datasets.splits import from_ranges, to_ranges
from tmkt.errors import InputError
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, with_settings
from tmkt.runs import CHECKPOINT, MODEL, TEACHER, Run
from tmkt.train.checkpoint import load_module
from tmkt.train.data import TrainingData
from tmkt.train.measure import logits_of
from tmkt.train.methods import METHODS, Batch, Losses, Method, Setting, weighted
from tmkt.train.objectives import distillation
from tmkt.train.qat.network import from_grid, grids_of, to_grid

AT_THE_END = 1.0 - 1e-9  # progress of a method whose schedule is over


def qat_recipe(start: Run, bits: str, settings: list[str] | None = None) -> Recipe:
    """The recipe of a run that goes on from `start` on a grid of `bits`: its own, with a short
    schedule and `settings` over it.

    150 steps without warm-up from a rate of a hundredth of the distance between neighbouring
    weights: by the training loss of two runs at 4, 3 and 2 bits, where ten times less or three
    times more learned worse at one of them.
    """
    values = start.recipe.model_dump()
    values["train"] |= {
        "steps": 150,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "ema": 0.0,
        "weight_decay": 0.0,
        "precision": "fp32",
    }
    values["qat"] = {"bits": bits, "start_sha256": sha256(start.path / MODEL)}
    for setting in settings or []:
        if setting.strip().startswith(("data.", "network.", "train.seed")):
            found = f"--set {setting!r}"
            raise InputError(
                f"{found}: decides the split or the network, which are those of {start.path}; leave"
                " it out, or train again"
            )
    if start.recipe.qat.bits:
        raise InputError(
            f"{start.path}: was trained on integers already, expected a float run; start from"
            " that one"
        )
    return with_settings(values, settings, str(start.path))


class OnGrid(Method):
    """The losses of training on integers: what the method that trained the run computes, and
    distillation from the float network.

    L = transfer * L_method + distillation * KL(float logits, integer logits) on events; without a
    method (no data but the calibration recordings, whose labels are not needed) the second alone.
    The method's schedule is over: it computes what it did at its end.
    """

    def __init__(
        self, recipe: Recipe, net: SpikingNetwork, start: Run, method: Method | None
    ) -> None:
        super().__init__(recipe.method, net, recipe.data.bins)
        self.qat, self.method, self.start = recipe.qat, method, start
        self.float_network = [
            start.load_network().requires_grad_(False)
        ]  # in a list: no part of what is learned

    def prepare(self, setting: Setting) -> None:
        self.float_network[0].to(setting.device)
        if self.method is None:
            return
        if (self.start.path / TEACHER).is_file() and not (setting.folder / TEACHER).is_file():
            shutil.copyfile(self.start.path / TEACHER, setting.folder / TEACHER)
        self.method.prepare(setting)

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,
        progress: float,  # noqa: ARG002
    ) -> Losses:
        with torch.no_grad():
            wanted = self.float_network[0](batch.events).logits.mean(0)
        parts: dict[str, Tensor] = {}
        logits = None
        if self.method is not None:
            found = self.method.losses(net, batch, rng, AT_THE_END)
            parts = {f"method_{name}": value for name, value in found.parts.items()} | {
                "method": found.total
            }
            logits = found.logits if "events" in found.parts else None
        if logits is None:
            logits = net(batch.events).logits
        parts["float"] = distillation(logits.mean(0), wanted, 1.0)
        weights = {"method": self.qat.transfer, "float": self.qat.distillation}
        return Losses(
            weighted({name: parts[name] for name in weights if name in parts}, weights),
            parts,
            logits,
        )


def on_grid(recipe: Recipe, start: Run, with_data: bool) -> tuple[SpikingNetwork, OnGrid]:
    """The network that is trained, and its losses; without data the method has none. InputError for
    a run that no program holds, or that is another than the recipe's.
    """
    if sha256(start.path / MODEL) != recipe.qat.start_sha256:
        raise InputError(
            f"{start.path}: is not the run that this training started from; give that one"
        )
    if recipe.data.frames == "float":
        raise InputError(
            f"{start.path}: trained on interpolated frames, expected counts; train again with --set"
            " data.frames=counts"
        )
    net = to_grid(start.load_network(), recipe.network, recipe.qat.bits, start.load_calibration())
    method = (
        METHODS[recipe.method.name](recipe.method, net, recipe.data.bins)
        if with_data and recipe.qat.transfer
        else None
    )
    same = recipe.method == start.recipe.method
    if (
        method is not None and same and (start.path / CHECKPOINT).is_file()
    ):  # its probes and coefficients as they were
        load_module(start.path / CHECKPOINT, "method", method)
    return net, OnGrid(recipe, net, start, method)


def calibration_source(start: Run) -> TrainingData:
    """A run's calibration recordings as all that a training sees, with the float network's answers
    for labels.
    """
    frames, info = start.load_calibration(), start.info
    answers = logits_of(start.load_network(), frames, torch.device("cpu"))
    labels = torch.cat([logits.mean(0).argmax(1) for logits in answers]).numpy()
    rows, none, no_labels = (
        Rows(frames, np.arange(len(frames))),
        Rows(frames, np.zeros(0, np.int64)),
        np.zeros(0, np.int64),
    )
    sensor, classes = tuple(info["sensor"]), tuple(info["classes"])
    return TrainingData(
        sensor,
        classes,
        info["protocol"],
        rows,
        labels,
        info["trained_on"],
        none,
        no_labels,
        [],
        none,
        no_labels,
        None,
    )


def check_same_data(source: TrainingData, start: Run, data: Path) -> None:
    """InputError where a folder's split gives recordings that `start` was not trained on: it may
    have been tested on those.
    """
    if source.trained_on != start.info["trained_on"]:
        found = f"{data}: its training recordings are others than those of {start.path}"
        raise InputError(f"{found}, expected the same; give the folder that the run was trained on")


def deployed(net: SpikingNetwork, start: Run) -> SpikingNetwork:
    """The float network that holds a trained grid's weights."""
    out = start.load_network()
    from_grid(net, out)
    return out


def qat_info(info: dict[str, Any], net: SpikingNetwork, start: Run) -> dict[str, Any]:
    """A run's info with the grid, and with all that the run has seen that it started from."""
    kept = {key: value for key, value in start.info.items() if key not in ("test", "versions")}
    images = to_ranges(
        from_ranges(start.info["images_trained_on"]) | from_ranges(info["images_trained_on"])
    )
    return {**info, **kept, "images_trained_on": images, "quantisation": grids_of(net)}
