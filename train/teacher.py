"""Teacher of CKD: an ANN on the static images, trained here or given, and kept in the run."""

import math
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from tmkt import console
from tmkt.errors import Diverged, InputError
from tmkt.recipe import MethodRecipe
from tmkt.runs import TEACHER, TEACHER_CHECKPOINT
from tmkt.train.checkpoint import TrainingState, load_checkpoint, save_checkpoint, save_tensors
from tmkt.train.methods.base import Setting
from tmkt.train.teacher_network import ResNet, resnet_from_tensors, small_resnet

# Learning rates of AdamW; a cosine brings both down to 0. Our choice.
RATE = 2e-3  # from scratch
FINE_TUNE_RATE = 1e-4  # from a checkpoint
WEIGHT_DECAY = 0.01
CHECKPOINT_EVERY = 50  # steps
IMAGE_SIDE = 224  # pixels: a network with torchvision's stem expects images of that size
# Of ImageNet's channels: the checkpoints of torchvision and timm expect images normalised by them.
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STREAM = 1  # keeps the teacher's randomness apart from the network's of the same seed and step


class Teacher:
    """A trained ANN, in evaluation mode, without gradients."""

    def __init__(self, net: ResNet) -> None:
        self.net = net.eval().requires_grad_(False)
        weights = F.normalize(net.fc.weight - net.fc.weight.mean(0), dim=1)
        self._similarity = weights @ weights.T

    @torch.no_grad()
    def logits(self, stills: Tensor) -> Tensor:
        """Compute logits [B, classes] of static frames [B, 2, H, W]."""
        logits: Tensor = self.net(teacher_input(self.net, stills))
        return logits

    def class_similarity(self) -> Tensor:
        """Give the similarity of the classes to this teacher, [classes, classes], 1 for equal ones.

        It is the cosine of the classifier's weights. They are centred first: what all classes share
        changes no answer. The measure is ours.
        """
        return self._similarity


def teacher_input(net: ResNet, stills: Tensor) -> Tensor:
    """Convert static frames [B, 2, H, W] to what `net` takes.

    That is both channels, or their mean (grey) in one channel, or in three normalised ones.
    """
    if net.channels == 2:
        return stills
    grey = stills.mean(1, keepdim=True)
    if net.stem == 7:
        grey = F.interpolate(
            grey, size=(IMAGE_SIDE, IMAGE_SIDE), mode="bilinear", align_corners=False
        )
    if net.channels == 1:
        return grey
    mean, deviation = (
        torch.tensor(values, device=grey.device).view(1, 3, 1, 1) for values in (MEAN, DEVIATION)
    )
    return (grey - mean) / deviation


def prepare_teacher(recipe: MethodRecipe, setting: Setting, classes: int) -> Teacher:
    """Load the teacher that a run keeps, or make a new one.

    Without `recipe.teacher` a small ResNet learns the static images for `teacher_steps` steps. With
    it, that checkpoint is taken as it is if it has as many classes; else its classifier is replaced
    and all of it learns for as many steps at a lower rate. The learning is checkpointed in the run,
    so that a training that was killed goes on to the same bytes. Raises InputError for a file that
    is no such checkpoint, and for one that was made with other data.
    """
    kept = setting.folder / TEACHER
    if kept.is_file():
        tensors = _load(kept)
        if tensors.pop("data", torch.empty(0)).numpy().tobytes() != setting.fingerprint:
            raise InputError(
                f"{kept}: was made with other recordings or images; resume with the same --data and"
                " --static"
            )
        (setting.folder / TEACHER_CHECKPOINT).unlink(missing_ok=True)  # of a process killed here
        return Teacher(_network(kept, tensors).to(setting.device))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(setting.seed)
        net = small_resnet(2, recipe.teacher_width, classes)
        steps, rate = recipe.teacher_steps, RATE
        if recipe.teacher:
            path = Path(recipe.teacher)
            given = _load(path)
            given.pop("data", None)
            net = _network(path, given)
            rate = FINE_TUNE_RATE
            if net.fc.out_features == classes:
                steps = 0
            net.fc = net.fc if not steps else torch.nn.Linear(net.fc.in_features, classes)
    net.to(setting.device)
    if steps:
        _train(net, steps, rate, setting)
    data = torch.frombuffer(bytearray(setting.fingerprint), dtype=torch.uint8)
    save_tensors(kept, {**net.state_dict(), "data": data})
    (setting.folder / TEACHER_CHECKPOINT).unlink(missing_ok=True)
    return Teacher(net)


def _train(net: ResNet, steps: int, rate: float, setting: Setting) -> None:
    """Train on the static frames of as many batches: cross-entropy, AdamW."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=WEIGHT_DECAY)
    checkpoint = setting.folder / TEACHER_CHECKPOINT
    state = TrainingState({"teacher": net}, optimizer, setting.fingerprint)
    start = load_checkpoint(checkpoint, state)
    net.train()
    with console.progress("train the teacher") as update:
        for step in range(start, steps):
            batch = setting.draw(np.random.default_rng([setting.seed, step, STREAM]), step)
            for group in optimizer.param_groups:
                group["lr"] = rate * (1.0 + math.cos(math.pi * step / steps)) / 2.0
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(net(teacher_input(net, batch.stills)), batch.labels)
            loss.backward()
            optimizer.step()
            found = float(loss.detach())  # once: a GPU is waited for
            if not math.isfinite(found):
                raise Diverged(
                    f"the teacher diverged at step {step + 1}; give another with method.teacher"
                )
            if (step + 1) % CHECKPOINT_EVERY == 0:
                save_checkpoint(checkpoint, state, step + 1)
            update(step + 1, steps, {"loss": found})


def _load(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise InputError(
            f"method.teacher {path}: no such file, expected a ResNet's weights as .safetensors;"
            " leave it empty to train one here"
        )
    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a safetensors file ({str(error).splitlines()[0][:100]}); convert it, or"
            " leave method.teacher empty"
        ) from None


def _network(path: Path, tensors: dict[str, Tensor]) -> ResNet:
    try:
        return resnet_from_tensors(tensors)
    except (ValueError, RuntimeError, IndexError) as error:
        raise InputError(
            f"{path}: {str(error).splitlines()[0][:150]}; give a ResNet of torchvision or timm, or"
            " leave method.teacher empty"
        ) from None
