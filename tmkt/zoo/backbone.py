"""Pre-trained backbones: the spiking blocks of a trained network, without its head."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tmkt.errors import InputError, one_line
from tmkt.files import open_plain
from tmkt.recipe import NetworkRecipe
from tmkt.runs import MODEL, Run
from tmkt.zoo.card import WEIGHTS, ZOO, load_card

if TYPE_CHECKING:
    from torch import Tensor

BLOCKS = "blocks."  # begins the names of a network's tensors that belong to its blocks


@dataclass(frozen=True)
class TrainedBackbone:
    """The trained blocks of a network.

    `name`: of the zoo, or the folder of the run. `network`, `sensor` (height, width): what they
    were built by. `tensors`: as SpikingNetwork.state_dict() names them, "blocks.0.conv.weight".
    """

    name: str
    network: NetworkRecipe
    sensor: tuple[int, int]
    tensors: "dict[str, Tensor]"

    def to_bytes(self) -> bytes:
        """Write the tensors as safetensors; equal weights give equal bytes."""
        from safetensors.torch import save

        content: bytes = save({name: one.contiguous() for name, one in self.tensors.items()})
        return content

    @property
    def sha256(self) -> str:
        """The SHA-256 of `to_bytes`: the same for a run and for the zoo's entry made of it."""
        return hashlib.sha256(self.to_bytes()).hexdigest()


def load_backbone(name: str, folder: Path = ZOO) -> TrainedBackbone:
    """Load a backbone of the zoo. Needs torch.

    Raises InputError for an unknown name (with the nearest known one), and for a card or weights
    that are not those that were published: size and SHA-256 are checked before anything is
    unpacked, then names, shapes, types and values.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    card = load_card(name, folder)
    path = folder / f"{name}{WEIGHTS}"
    content = _read(path, card.weights.bytes)
    if hashlib.sha256(content).hexdigest() != card.weights.sha256:
        raise InputError(
            f"{path}: differs from what was published (size or SHA-256 do not match the card);"
            " install tmkt again"
        )
    sensor = (card.input.height, card.input.width)
    try:
        tensors = load(content)
        _check(tensors, card.network, sensor)
    except (SafetensorError, InputError, ValueError) as error:
        raise InputError(
            f"{path}: not the weights of its card ({one_line(error)}); install tmkt again"
        ) from None
    return TrainedBackbone(name, card.network, sensor, tensors)


def backbone_of(run: Run) -> TrainedBackbone:
    """Take the blocks of a finished run. Needs torch. InputError if its weights are damaged."""
    tensors = {
        name: tensor.detach()
        for name, tensor in run.load_network().state_dict().items()
        if name.startswith(BLOCKS)
    }
    height, width = run.info["sensor"]
    if unusable := _not_finite(tensors):
        raise InputError(
            f"{run.path / MODEL}: {unusable} has NaN or Inf, expected finite weights; train again"
        )
    return TrainedBackbone(str(run.path), run.recipe.network, (height, width), tensors)


def _read(path: Path, size: int) -> bytes:
    """Read a file of `size` bytes; less or more than that where it has another size."""
    try:
        with open_plain(path) as file:
            return file.read(size + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}), expected the weights of a"
            " backbone; install tmkt again"
        ) from None


def _check(tensors: "dict[str, Tensor]", network: NetworkRecipe, sensor: tuple[int, int]) -> None:
    """Raise ValueError unless the tensors are those of the network's blocks, all finite.

    The network is built on torch's meta device: whatever the card says, nothing is allocated.
    """
    import torch

    from tmkt.networks import SpikingNetwork

    with torch.device("meta"):
        expected = {
            name: (tuple(tensor.shape), tensor.dtype)
            for name, tensor in SpikingNetwork(network, (2, *sensor), 1).state_dict().items()
            if name.startswith(BLOCKS)
        }
    found = {name: (tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"{name}: {found.get(name)}, expected {expected.get(name)}")
    if unusable := _not_finite(tensors):
        raise ValueError(f"{unusable} has NaN or Inf")


def _not_finite(tensors: "dict[str, Tensor]") -> str | None:
    """Name the first tensor with NaN or Inf."""
    return next((name for name, tensor in tensors.items() if not tensor.isfinite().all()), None)
