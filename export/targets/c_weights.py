"""Weights as words of C: as few bits a weight as hold them, in the order in which one spike reads
them.

A word keeps weights as unsigned numbers: the mantissa plus half of its range. Adding all of a word
to two sums at a time is then a mask and an addition, whatever the signs. What the halves add up to
is the same for all outputs of a position, and is taken off before the neurons see the sums. All of
this is arithmetic modulo 2^32, so only the sums themselves have to fit.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.program.weight_grid import least_shift

WIDTHS = (2, 4, 8)


@dataclass(frozen=True)
class Packing:
    """Layout of a synapse's weights: `bits` each, for sums of which two share a word (`pairs`)."""

    bits: int
    pairs: bool

    @property
    def passes(self) -> int:
        """Words of sums that one word of weights is added to."""
        return (16 if self.pairs else 32) // self.bits

    @property
    def lanes(self) -> int:
        """Weights in a word."""
        return 32 // self.bits

    @property
    def mask(self) -> int:
        """The bits that one pass takes of a word, at the low end."""
        one = (1 << self.bits) - 1
        return one | one << 16 if self.pairs else one

    @property
    def half(self) -> int:
        """Half of a weight's range, which each has too much, in each of a word's sums."""
        one = 1 << (self.bits - 1)
        return one | one << 16 if self.pairs else one

    def words(self, outputs: int) -> int:
        """Count the words that hold the weights of one source to all outputs."""
        return -(-outputs // self.lanes)

    def pack(self, mantissas: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Pack mantissas [..., outputs] into words [..., words]."""
        *shape, outputs = mantissas.shape
        words = self.words(outputs)
        stored = np.zeros((*shape, words * self.lanes), np.uint64)
        stored[..., :outputs] = mantissas + (1 << (self.bits - 1))
        # The passes of a word go to sums that lie `words` apart: a loop over words reads and writes
        # in a row, which compilers can do several at a time.
        by_word = stored.reshape(*shape, self.passes, words, -1).swapaxes(-3, -2)
        at = np.arange(self.passes)[:, None] * self.bits + np.arange(by_word.shape[-1]) * 16
        packed: NDArray[np.uint32] = (by_word << at.astype(np.uint64)).sum((-2, -1))
        return packed.astype(np.uint32)


def packing_of(weight: NDArray[np.int16], pairs: bool) -> Packing:
    """Choose the fewest bits that hold a synapse's mantissas."""
    values = mantissas(weight)
    low, high = int(values.min(initial=0)), int(values.max(initial=0))
    for bits in WIDTHS:
        if -(1 << (bits - 1)) <= low and high < 1 << (bits - 1):
            return Packing(bits, pairs)
    raise AssertionError("a program's weights have 8 bits")


def mantissas(weight: NDArray[np.int16]) -> NDArray[np.int64]:
    """Give the weights without the zero bits that all of them end with."""
    return weight.astype(np.int64) >> (least_shift(weight) or 0)
