"""Sends events over UDP in the packets that udp.py states, at the pace at which they were recorded:
a camera for tests.
"""

import socket
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.source import Source
from tmkt.readers.udp import parse_address

PACKET = 512  # bytes, as AEStream sends without stamps: 64 events with stamps, 128 without
TICK_US = 1000  # events wait at most so long, in their own time, for a packet to fill; ours
UNSTAMPED = 1 << 31


@dataclass
class Sent:
    """What was sent. `refused`: packets that the receiving host answered with "nobody listens
    there". `late_s`: the most that a packet was behind its time.
    """

    events: int = 0
    packets: int = 0
    refused: int = 0
    seconds: float = 0.0
    late_s: float = 0.0


def encode(events: Events, stamps: bool) -> NDArray[np.uint32]:
    """The words of the events: uint32 [2 n] with stamps (their low 32 bits), [n] without."""
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


def send(source: Source, address: str, speed: float = 1.0, stamps: bool = True) -> Sent:
    """Sends a source's events to "udp://HOST:PORT" and gives what was sent.

    `speed` 1 is the pace of the recording, 2 twice as fast; 0 as fast as the socket takes them, of
    which a receiver may lose many. A packet leaves when it is full or a millisecond of event time
    is over. Raises InputError for an address that cannot be sent to.
    """
    sent = Sent()
    host, port = parse_address(address)
    size = PACKET // (8 if stamps else 4)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as to:
            to.connect(place)
            begin, first_us = 0.0, None
            for events in source:
                words = encode(events, stamps)
                each = len(words) // len(events)
                if first_us is None:
                    begin, first_us = time.monotonic(), int(events.t[0])
                for start, end in _packets(events.t, size, first_us):
                    if speed:
                        due = begin + (int(events.t[end - 1]) - first_us) / 1e6 / speed
                        wait = due - time.monotonic()
                        if wait > 0:
                            time.sleep(wait)
                        sent.late_s = max(sent.late_s, -wait)
                    sent.refused += _refused(to, words[start * each : end * each])
                    sent.packets += 1
                    sent.events += end - start
                    sent.seconds = time.monotonic() - begin
    except OSError as error:
        raise InputError(
            f"{address}: cannot be sent to ({error.strerror or error}); check host, port and"
            " network"
        ) from None
    return sent


def _refused(to: socket.socket, packet: NDArray[np.uint32]) -> int:
    """Sends a packet; gives how many refusals of earlier ones were reported instead, each of which
    stops one attempt.
    """
    for refused in range(2):
        try:
            to.send(packet.data)
            return refused
        except ConnectionRefusedError:
            pass
    return 2


def _packets(t: NDArray[np.int64], size: int, first_us: int) -> list[tuple[int, int]]:
    """Begin and end of the packets of a chunk: at most `size` events of one tick."""
    ticks = (t - first_us) // TICK_US
    borders = np.flatnonzero(np.diff(ticks)) + 1
    found = []
    for begin, end in zip([0, *borders], [*borders, len(t)], strict=True):
        found += [
            (start, min(start + size, int(end))) for start in range(int(begin), int(end), size)
        ]
    return found
