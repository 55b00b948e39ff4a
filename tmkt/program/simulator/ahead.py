"""Compile the simulator's loops side by side, for the first command after an installation."""

from functools import partial
from typing import Any

import numpy as np

from tmkt.kernels import can_compile_beside, compile_beside
from tmkt.program.model import Program
from tmkt.program.simulator.delivery import add_rows
from tmkt.program.simulator.dense import count_spikes, multiply_all
from tmkt.program.simulator.layers import Block, PreparedLayer, prepare, update_neurons
from tmkt.program.simulator.neurons import ACTIVE, update, update_memoryless

LOOPS: list[Any] = [add_rows, multiply_all, update, update_memoryless]


def compile_ahead(program: Program) -> None:
    """Compile the loops that a program needs in two processes of their own, if no command of this
    installation has needed one yet. It is a matter of time alone.

    Both take about as long, and this process about half as long for the loops that read
    recordings: so two cores have work until the end.
    """
    if not can_compile_beside(LOOPS):
        return
    layers = [prepare(program, layer) for layer in program.layers]
    count_spikes(np.zeros(1, np.uint8))  # wakes the compiler, once for all
    compile_beside([multiply_all], partial(_deliver, layers, dense=True))
    compile_beside([add_rows, update, update_memoryless], partial(_list_and_update, layers))


def _deliver(layers: list[PreparedLayer], dense: bool) -> None:
    """Call one way of delivery, for one step of nothing, in every form that the layers need."""
    for prepared in layers:
        for path in prepared.paths:
            for group in [*path.groups, *(path.reached or [])]:
                s = group.shape
                sites = s.source_height * s.source_width * s.source_channels
                values = np.zeros((1, sites), np.uint8)
                sums = np.zeros((1, prepared.layer.neurons), prepared.sums)
                touched = np.zeros((1, group.positions, 0), np.uint8)
                if dense:
                    group.take_all(values, False)(0, False, sums, touched)
                elif not s.graded and group.dense_from:
                    group.take_spikes(values, 0)(0, False, sums, touched)


def _list_and_update(layers: list[PreparedLayer]) -> None:
    _deliver(layers, dense=False)
    _update(layers)


def _update(layers: list[PreparedLayer]) -> None:
    """Update all neurons for one step of nothing."""
    for prepared in layers:
        neurons = prepared.layer.neurons
        block = Block(
            np.zeros((1, neurons), prepared.sums),
            np.zeros((1, neurons), np.uint8),
            np.zeros((1, neurons), np.int32),
            np.zeros((1, neurons), np.int32),
            np.zeros((1, ACTIVE + 1), np.int64),
        )
        touched = np.zeros((1, *prepared.touched), np.uint8)
        update_neurons(prepared, block, 0, block.sums, touched, block.spikes)
