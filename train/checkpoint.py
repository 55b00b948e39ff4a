"""Checkpoints: the state of an unfinished training in one safetensors file.

The file is replaced as a whole and never unpickled.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tmkt.errors import InputError, cannot_read
from tmkt.files import writing
from tmkt.train.log import EpochMeans


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Write a safetensors file as a whole; InputError if the disk is full or read-only."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    with writing(path) as beside:
        beside.write_bytes(data)


@dataclass(frozen=True)
class TrainingState:
    """State of a training: all that changes while a network learns, and so belongs in a
    checkpoint.
    """

    modules: dict[str, nn.Module]
    optimizer: torch.optim.Optimizer
    fingerprint: bytes
    means: EpochMeans | None = None

    def parameters(self) -> list[Tensor]:
        """List the parameters that the optimiser changes, in its order."""
        return [p for group in self.optimizer.param_groups for p in group["params"]]


def save_checkpoint(path: Path, state: TrainingState, step: int) -> None:
    """Write a training's state after `step` steps."""
    tensors = {
        f"{prefix}.{name}": tensor
        for prefix, module in state.modules.items()
        for name, tensor in module.state_dict().items()
    }
    for index, moments in state.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in moments.items()}
    if state.means is not None:
        tensors |= {
            f"epoch.{name}": torch.tensor(value, dtype=torch.float64)
            for name, value in state.means.state().items()
        }
    tensors["step"] = torch.tensor(step)
    tensors["data"] = torch.frombuffer(bytearray(state.fingerprint), dtype=torch.uint8)
    save_tensors(path, tensors)


def load_checkpoint(path: Path, state: TrainingState) -> int:
    """Restore a training's state from a checkpoint and give the number of steps done.

    Gives 0 and changes nothing where there is no file. Raises InputError if the checkpoint is
    damaged or was made with other data.
    """
    if not path.is_file():
        return 0
    try:
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        if tensors.pop("data").numpy().tobytes() != state.fingerprint:
            raise InputError(
                f"{path}: was made with other recordings or images; resume with the same --data and"
                " --static"
            )
        step = int(tensors.pop("step"))
        moments: dict[int, dict[str, Tensor]] = {}
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            _, index, key = name.split(".")
            moments.setdefault(int(index), {})[key] = tensors.pop(name)
        _check_moments(moments, state.parameters())
        for prefix, module in state.modules.items():
            module.load_state_dict(_with_prefix(tensors, f"{prefix}."))
        if state.means is not None:
            state.means.load(
                {name: float(value) for name, value in _with_prefix(tensors, "epoch.").items()}
            )
        state.optimizer.load_state_dict(
            {"state": moments, "param_groups": state.optimizer.state_dict()["param_groups"]}
        )
    except OSError as error:
        raise cannot_read(path, error) from None
    except (SafetensorError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: damaged checkpoint ({str(error).splitlines()[0][:100]}); remove the run and"
            " train again"
        ) from None
    return step


def load_module(path: Path, prefix: str, module: nn.Module) -> None:
    """Load the part of a checkpoint that is called `prefix` into a module.

    Raises InputError if the checkpoint is damaged or of something else.
    """
    try:
        module.load_state_dict(_with_prefix(load_file(path), f"{prefix}."))
    except OSError as error:
        raise cannot_read(path, error) from None
    except (SafetensorError, RuntimeError) as error:
        raise InputError(
            f"{path}: damaged checkpoint ({str(error).splitlines()[0][:100]}); remove it to go on"
            " without it"
        ) from None


def _check_moments(moments: dict[int, dict[str, Tensor]], parameters: list[Tensor]) -> None:
    """Check the shapes of the moments: torch takes any and fails in the next step."""
    for index, tensors in moments.items():
        shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
        if index >= len(parameters) or shapes != {
            "step": (),
            **dict.fromkeys(("exp_avg", "exp_avg_sq"), tuple(parameters[index].shape)),
        }:
            raise ValueError(f"the optimiser's state {index} does not fit the network: {shapes}")


def _with_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }
