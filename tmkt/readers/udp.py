"""Live events over UDP, in the packets of SPIF and AEStream.

A packet is a row of little-endian words of 32 bits, no header: bit 31 = 1: the event has no stamp,
0: a word with its stamp follows (the low 32 bits of the sender's clock in microseconds, wraps after
71.6 minutes); bits 30..16 x; bit 15 polarity; bits 14..0 y. (SpiNNakerManchester/spif,
`spiffer/README.md`; AEStream 0.6.4's packets, captured, are these words.) Nothing numbers the
packets: what the network loses cannot be seen.
"""

import socket
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from struct import unpack
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.kernels import kernel
from tmkt.readers.check import Check
from tmkt.readers.source import Counters, Disorder, Raw, check_sensor

LARGEST_PACKET = 65536  # bytes
SOCKET_BUFFER = 4 << 20  # bytes asked for: with the usual 208 KB, bursts lose two fifths (measured)
STAMPED_EVENT = 8  # bytes
QUEUE_EVENTS = 1 << 20
RESTART_US = (
    1_000_000  # silence after which a stamp that goes back means that the sender began anew; ours
)
TICK_S = 0.1  # how often waiting looks whether the stream was closed
SO_MEMINFO, MEMINFO_DROPS = 55, 8  # Linux 4.12 and later; Python has no names for them

# Places in the decoder's state.
LAST, MODE, OFFSET, HEARD, CUT, WRAPS, RESTARTS = range(7)
UNKNOWN, STAMPED, ARRIVAL = range(3)


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of "udp://HOST:PORT". Raises InputError for anything else."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        parts, host, port = urlsplit(""), None, None
    if parts.scheme != "udp" or host is None or port is None or parts.path not in ("", "/"):
        raise InputError(
            f"{address}: not an address of a live stream, expected udp://HOST:PORT, for example"
            " udp://127.0.0.1:3333"
        )
    return host, port


@dataclass
class LiveCounters(Counters):
    """What a live stream met besides what the check counts. Losses are no damage: they do not make
    a stream fail.
    """

    packets: int = 0  # received, the lost ones included
    lost_packets: int = 0  # received while the queue was full
    lost_events: int = 0  # in them
    lost_in_socket: int | None = (
        None  # packets that the system dropped because its buffer was full; None: it does not say
    )
    socket_buffer_bytes: int = 0  # granted by the system
    restarts: int = 0  # the sender began anew with earlier stamps; time goes on

    def losses(self) -> str:
        """What was lost in words for people; empty if nothing was."""
        said = []
        if self.lost_events:
            said.append(
                f"{self.lost_events} events lost in {self.lost_packets} packets: this host was too"
                " slow and the queue was full"
            )
        if self.lost_in_socket:
            said.append(
                f"{self.lost_in_socket} packets lost before they were read: the socket's buffer"
                f" holds {self.socket_buffer_bytes} bytes"
            )
        return "; ".join(said)


@kernel
def _decode(
    words: NDArray[np.uint32],
    ends: NDArray[np.int64],
    arrivals_us: NDArray[np.int64],
    state: NDArray[np.int64],
    t: NDArray[np.int64],
    x: NDArray[np.uint16],
    y: NDArray[np.uint16],
    p: NDArray[np.uint8],
) -> int:
    """Fills the arrays from packets that end before the words `ends`; gives the number of events."""
    n = 0
    i = 0
    for k in range(ends.size):
        silence = arrivals_us[k] - state[HEARD]
        state[HEARD] = arrivals_us[k]
        first = True
        while i < ends[k]:
            word = np.int64(words[i])
            i += 1
            stamped = word >> 31 == 0
            stamp = np.int64(0)
            if stamped:
                if i == ends[k]:  # the packet ends where the stamp should be
                    state[CUT] += 1
                    break
                stamp = np.int64(words[i])
                i += 1
            if state[MODE] == UNKNOWN:
                state[MODE] = STAMPED if stamped else ARRIVAL
                state[LAST] = stamp if stamped else 0
            if state[MODE] == ARRIVAL:
                state[LAST] = arrivals_us[k]
            elif stamped:
                step = (
                    stamp - state[LAST]
                ) & 0xFFFFFFFF  # the clock's 32 bits: at most half a turn forward, else backward
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
    return n


@kernel
def _count(words: NDArray[np.uint32]) -> int:
    """Events in a packet."""
    n = i = 0
    while i < words.size:
        i += 1 if words[i] >> 31 else 2
        n += i <= words.size
    return n


class UdpSource:
    """Events that come to a UDP port, as a `Source`.

    A thread empties the socket into a queue with room for `queue_events` events with stamps (8
    bytes each; twice as many without). While it is full, the packets that come are dropped and
    counted with their events; what is in the queue stays, so that what is delivered has few and
    whole holes. Iterating gives what has come so far, at least one event, as soon as it is there;
    it ends `timeout_s` seconds after the last packet (None: never), or after `close`, which any
    thread and any signal handler may call.

    Time: that of the stamps, continued over the wraps of their 32 bits. A stream whose first event
    has none takes the host's clock at a packet's arrival (microseconds from the opening on), and
    stamps in it are not used; an event without a stamp in a stream of stamped ones takes that of
    the event before. When stamps go back after a second of silence, the sender began anew: time
    goes on.

    `sensor` is (height, width). `port` 0 in the address: any free one; `address` then tells which.
    Raises InputError for an address that cannot be listened at, and from iteration at the end if no
    event was delivered.
    """

    def __init__(
        self,
        address: str,
        sensor: tuple[int, int],
        *,
        queue_events: int = QUEUE_EVENTS,
        timeout_s: float | None = None,
        disorder: Disorder = "drop",
    ) -> None:
        host, port = parse_address(address)
        self.sensor: tuple[int, int] | None = check_sensor(sensor, address)
        self.counters = LiveCounters()
        self.timeout_s = timeout_s
        self._room = queue_events * STAMPED_EVENT  # bytes
        try:
            family, kind, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = _listen(family, kind, place)
        except OSError as error:
            raise InputError(
                f"{address}: cannot be listened at ({error.strerror or error}); choose a free port"
                " and an address of this host"
            ) from None
        self.counters.socket_buffer_bytes = (
            self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2
        )  # Linux counts its own part, too
        self.name = self.address = (
            f"udp://{f'[{host}]' if ':' in host else host}:{self._socket.getsockname()[1]}"
        )
        self._packets: deque[tuple[bytes, int]] = deque()
        self._waiting = 0  # bytes in the queue
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._heard_us = 0
        self._check = Check(self.name, sensor, self.counters, disorder)
        self._state = np.zeros(7, np.int64)
        self._socket.settimeout(TICK_S)
        _count(np.zeros(1, np.uint32))  # compiled before the first packet comes
        self._decoded([(bytes(4), 0)], np.zeros(7, np.int64))
        self._opened = time.monotonic()
        self._thread = threading.Thread(target=self._receive, name=self.name, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Events]:
        try:
            while packets := self._take():
                events = self._check(self._decoded(packets, self._state))
                self.counters.wraps, self.counters.restarts = (
                    int(self._state[WRAPS]),
                    int(self._state[RESTARTS]),
                )
                if len(events):
                    yield events
            if last := self._check.finish():
                yield last
        finally:
            self.close()
        self.counters.bad_records += int(self._state[CUT])
        if self.counters.events == 0:
            why = (
                f"; {self.counters.dropped} dropped: {self.counters.reasons()}"
                if self.counters.dropped
                else ""
            )
            raise InputError(
                f"{self.name}: no events came{why}; check the sender's address, --sensor and"
                " --timeout"
            )

    def close(self) -> None:
        """Ends the stream: what is in the queue is still given, then iteration ends."""
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join(5 * TICK_S)
            self.counters.lost_in_socket = _drops(self._socket)
            self._socket.close()

    def _receive(self) -> None:
        """The thread: from the socket into the queue."""
        memory = bytearray(LARGEST_PACKET)
        view = memoryview(memory)
        while not self._closed.is_set():
            try:
                n = self._socket.recv_into(memory)
            except TimeoutError:
                continue
            except OSError:
                return
            arrival_us = int((time.monotonic() - self._opened) * 1e6)
            packet = bytes(view[: n & ~3])
            with self._changed:
                self._heard_us = arrival_us
                self.counters.packets += 1
                self.counters.bad_records += n % 4 > 0
                if self._waiting + len(packet) > self._room:
                    self.counters.lost_packets += 1
                    self.counters.lost_events += _count(np.frombuffer(bytearray(packet), np.uint32))
                elif packet:
                    self._packets.append((packet, arrival_us))
                    self._waiting += len(packet)
                    self._changed.notify()

    def _take(self) -> list[tuple[bytes, int]]:
        """Everything in the queue, as soon as there is something; nothing at the stream's end."""
        with self._changed:
            while not self._packets and not self._closed.is_set():
                silent_s = time.monotonic() - self._opened - self._heard_us / 1e6
                if self.timeout_s is not None and silent_s >= self.timeout_s:
                    break
                self._changed.wait(TICK_S)
            packets = list(self._packets)
            self._packets.clear()
            self._waiting = 0
        return packets

    def _decoded(self, packets: list[tuple[bytes, int]], state: NDArray[np.int64]) -> Raw:
        words = np.frombuffer(bytearray().join(packet for packet, _ in packets), np.dtype("<u4"))
        ends = np.cumsum([len(packet) // 4 for packet, _ in packets], dtype=np.int64)
        arrivals_us = np.array([arrival_us for _, arrival_us in packets], np.int64)
        size = len(words)
        t, x, y, p = (
            np.empty(size, np.int64),
            np.empty(size, np.uint16),
            np.empty(size, np.uint16),
            np.empty(size, np.uint8),
        )
        n = _decode(words, ends, arrivals_us, state, t, x, y, p)
        return t[:n], x[:n], y[:n], p[:n]


def _listen(family: int, kind: int, place: Any) -> socket.socket:
    """A bound socket with as large a buffer as the system grants."""
    found = socket.socket(family, kind)
    try:
        with suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SOCKET_BUFFER)
        found.bind(place)
    except OSError:
        found.close()
        raise
    return found


def _drops(of: Any) -> int | None:
    """Packets that the system dropped because the socket's buffer was full; None where it does not
    say.
    """
    try:
        found = of.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
        return int(unpack(f"{len(found) // 4}I", found)[MEMINFO_DROPS])
    except (OSError, IndexError):
        return None
