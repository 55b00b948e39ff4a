"""Traffic between cores: messages, hops and synaptic operations, counted from spikes."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.deploy.fit.geometry import axes
from tmkt.deploy.fit.network import Connection, Population, volume
from tmkt.deploy.fit.placement import LayerPlacement, Placement
from tmkt.errors import InputError
from tmkt.program.model import INPUT

Counts = NDArray[np.float64]


@dataclass(frozen=True)
class Link:
    """Traffic from one source to one layer, float64 [N] each: totals of each sample.

    `messages`: a spike sends one to every core that holds at least one of its synapses, its own
    core included. `hops_x`, `hops_y`: steps between mesh nodes of one chip, along columns and rows.
    `between_chips`: messages that leave their chip, whose hops are not known. Input that does not
    come from cores has messages and no hops.
    """

    source: str
    target: str
    messages: Counts
    hops_x: Counts
    hops_y: Counts
    between_chips: Counts


@dataclass(frozen=True)
class Traffic:
    """Counts float64 [N, T, cores] of each sample, step and core, and the links.

    `synops`, by kind of connection: one for each spike and synapse that it reaches on the core; a
    count above 1 is one graded spike. `messages_in`, `messages_out`, `fired` (spikes of the core's
    neurons; of input on cores too). A delayed or recurrent spike counts at the step at which it is
    sent. A layer with two connections from one source gets a message for each.
    """

    synops: dict[str, Counts]
    messages_in: Counts
    messages_out: Counts
    fired: Counts
    links: tuple[Link, ...]


def traffic(
    placement: Placement, frames: NDArray[np.uint8], spikes: Mapping[str, NDArray[np.uint8]]
) -> Traffic:
    """Count the traffic of a run: frames uint8 [N, T, *input shape] and the spikes [N, T, *shape]
    of every layer that fires.

    Raises InputError if the spikes of a layer that fires are missing, or frames and spikes do not
    fit the placement's network.
    """
    activity: dict[str, NDArray[np.uint8]] = {INPUT: frames, **spikes}
    samples, steps = frames.shape[:2]
    missing = [
        layer.name
        for layer in placement.network.layers
        if layer.fires and layer.name not in activity
    ]
    if missing:
        raise InputError(
            f"traffic: no spikes of layer {missing[0]!r}, expected those of every layer that fires;"
            " run the simulator"
        )
    for name, found in activity.items():
        expected = (samples, steps, *placement.network.shape_of(name))
        if found.shape != expected:
            raise InputError(
                f"traffic: {name!r} has shape {found.shape}, expected {expected}; give the frames"
                " and spikes of the placed network"
            )
    parts = [
        _count(placement, {name: _binary(found[n]) for name, found in activity.items()})
        for n in range(samples)
    ]
    synops = {kind: np.stack([part.synops[kind] for part in parts]) for kind in parts[0].synops}
    messages_in, messages_out, fired = (
        np.stack([getattr(part, what) for part in parts])
        for what in ("messages_in", "messages_out", "fired")
    )
    links = []
    for same in zip(*(part.links for part in parts), strict=True):
        totals = (
            np.array([getattr(link, what) for link in same])
            for what in ("messages", "hops_x", "hops_y", "between_chips")
        )
        links.append(Link(same[0].source, same[0].target, *totals))
    return Traffic(synops, messages_in, messages_out, fired, tuple(links))


def expected(placement: Placement, rate: float) -> Traffic:
    """Compute mean counts of one step in which every neuron and every input site spikes with
    probability `rate`, as one sample.
    """
    shapes = {
        INPUT: placement.network.input_shape,
        **{layer.name: layer.shape for layer in placement.network.layers if layer.fires},
    }
    part = _count(
        placement, {name: np.full((1, *volume(shape)), rate) for name, shape in shapes.items()}
    )
    synops = {kind: counts[None] for kind, counts in part.synops.items()}
    return Traffic(
        synops, part.messages_in[None], part.messages_out[None], part.fired[None], part.links
    )


def _binary(spikes: NDArray[np.uint8]) -> Counts:
    """Convert spikes to float64 [T, C, H, W], 1 for a spike, graded or not."""
    return np.asarray(spikes.reshape(len(spikes), *volume(spikes.shape[1:])) != 0, np.float64)


def _count(placement: Placement, activity: Mapping[str, Counts]) -> Traffic:
    """Count one sample, activity float64 [T, C, H, W] by source; returns arrays [T, cores] and
    links with single numbers.
    """
    steps, cores = len(activity[INPUT]), placement.cores
    synops = {kind: np.zeros((steps, cores)) for kind in ("conv", "dense")}
    messages_in, messages_out, fired = np.zeros((3, steps, cores))
    links = []
    for placed in placement.layers:
        here = slice(placed.first_core, placed.first_core + placed.cores)
        if placed.layer.name in activity:
            fired[:, here] = _by_core(activity[placed.layer.name], placed)
        for connection in placed.layer.connections:
            spikes = activity.get(connection.source)
            if spikes is None:
                continue  # a source that does not fire sends nothing
            reach = _reach(placement, placed, connection)
            synops[connection.kind][:, here] += _contract(spikes, reach)
            arriving = _contract(spikes, _reached(reach))
            messages_in[:, here] += arriving
            source = placement.by_name.get(connection.source)
            links.append(
                _link(
                    placement,
                    source,
                    placed,
                    connection,
                    spikes=spikes.sum(0),
                    reach=reach,
                    messages=float(arriving.sum()),
                )
            )
            if source is not None:
                targets = np.einsum(
                    "c,y,x->cyx", *((part > 0).sum(1).astype(np.float64) for part in reach)
                )
                own = slice(source.first_core, source.first_core + source.cores)
                messages_out[:, own] += _by_core(spikes * targets, source)
    return Traffic(synops, messages_in, messages_out, fired, tuple(links))


def _reach(
    placement: Placement, placed: LayerPlacement, connection: Connection
) -> tuple[Counts, Counts, Counts]:
    """Count the targets that a source position reaches, float64 [source positions, blocks] of each
    axis. A core's synapses are the product.
    """
    layer: Population = placed.layer
    along = zip(axes(placement.network, layer, connection), placed.tile, strict=True)
    c, y, x = (axis.reach(size).astype(np.float64) for axis, size in along)
    return c, y, x


def _contract(spikes: Counts, reach: tuple[Counts, Counts, Counts]) -> Counts:
    """Sum over what reaches each core: [T, C, H, W] to [T, cores], in the order of the target's
    grid.
    """
    c, y, x = reach
    by_column = spikes @ x
    by_row = y.T @ by_column  # [T, C, Y, X]
    return np.asarray(c.T @ by_row.reshape(*by_row.shape[:2], -1)).reshape(len(spikes), -1)


def _by_core(values: Counts, placed: LayerPlacement) -> Counts:
    """Sum [T, C, H, W] over each tile of a layer: [T, cores]."""
    for axis, size in enumerate(placed.tile, start=1):
        values = np.add.reduceat(values, np.arange(0, values.shape[axis], size), axis=axis)
    return values.reshape(len(values), -1)


def _link(
    placement: Placement,
    source: LayerPlacement | None,
    target: LayerPlacement,
    connection: Connection,
    spikes: Counts,
    reach: tuple[Counts, Counts, Counts],
    messages: float,
) -> Link:
    """Count the hops of a connection; `spikes` [C, H, W] are summed over the steps."""
    totals = np.zeros(3)
    if source is not None:
        chip, column, row = placement.positions()
        there = slice(target.first_core, target.first_core + target.cores)
        for i, (k, y, x) in enumerate(np.ndindex(*source.core_grid)):
            box = [
                slice(at * size, (at + 1) * size)
                for at, size in zip((k, y, x), source.tile, strict=True)
            ]
            c, rows, columns = (
                part[part_of] for part, part_of in zip(_reached(reach), box, strict=True)
            )
            sent = _contract(spikes[tuple(box)][None], (c, rows, columns))[0]
            core = source.first_core + i
            inside = chip[there] == chip[core]
            totals += (
                (sent * inside * np.abs(column[there] - column[core])).sum(),
                (sent * inside * np.abs(row[there] - row[core])).sum(),
                (sent * ~inside).sum(),
            )
    values = (np.array(value) for value in (messages, *totals))
    return Link(connection.source, target.layer.name, *values)


def _reached(reach: tuple[Counts, Counts, Counts]) -> tuple[Counts, Counts, Counts]:
    """Mark by 1 where a source position reaches a block at all: one message, however many synapses
    it drives.
    """
    c, y, x = ((part > 0).astype(np.float64) for part in reach)
    return c, y, x
