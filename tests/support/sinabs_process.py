"""Runs in an environment that has Sinabs (make test-peers), in a process of its own: what Sinabs
writes, and what it makes of our files.

python sinabs_process.py write FOLDER              networks by Sinabs' exporter, NAME.nir, and what
they compute, NAME.npz: frames, and spikes of each layer of neurons in order
python sinabs_process.py run FILE.nir IN OUT.npz   loads a file as it is; frames [N, T, ...] of IN
(.npy) to the spikes of its last neurons, with one spike a step and reset to 0
"""

import sys
from pathlib import Path

import nir
import numpy as np
import sinabs.layers as sl
import torch
from sinabs.activation import MembraneReset, SingleSpike
from sinabs.nir import from_nir, to_nir
from torch import nn

STEPS = 20
HARD = {"spike_fn": SingleSpike, "reset_fn": MembraneReset(), "min_v_mem": None}


def _lif(neurons, tau):
    """Leaky neurons with all parameters in the layer's shape, which nir wants."""
    constants = {"tau_mem": torch.full((neurons,), tau), "spike_threshold": torch.ones(neurons)}
    return sl.LIFSqueeze(**constants, batch_size=1, **HARD)


def _networks():
    torch.manual_seed(0)
    shaped = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1),
        sl.IAFSqueeze(batch_size=1, **HARD),
        sl.SumPool2d(2, 2),
        nn.Flatten(),
        nn.Linear(6 * 4 * 4, 5),
        sl.IAFSqueeze(batch_size=1, **HARD),
    )
    leaky = nn.Sequential(
        nn.Linear(12, 16),
        _lif(16, 7.0),
        nn.Linear(16, 5),
        _lif(5, 3.0),
    )
    for net, gain in ((shaped, 4), (leaky, 16)):
        for module in net:
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.weight.data *= gain
    return {"shaped": (shaped, (2, 8, 8)), "leaky": (leaky, (12,))}


def _spikes(net, frames):
    """Run samples one after another, each from states of zero; give the spikes of all neurons."""
    neurons = [m for m in net.modules() if isinstance(m, sl.StatefulLayer)]
    found = {i: [] for i in range(len(neurons))}
    for i, module in enumerate(neurons):
        module.register_forward_hook(lambda _m, _x, y, i=i: found[i].append(y.detach().numpy()))
    for sample in frames:
        for module in neurons:
            module.reset_states()
        with torch.no_grad():
            net(torch.tensor(sample).float())
    return [np.stack(parts) for parts in found.values()]


def _write(folder):
    for name, (net, shape) in _networks().items():
        frames = (np.random.default_rng(0).random((3, STEPS, *shape)) < 0.3).astype(np.uint8)
        spikes = _spikes(net, frames)
        graph = to_nir(net, torch.tensor(frames[0, :1]).float())
        for node in graph.nodes.values():
            if isinstance(node, nir.Conv2d) and node.input_shape is None:
                node.input_shape = shape[1:]  # left out, and nir cannot write that
            if isinstance(node, nir.Flatten) and node.input_type["input"] is None:
                node.input_type = {"input": np.array([6, 4, 4])}
        nir.write(folder / f"{name}.nir", graph)
        np.savez(folder / f"{name}.npz", frames=frames, **{str(i): s for i, s in enumerate(spikes)})


def _run(file, given, out):
    net = from_nir(nir.read(file), batch_size=1)
    for module in net.modules():
        if isinstance(module, sl.StatefulLayer):
            module.spike_fn, module.reset_fn, module.min_v_mem = HARD.values()
    np.savez(out, spikes=_spikes(net, np.load(given))[-1])


if __name__ == "__main__":
    if sys.argv[1] == "write":
        _write(Path(sys.argv[2]))
    else:
        _run(*sys.argv[2:])
