"""Check that a program's C stays within 32 bits."""

from tmkt.errors import InputError
from tmkt.program.arithmetic import CURRENT_SPAN, DECAY_ONE, STATE_ONE
from tmkt.program.model import INPUT, Layer, Program, largest_sum


def check_32_bits(program: Program, layer: Layer) -> None:
    """Raise InputError where a pooled count, or |u|, might not fit an int32_t: u is at most `bound`
    after its wrap, and grows by `most` before the next.
    """
    for synapse in layer.synapses:
        counts = synapse.pool**2 * (program.max_count if synapse.source == INPUT else 1)
        if counts >= 2**30:
            raise InputError(
                f"layer {layer.name!r}: pools counts up to {counts}, expected below 2^30 for C; use"
                " smaller pools"
            )
    most = STATE_ONE * largest_sum(program, layer)
    if layer.current_decay == DECAY_ONE or most <= CURRENT_SPAN:
        return
    if layer.current_decay:
        bound = (most - CURRENT_SPAN) * DECAY_ONE // layer.current_decay
    else:
        bound = 2**31
    if bound + most + CURRENT_SPAN >= 2**31:
        raise InputError(
            f"layer {layer.name!r}: current memory (decay {layer.current_decay}) with sums up to"
            f" {most // STATE_ONE}, expected currents below 2^31; use fewer synapses or smaller"
            " weights"
        )
