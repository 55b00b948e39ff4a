"""Runs in an environment that has Norse (make test-peers), in a process of its own: what Norse
writes, and what it makes of our files.

python norse_process.py write FOLDER              a Norse network by Norse's exporter: norse.nir,
and what it computes: norse.npz python norse_process.py run FILE.nir IN OUT.npz   loads a file as it
is; frames [N, T, C, H, W] of IN (.npy) to the outputs of its last node
"""

import sys
import warnings
from pathlib import Path
from typing import Any

import nir
import norse.torch as norse
import numpy as np
import torch

DT = 1e-3  # Norse's default
SHAPE = (2, 4, 4)


def _full(value: float, n: int) -> torch.Tensor:
    return torch.full((n,), value)  # Norse writes parameters as they are, and nir writes no scalars


def _network() -> Any:
    box = norse.LIFBoxParameters(
        tau_mem_inv=_full(500.0, 24), v_th=_full(1.0, 24), v_leak=_full(0.0, 24)
    )
    current = norse.LIFParameters(
        tau_mem_inv=_full(300.0, 18),
        tau_syn_inv=_full(400.0, 18),
        v_th=_full(0.6, 18),
        v_leak=_full(0.0, 18),
    )
    whole = norse.IAFParameters(v_th=_full(1.3, 6))
    linear = torch.nn.Linear
    net = norse.SequentialState(
        linear(32, 24),
        norse.LIFBoxCell(box, dt=DT),
        linear(24, 18),
        norse.LIFCell(current, dt=DT),
        linear(18, 6),
        norse.IAFCell(whole),
    )
    for parameter in net.parameters():
        if parameter.ndim > 1:
            parameter.data *= 4
    return net


def write(folder: Path) -> None:
    torch.manual_seed(0)
    net = _network()
    frames = (torch.rand(4, 30, *SHAPE) < 0.3).float()
    graph = norse.to_nir(
        net, frames[:1, 0].flatten(1), dt=1
    )  # with its default of 1e-3 it would write time constants 1000 times too short
    for node in graph.nodes.values():
        for key, value in vars(node).items():
            if isinstance(value, torch.Tensor):
                setattr(node, key, value.numpy())
    nir.write(folder / "norse.nir", graph)
    spikes: dict[str, list[Any]] = {"1": [], "3": [], "5": []}
    for name, values in spikes.items():

        def keep(_module: object, _inputs: object, out: Any, values: list[Any] = values) -> None:
            values.append(out[0].detach().numpy().astype(np.uint8))

        net.get_submodule(name).register_forward_hook(keep)
    state = None
    with torch.no_grad():
        for t in range(frames.shape[1]):
            _, state = net(frames[:, t].flatten(1), state)
    np.savez_compressed(
        folder / "norse.npz",
        frames=frames.numpy().astype(np.uint8),
        **{name: np.stack(v, 1) for name, v in spikes.items()},
    )


def run(network: Path, frames: Path, out: Path) -> None:
    given = torch.from_numpy(np.load(frames)).float()
    net = norse.from_nir(nir.read(network), dt=1e-4)
    state, outputs = None, []
    with torch.no_grad():
        for t in range(given.shape[1]):
            y, state = net(given[:, t], state)
            outputs.append(y.numpy())
    np.savez_compressed(out, outputs=np.stack(outputs, 1))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    {"write": write, "run": run}[sys.argv[1]](*map(Path, sys.argv[2:]))
