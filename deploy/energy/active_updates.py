"""Count the neurons of each core that have something to do in a step."""

from math import prod

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.energy.calibrated import owners
from tmkt.deploy.fit.geometry import axes, tap_table
from tmkt.deploy.fit.network import Connection, volume
from tmkt.deploy.fit.placement import Placement
from tmkt.program.model import INPUT, Layer, Program, Synapse, pooled
from tmkt.program.simulator.layout import channels_first
from tmkt.program.simulator.simulator import Simulator

Counts = NDArray[np.float64]
Spikes = dict[str, NDArray[np.uint8]]


def active_neurons(
    program: Program, placement: Placement, frames: NDArray[np.uint8]
) -> tuple[Counts, Spikes]:
    """Run frames uint8 [N, T, *input shape] step by step and count the active neurons.

    Returns float64 [N, T, cores] and the spikes [N, T, *shape] of every layer that fires. A neuron
    is active in a step if its membrane or current was not zero before it, if it has a bias, or if a
    spike arrived, whatever its weight.
    """
    simulator = Simulator(program, threads=1)
    state = simulator.zero_state(len(frames))
    alive: dict[str, list[NDArray[np.bool_]]] = {layer.name: [] for layer in program.layers}
    shown: list[Spikes] = []
    for t in range(frames.shape[1]):
        for layer, u, v in zip(program.layers, state.u, state.v, strict=True):
            alive[layer.name].append((v != 0) | (u != 0 if u.size else False))
        result = simulator.run(frames[:, t : t + 1], state)
        state = result.state
        shown.append(result.spikes)
    spikes = {name: np.concatenate([step[name] for step in shown], axis=1) for name in shown[0]}
    out = np.zeros((*frames.shape[:2], placement.cores))
    for layer in program.layers:
        busy = channels_first(np.stack(alive[layer.name], axis=1), layer.shape)
        busy = busy | (layer.bias != 0).reshape(-1, *[1] * (len(layer.shape) - 1))
        for synapse, connection in zip(
            layer.synapses, placement.by_name[layer.name].layer.connections, strict=True
        ):
            source = frames if synapse.source == INPUT else spikes.get(synapse.source)
            if source is not None and not np.all(layer.bias):
                busy = busy | _reached(placement, layer, synapse, connection, source)
        owner = owners(placement.by_name[layer.name]).reshape(-1)
        for n, t in np.ndindex(*busy.shape[:2]):
            out[n, t] += np.bincount(
                owner, weights=busy[n, t].reshape(-1), minlength=placement.cores
            )
    return out, spikes


def _reached(
    placement: Placement,
    layer: Layer,
    synapse: Synapse,
    connection: Connection,
    source: NDArray[np.uint8],
) -> NDArray[np.bool_]:
    """Mark the neurons, bool [N, T, *layer.shape], at which a spike of the source [N, T, ...]
    arrives.
    """
    samples, steps = source.shape[:2]
    spikes = np.asarray(source.reshape(samples, steps, *volume(source.shape[2:])) != 0, np.float32)
    if synapse.delays is None and synapse.source != layer.name:
        if synapse.kind == "dense":
            here = spikes[
                ..., : _kept(spikes.shape[3], synapse), : _kept(spikes.shape[4], synapse)
            ].any((2, 3, 4))
            return np.broadcast_to(
                here.reshape(samples, steps, *[1] * len(layer.shape)),
                (samples, steps, *layer.shape),
            )
        c, y, x = (
            np.asarray(tap_table(axis) >= 0, np.float32)
            for axis in axes(placement.network, placement.by_name[layer.name].layer, connection)
        )
        by_row = np.einsum("ntchx,hy->ntcyx", spikes @ x, y, optimize=True)
        return np.asarray(np.einsum("ntcyx,ck->ntkyx", by_row, c, optimize=True) > 0)
    inner = pooled(source.shape[2:], synapse.pool)
    if synapse.pool > 1:
        spikes = spikes[..., : inner[1] * synapse.pool, : inner[2] * synapse.pool]
        spikes = spikes.reshape(
            samples, steps, inner[0], inner[1], synapse.pool, inner[2], synapse.pool
        ).sum((4, 6))
    flat = spikes.reshape(samples, steps, prod(inner))
    out = np.zeros((samples, steps, layer.neurons), np.bool_)
    delays = np.zeros(synapse.weight.shape, np.uint8) if synapse.delays is None else synapse.delays
    for delay in np.unique(delays):
        late = int(delay) + (synapse.source == layer.name)
        if late < steps:
            out[:, late:] |= flat[:, : steps - late] @ (delays == delay).T.astype(np.float32) > 0
    return out.reshape(samples, steps, *layer.shape)


def _kept(size: int, synapse: Synapse) -> int:
    return size // synapse.pool * synapse.pool
