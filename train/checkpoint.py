"""The state of an unfinished training, in one safetensors file that is replaced as a whole and
never unpickled.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.train.log import EpochMeans


def save_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file as a whole; InputError where the disk is full or read-only."""
    data = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    with writing(path) as beside:
        beside.write_bytes(data)


def save_checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    step: int,
    fingerprint: bytes,
    means: EpochMeans | None = None,
) -> None:
    """Writes all `modules` by name (network, method, averaged), the optimiser's moments, the number
    of `step`s done, what data they saw and the epoch's `means` so far.
    """
    tensors = {
        f"{prefix}.{name}": tensor
        for prefix, module in modules.items()
        for name, tensor in module.state_dict().items()
    }
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": tensor for name, tensor in state.items()}
    if means is not None:
        tensors |= {
            f"epoch.{name}": torch.tensor(value, dtype=torch.float64)
            for name, value in means.state().items()
        }
    tensors["step"] = torch.tensor(step)
    tensors["data"] = torch.frombuffer(bytearray(fingerprint), dtype=torch.uint8)
    save_tensors(path, tensors)


def load_checkpoint(
    path: Path,
    modules: dict[str, nn.Module],
    optimizer: torch.optim.Optimizer,
    fingerprint: bytes,
    means: EpochMeans | None = None,
) -> int:
    """Puts a checkpoint's state into the modules, the optimiser and the `means`; gives the number
    of steps done.

    InputError if it is damaged or saw other data.
    """
    try:
        tensors = {name: tensor.clone() for name, tensor in load_file(path).items()}
        if tensors.pop("data").numpy().tobytes() != fingerprint:
            raise InputError(
                f"{path}: was made with other recordings or images; resume with the same --data and"
                " --static"
            )
        step = int(tensors.pop("step"))
        state: dict[int, dict[str, Tensor]] = {}
        for name in [name for name in tensors if name.startswith("optimizer.")]:
            _, index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensors.pop(name)
        _check_moments(state, [p for group in optimizer.param_groups for p in group["params"]])
        for prefix, module in modules.items():
            module.load_state_dict(_with_prefix(tensors, f"{prefix}."))
        if means is not None:
            means.load(
                {name: float(value) for name, value in _with_prefix(tensors, "epoch.").items()}
            )
        optimizer.load_state_dict(
            {"state": state, "param_groups": optimizer.state_dict()["param_groups"]}
        )
    except (SafetensorError, RuntimeError, KeyError, ValueError, OSError) as error:
        raise InputError(
            f"{path}: damaged checkpoint ({str(error).splitlines()[0][:100]}); remove the run and"
            " train again"
        ) from None
    return step


def load_module(path: Path, prefix: str, module: nn.Module) -> None:
    """Puts the part `prefix` of a checkpoint into a module. InputError if it is damaged or of
    something else.
    """
    try:
        module.load_state_dict(_with_prefix(load_file(path), f"{prefix}."))
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(
            f"{path}: damaged checkpoint ({str(error).splitlines()[0][:100]}); remove it to go on"
            " without it"
        ) from None


def _check_moments(state: dict[int, dict[str, Tensor]], parameters: list[Tensor]) -> None:
    """torch takes whatever it is given and fails in the next step."""
    for index, moments in state.items():
        shapes = {key: tuple(tensor.shape) for key, tensor in moments.items()}
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
