"""Unit of a program's read-out, and whether it adds up over the bins."""

from tmkt.program.arithmetic import DECAY_ONE, STATE_ONE
from tmkt.program.model import Program


def margin_unit(program: Program) -> int:
    """Return what a margin of 1 is in the program's integers.

    It is 1 of the float network's summed logits (the weight 1 where the scale is not known), or one
    spike where the read-out counts spikes.
    """
    return 1 if program.readout == "spikes" else STATE_ONE * (program.layers[-1].scale or 1)


def readout_adds_up(program: Program) -> bool:
    """Tell if the read-out is a plain sum over the bins: an integrator that neither leaks nor has a
    current, or spike counts.
    """
    last = program.layers[-1]
    return program.readout == "spikes" or (
        last.voltage_decay == 0 and last.current_decay == DECAY_ONE
    )
