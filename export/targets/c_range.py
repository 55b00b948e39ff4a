"""Range of the currents in a program's C."""

from tmkt.program.arithmetic import CURRENT_SPAN, DECAY_ONE, STATE_ONE, WORD_LIMIT
from tmkt.program.model import Layer, Program, largest_sum


def may_leave_32_bits(program: Program, layer: Layer) -> bool:
    """Tell whether a kept current plus input might not fit an int32_t.

    u is at most `bound` after its wrap, and grows by `most` before the next.
    """
    most = STATE_ONE * largest_sum(program, layer)
    if layer.current_decay == DECAY_ONE or most <= CURRENT_SPAN:
        return False
    if layer.current_decay == 0:
        return True
    bound = (most - CURRENT_SPAN) * DECAY_ONE // layer.current_decay
    return bound + most + CURRENT_SPAN >= WORD_LIMIT
