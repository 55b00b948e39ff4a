"""Sender of events over UDP at the pace at which they were recorded: a camera for tests.

`udp_packets.py` states the packets.
"""

import socket
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.readers.source import Source
from tmkt.readers.udp import parse_address
from tmkt.readers.udp_packets import STAMPED_EVENT, WORD, encode

PACKET = 512  # bytes, as AEStream sends without stamps: 64 events with stamps, 128 without
TICK_US = 1000  # events wait at most so long, in their own time, for a packet to fill; ours


@dataclass
class Sent:
    """Counts of what was sent.

    `refused`: packets that the receiving host answered with "nobody listens there". `late_s`: the
    longest time by which a packet was late.
    """

    events: int = 0
    packets: int = 0
    refused: int = 0
    seconds: float = 0.0
    late_s: float = 0.0


def send(source: Source, address: str, speed: float = 1.0, stamps: bool = True) -> Sent:
    """Send a source's events to "udp://HOST:PORT".

    `speed` 1 is the pace of the recording, 2 twice as fast; 0 as fast as the socket takes them, and
    a receiver may lose many of those. A packet leaves when it is full or a millisecond of event
    time is over. Raises InputError for an address that cannot be sent to.
    """
    sent = Sent()
    host, port = parse_address(address)
    words_per_event = 2 if stamps else 1
    size = PACKET // (STAMPED_EVENT if stamps else WORD.itemsize)
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as to:
            to.connect(place)
            begin, first_us = 0.0, None
            for events in source:
                words = encode(events, stamps)
                if first_us is None:
                    begin, first_us = time.monotonic(), int(events.t[0])
                for start, end in _cut(events.t, size, first_us):
                    if speed:
                        due = begin + (int(events.t[end - 1]) - first_us) / 1e6 / speed
                        wait = due - time.monotonic()
                        if wait > 0:
                            time.sleep(wait)
                        sent.late_s = max(sent.late_s, -wait)
                    packet = words[start * words_per_event : end * words_per_event]
                    sent.refused += _send_packet(to, packet)
                    sent.packets += 1
                    sent.events += end - start
                    sent.seconds = time.monotonic() - begin
    except OSError as error:
        raise InputError(
            f"{address}: cannot be sent to ({error.strerror or error}); check host, port and"
            " network"
        ) from None
    return sent


def _send_packet(to: socket.socket, packet: NDArray[np.uint32]) -> int:
    """Send a packet; give the number of refusals of earlier packets that were reported meanwhile.

    Each of them stops one attempt.
    """
    for refused in range(2):
        try:
            to.send(packet.data)
            return refused
        except ConnectionRefusedError:
            pass
    return 2


def _cut(t: NDArray[np.int64], size: int, first_us: int) -> list[tuple[int, int]]:
    """Cut a chunk into packets, [start, end): at most `size` events of one tick."""
    ticks = (t - first_us) // TICK_US
    borders = np.flatnonzero(np.diff(ticks)) + 1
    found = []
    for begin, end in zip([0, *borders], [*borders, len(t)], strict=True):
        found += [
            (start, min(start + size, int(end))) for start in range(int(begin), int(end), size)
        ]
    return found
