"""Live events over UDP, in the packets that `udp_packets.py` states."""

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

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers import udp_packets
from tmkt.readers.check import Check
from tmkt.readers.source import Counters, Disorder, check_sensor
from tmkt.readers.udp_packets import STAMPED_EVENT, Packet

LARGEST_PACKET = 65536  # bytes
SOCKET_BUFFER = 4 << 20  # bytes asked for: with the usual 208 KB, bursts lose two fifths (measured)
QUEUE_EVENTS = 1 << 20
# The share of packets beyond which answers are not those of the sensor's scene; our choice. Less is
# usual where a stream begins before its receiver has compiled its loops.
MOST_LOST = 0.5
TICK_S = 0.1  # how often waiting looks if the stream was closed
SO_MEMINFO, MEMINFO_DROPS = 55, 8  # Linux 4.12 and later; Python has no names for them


def parse_address(address: str) -> tuple[str, int]:
    """Give host and port of "udp://HOST:PORT". Raises InputError for anything else."""
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
    """Counters of a live stream: those of the check, and losses on the way.

    Losses are no damage: they do not make a stream fail. `tmkt stream` ends with an error above
    MOST_LOST.
    """

    packets: int = 0  # received, the lost ones included
    lost_packets: int = 0  # received while the queue was full
    lost_events: int = 0  # in them
    # packets that the system dropped because its buffer was full; None: it does not say
    lost_in_socket: int | None = None
    socket_buffer_bytes: int = 0  # granted by the system
    restarts: int = 0  # the sender began anew with earlier stamps; time goes on

    @property
    def lost_share(self) -> float:
        """Share of the packets that came to this host and were lost on it."""
        in_socket = self.lost_in_socket or 0
        return (self.lost_packets + in_socket) / max(1, self.packets + in_socket)

    def losses(self) -> str:
        """Name the losses in words for people; empty if nothing was lost."""
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


class UdpSource:
    """Events that come to a UDP port, as a `Source`.

    A thread empties the socket into a queue with room for `queue_events` events with stamps (8
    bytes each; twice as many without). While the queue is full, the packets that come are dropped
    and counted with their events. What is in the queue stays, so that delivered events have few and
    whole holes. Iterating gives at least one event, as soon as it is there. It ends `timeout_s`
    seconds after the last packet (None: never), or after `close`, which any thread and any signal
    handler may call.

    Time is that of the stamps, continued over the wraps of their 32 bits. If a stream's first event
    has no stamp, time is the host's clock at a packet's arrival (microseconds from the opening on),
    and stamps in it are not used. An event without a stamp in a stream of stamped ones takes that
    of the event before. When stamps go back after a second of silence, the sender began anew: time
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
        granted = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self.counters.socket_buffer_bytes = granted // 2  # Linux counts its own part, too
        place_name = f"[{host}]" if ":" in host else host
        self.name = self.address = f"udp://{place_name}:{self._socket.getsockname()[1]}"
        self._packets: deque[Packet] = deque()
        self._waiting = 0  # bytes in the queue
        self._changed = threading.Condition()
        self._closed = threading.Event()
        self._heard_us = 0
        self._check = Check(self.name, sensor, self.counters, disorder)
        self._state = udp_packets.new_state()
        self._socket.settimeout(TICK_S)
        # Compile before the first packet comes.
        udp_packets.count(bytes(4))
        udp_packets.decode([Packet(bytes(4), 0)], udp_packets.new_state())
        self._opened = time.monotonic()
        self._thread = threading.Thread(target=self._receive, name=self.name, daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[Events]:
        try:
            while packets := self._take():
                events = self._check(udp_packets.decode(packets, self._state))
                self.counters.wraps = int(self._state[udp_packets.WRAPS])
                self.counters.restarts = int(self._state[udp_packets.RESTARTS])
                self.counters.bad_records = int(self._state[udp_packets.CUT])
                if len(events):
                    yield events
            if last := self._check.finish():
                yield last
        finally:
            self.close()
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
        """End the stream: iteration still gives what is in the queue, then ends."""
        if not self._closed.is_set():
            self._closed.set()
            self._thread.join(5 * TICK_S)
            self.counters.lost_in_socket = _drops(self._socket)
            self._socket.close()

    def _receive(self) -> None:
        """Move packets from the socket into the queue: the thread."""
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
            packet, left_over = bytes(view[: n & ~3]), n % 4 > 0
            with self._changed:
                self._heard_us = arrival_us
                self.counters.packets += 1
                if self._waiting + len(packet) > self._room:
                    self.counters.lost_packets += 1
                    self.counters.lost_events += udp_packets.count(packet)
                elif n:
                    self._packets.append(Packet(packet, arrival_us, left_over))
                    self._waiting += len(packet)
                    self._changed.notify()

    def _take(self) -> list[Packet]:
        """Wait for packets and empty the queue; give none at the stream's end."""
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


def _listen(family: int, kind: int, place: Any) -> socket.socket:
    """Open and bind a socket with as large a buffer as the system grants."""
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
    """Count packets dropped by the system because the socket's buffer was full.

    None if the system does not say.
    """
    try:
        found = of.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, 4 * (MEMINFO_DROPS + 1))
        return int(unpack(f"{len(found) // 4}I", found)[MEMINFO_DROPS])
    except (OSError, IndexError):
        return None
