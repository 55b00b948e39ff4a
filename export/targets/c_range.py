"""What a program's C must not exceed: 32 bits."""

from tmkt.errors import InputError
from tmkt.program.arithmetic import DECAY_ONE
from tmkt.program.model import INPUT, Layer, Program, largest_sum

WRAP = 2**23  # of the current, once


def check_32_bits(program: Program, layer: Layer) -> None:
    """InputError where a pooled count, or |u|, might not fit an int32_t: u is at most `bound` after
    its wrap, and grows by `most` before the next.
    """
    for synapse in layer.synapses:
        counts = synapse.pool**2 * (program.max_count if synapse.source == INPUT else 1)
        if counts >= 2**30:
            raise InputError(
                f"layer {layer.name!r}: pools counts up to {counts}, expected below 2^30 for C; use"
                " smaller pools"
            )
    most = 64 * largest_sum(program, layer)
    if layer.current_decay == DECAY_ONE or most <= 2 * WRAP:
        return
    bound = (most - 2 * WRAP) * DECAY_ONE // layer.current_decay if layer.current_decay else 2**31
    if bound + most + 2 * WRAP >= 2**31:
        raise InputError(
            f"layer {layer.name!r}: current memory (decay {layer.current_decay}) with sums up to"
            f" {most // 64}, expected currents below 2^31; use fewer synapses or smaller weights"
        )
