"""The packets of SPIF and AEStream: events as words of 32 bits.

A packet is a row of little-endian words without a header. Bit 31 = 1: the event has no stamp; 0: a
word with its stamp follows (the low 32 bits of the sender's clock in microseconds, which wraps
after 71.6 minutes). Bits 30..16 are x, bit 15 is the polarity, bits 14..0 are y. Sources:
SpiNNakerManchester/spif, `spiffer/README.md`; AEStream 0.6.4's packets, captured, are these words.
Nothing numbers the packets: what the network loses cannot be seen.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.source import Raw

WORD = np.dtype("<u4")
STAMPED_EVENT = 8  # bytes
UNSTAMPED = 1 << 31
# Silence after which a stamp that goes back means that the sender began anew; our choice.
RESTART_US = 1_000_000

STATE = 7  # places in the decoder's state:
LAST, MODE, OFFSET, HEARD, CUT, WRAPS, RESTARTS = range(STATE)
UNKNOWN, STAMPED, ARRIVAL = range(3)  # modes: where a stream's time comes from


class Packet(NamedTuple):
    """A packet's whole words, its arrival in microseconds on the host's clock, and whether bytes of
    a word that is not whole stood behind them.
    """

    data: bytes
    arrival_us: int
    left_over: bool = False


def new_state() -> NDArray[np.int64]:
    """Give the decoder's state at a stream's start."""
    return np.zeros(STATE, np.int64)


def decode(packets: list[Packet], state: NDArray[np.int64]) -> Raw:
    """Decode packets in order of arrival. `state` carries over to the next call."""
    words = np.frombuffer(bytearray().join(packet.data for packet in packets), WORD)
    ends = np.cumsum([len(packet.data) // WORD.itemsize for packet in packets], dtype=np.int64)
    arrivals_us = np.array([packet.arrival_us for packet in packets], np.int64)
    left_over = np.array([packet.left_over for packet in packets], np.bool_)
    raw = Raw.empty(len(words))
    return raw.first(_decode(words, ends, arrivals_us, left_over, state, *raw))


def count(data: bytes) -> int:
    """Count the events in a packet."""
    return int(_count(np.frombuffer(bytearray(data), np.uint32)))


def encode(events: Events, stamps: bool) -> NDArray[np.uint32]:
    """Encode events: uint32 [2 n] with stamps (their low 32 bits), [n] without."""
    words = (
        events.x.astype(np.uint32) << np.uint32(16)
        | events.p.astype(np.uint32) << np.uint32(15)
        | events.y.astype(np.uint32)
    )
    if not stamps:
        return words | np.uint32(UNSTAMPED)
    both = np.empty((len(events), 2), np.uint32)
    both[:, 0], both[:, 1] = words, events.t & 0xFFFFFFFF
    return both.reshape(-1)


@kernel
def _decode(
    words: NDArray[np.uint32],
    ends: NDArray[np.int64],
    arrivals_us: NDArray[np.int64],
    left_over: NDArray[np.bool_],
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fill the arrays from packets that end before the words `ends`; give the number of events."""
    n = 0
    i = 0
    for k in range(ends.size):
        if i == ends[k]:  # less than a word
            state[CUT] += left_over[k]
            continue
        silence = arrivals_us[k] - state[HEARD]
        state[HEARD] = arrivals_us[k]
        first = True
        cut = left_over[k]
        while i < ends[k]:
            word = np.int64(words[i])
            i += 1
            stamped = word >> 31 == 0
            stamp = np.int64(0)
            if stamped:
                if i == ends[k]:  # the packet ends where the stamp should be
                    cut = True
                    break
                stamp = np.int64(words[i])
                i += 1
            if state[MODE] == UNKNOWN:
                state[MODE] = STAMPED if stamped else ARRIVAL
                state[LAST] = stamp if stamped else 0
            if state[MODE] == ARRIVAL:
                state[LAST] = arrivals_us[k]
            elif stamped:
                # The clock's 32 bits: at most half a turn forward, else backward.
                step = (stamp - state[LAST]) & 0xFFFFFFFF
                if step >= 1 << 31:
                    step -= 1 << 32
                if first and step < 0 and silence > RESTART_US:
                    state[OFFSET] += silence - step
                    state[RESTARTS] += 1
                if step > 0 and (state[LAST] + step) >> 32 > state[LAST] >> 32:
                    state[WRAPS] += 1
                state[LAST] += step
            first = False
            t[n] = state[LAST] + state[OFFSET]
            x[n], y[n], p[n] = word >> 16 & 0x7FFF, word & 0x7FFF, word >> 15 & 1
            n += 1
        state[CUT] += cut  # once a packet: its end is one event that is not whole
    return n


@kernel
def _count(words: NDArray[np.uint32]) -> int:
    n = i = 0
    while i < words.size:
        i += 1 if words[i] >> 31 else 2
        n += i <= words.size
    return n
