"""Quantisation-aware training: continue a finished run with integers in the forward pass."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from tmkt.bundle import sha256
from tmkt.datasets.decoded import Rows
from tmkt.datasets.splits import from_ranges, to_ranges
from tmkt.errors import InputError
from tmkt.files import copy
from tmkt.networks import SpikingNetwork
from tmkt.recipe import Recipe, TrainRecipe, with_settings
from tmkt.runs import CHECKPOINT, MODEL, TEACHER, Run
from tmkt.train.checkpoint import load_module
from tmkt.train.data import TrainingData
from tmkt.train.measure import logits_of
from tmkt.train.methods.base import Batch, Losses, Method, Setting, weighted
from tmkt.train.methods.registry import METHODS
from tmkt.train.objectives import distillation
from tmkt.train.qat.convert import copy_to_float, fake_quantise, weight_grids

# keys of the recipe that are about another start than the run's own
STARTING = ("init", "init_sha256", "init_statistics", "freeze", "head_share", "layer_decay")
FINISHED = 1.0 - 1e-9  # progress of a method whose schedule is over


def qat_recipe(start: Run, bits: str, settings: list[str] | None = None) -> Recipe:
    """Make the recipe of a run that goes on from `start` with weights of so many `bits`.

    It is the recipe of `start` with a short schedule, and `settings` over it: 150 steps without
    warm-up, from a rate of a hundredth of the distance between neighbouring weights. The rate was
    chosen by the training loss of two runs at 4, 3 and 2 bits: ten times less and three times more
    each learned worse at one of them.
    """
    values = start.recipe.model_dump()
    values["train"] |= {
        "steps": 150,
        "learning_rate": 1e-2,
        "warmup_steps": 0,
        "ema": 0.0,
        "weight_decay": 0.0,
        "precision": "fp32",
        **{key: TrainRecipe.model_fields[key].default for key in STARTING},
    }
    values["qat"] = {"bits": bits, "start_sha256": sha256(start.path / MODEL)}
    for setting in settings or []:
        if setting.strip().startswith(("data.", "network.", "train.seed", "train.init")):
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


class IntegerTraining(Method):
    """The losses of training on integers: those of the run's method, and distillation.

    L = transfer * L_method + distillation * KL(float logits, integer logits), on the deployed
    stream. Without data the second part alone is left: it needs the calibration recordings, not
    their labels. The schedule of the method is over: it computes what it did at its end.
    """

    def __init__(
        self, recipe: Recipe, net: SpikingNetwork, start: Run, method: Method | None
    ) -> None:
        super().__init__(recipe.method, net, recipe.data.bins)
        self.qat, self.method, self.start = recipe.qat, method, start
        # In a list, so that torch does not take it for a part of what is learned.
        self.float_network = [start.load_network().requires_grad_(False)]

    def prepare(self, setting: Setting) -> None:
        self.float_network[0].to(setting.device)
        if self.method is None:
            return
        if (self.start.path / TEACHER).is_file() and not (setting.folder / TEACHER).is_file():
            copy(self.start.path / TEACHER, setting.folder / TEACHER)
        self.method.prepare(setting)

    def exchange(self, batch: Batch, rng: np.random.Generator, progress: float) -> Batch:  # noqa: ARG002
        return batch if self.method is None else self.method.exchange(batch, rng, FINISHED)

    def losses(
        self,
        net: SpikingNetwork,
        batch: Batch,
        rng: np.random.Generator,
        progress: float,  # noqa: ARG002
    ) -> Losses:
        with torch.no_grad():
            wanted = self.float_network[0](batch.deployed).logits.mean(0)
        parts: dict[str, Tensor] = {}
        logits = None
        if self.method is not None:
            found = self.method.losses(net, batch, rng, FINISHED)
            parts = {f"method_{name}": value for name, value in found.parts.items()} | {
                "method": found.total
            }
            logits = found.logits if "events" in found.parts else None
        if logits is None:
            logits = net(batch.deployed).logits
        parts["float"] = distillation(logits.mean(0), wanted, 1.0)
        weights = {"method": self.qat.transfer, "float": self.qat.distillation}
        return Losses(
            weighted({name: parts[name] for name in weights if name in parts}, weights),
            parts,
            logits,
        )


def start_on_integers(
    recipe: Recipe, start: Run, with_data: bool
) -> tuple[SpikingNetwork, IntegerTraining]:
    """Make the network that goes on from `start` with integers, and its losses.

    Without data the method of the run has no part in them. Raises InputError for a run that no
    program holds, or that is not the one that the recipe was made for.
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
    net = fake_quantise(
        start.load_network(), recipe.network, recipe.qat.bits, start.load_calibration()
    )
    method: Method | None = None
    if with_data and recipe.qat.transfer:
        method = METHODS[recipe.method.name](recipe.method, net, recipe.data.bins)
        same = recipe.method == start.recipe.method
        if same and (start.path / CHECKPOINT).is_file():
            # The method's own parts (probes, coefficients) go on as they were.
            load_module(start.path / CHECKPOINT, "method", method)
    return net, IntegerTraining(recipe, net, start, method)


def calibration_source(start: Run) -> TrainingData:
    """Take a run's calibration recordings as the data of a training.

    Their labels are the float network's answers. Nothing validates and nothing is tested.
    """
    frames, info = start.load_calibration(), start.info
    answers = logits_of(start.load_network(), frames)
    labels = torch.cat([logits.mean(0).argmax(1) for logits in answers]).numpy()
    none, no_labels = Rows(frames, np.zeros(0, np.int64)), np.zeros(0, np.int64)
    return TrainingData(
        sensor=tuple(info["sensor"]),
        classes=tuple(info["classes"]),
        nothing=info.get("nothing"),
        protocol=info["protocol"],
        frames=Rows(frames, np.arange(len(frames))),
        labels=labels,
        trained_on=info["trained_on"],
        validation_frames=none,
        validation_labels=no_labels,
        validated_on=[],
        test_frames=none,
        test_labels=no_labels,
        images=None,
    )


def check_same_data(source: TrainingData, start: Run, folder: Path | None) -> None:
    """Raise InputError if a folder's split gives other recordings than `start` was trained on, or
    other images where it was trained on images alone.

    `start` may have been tested on those.
    """
    what = "recordings" if source.simulated is None else "images"
    same = source.trained_on == start.info["trained_on"]
    if source.simulated is not None:
        same = to_ranges(source.seen()) == start.info["images_trained_on"]
    if not same:
        found = f"{folder}: its training {what} are others than those of {start.path}"
        raise InputError(f"{found}, expected the same; give the folder that the run was trained on")


def float_network(net: SpikingNetwork, start: Run) -> SpikingNetwork:
    """Make the float network that holds the weights of a network trained on integers."""
    out = start.load_network()
    copy_to_float(net, out)
    return out


def qat_info(info: dict[str, Any], net: SpikingNetwork, start: Run) -> dict[str, Any]:
    """Add the grids of the weights to a run's info, and all that `start` has seen."""
    kept = {key: value for key, value in start.info.items() if key not in ("test", "versions")}
    images = to_ranges(
        from_ranges(start.info["images_trained_on"]) | from_ranges(info["images_trained_on"])
    )
    return {**info, **kept, "images_trained_on": images, "quantisation": weight_grids(net)}
