"""Events over UDP: sent over loopback, received, and refused if they are impossible."""

import socket
import struct
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import typer

from tmkt.cli.stream_source import report_losses
from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.send import send
from tmkt.readers.source import Counters
from tmkt.readers.udp import LiveCounters, UdpSource, parse_address

SENSOR = (128, 128)
ANY_PORT = "udp://127.0.0.1:0"


class Memory:
    """Events in memory as a source."""

    name, sensor = "memory", SENSOR

    def __init__(self, *chunks: Events) -> None:
        self.chunks, self.counters = chunks, Counters()

    def __iter__(self) -> Iterator[Events]:
        return iter(self.chunks)

    def close(self) -> None: ...


def made(n: int, seed: int = 0, span_us: int = 200_000, start_us: int = 0) -> Events:
    rng = np.random.default_rng(seed)
    t = start_us + np.sort(rng.integers(0, span_us, n))
    return Events(
        t,
        *(rng.integers(0, 128, n, np.uint16) for _ in "xy"),
        rng.integers(0, 2, n, np.uint8),
        SENSOR,
    )


def joined(chunks: list[Events]) -> Events:
    t, x, y, p = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in "txyp")
    return Events(t, x, y, p, SENSOR)


def same(a: Events, b: Events) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in "txyp")


class Receiver:
    """A source that a thread empties, as a program would."""

    def __init__(self, **options: object) -> None:
        self.source = UdpSource(ANY_PORT, SENSOR, **{"timeout_s": 0.5, **options})  # type: ignore[arg-type]
        self.chunks: list[Events] = []
        self.error: InputError | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.chunks += list(self.source)
        except InputError as error:
            self.error = error

    def wait(self) -> Events:
        self._thread.join(20)
        assert not self._thread.is_alive()
        if self.error:
            raise self.error
        return joined(self.chunks)


def packets_to(address: str, *packets: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as to:
        for packet in packets:
            to.sendto(packet, parse_address(address))


def word(x: int, y: int, p: int, stamp: int | None = None) -> bytes:
    event = x << 16 | p << 15 | y
    return struct.pack("<I", event | 1 << 31) if stamp is None else struct.pack("<II", event, stamp)


def test_what_is_sent_in_its_own_time_arrives_event_for_event() -> None:
    events = made(5_000)
    receiver = Receiver()
    begin = time.monotonic()
    halves = [
        Events(*(getattr(events, n)[half] for n in "txyp"), SENSOR)
        for half in (slice(2000), slice(2000, None))
    ]
    sent = send(Memory(*halves), receiver.source.address)
    assert time.monotonic() - begin > 0.19  # the recording lasts 0.2 s
    assert same(receiver.wait(), events)
    counters = receiver.source.counters
    assert (sent.events, sent.packets) == (5_000, counters.packets)
    assert counters.events == 5_000
    assert (counters.dropped, counters.lost_packets, counters.lost_in_socket or 0) == (0, 0, 0)


def test_speed_2_takes_half_the_time() -> None:
    receiver = Receiver()
    sent = send(Memory(made(500, span_us=400_000)), receiver.source.address, speed=2)
    receiver.wait()
    assert 0.19 < sent.seconds < 0.39


def test_without_stamps_the_time_of_arrival_counts() -> None:
    events = made(3_000, span_us=300_000)
    receiver = Receiver()
    send(Memory(events), receiver.source.address, stamps=False)
    got = receiver.wait()
    assert [np.array_equal(getattr(got, n), getattr(events, n)) for n in "xyp"] == [True] * 3
    assert 200_000 < got.t[-1] - got.t[0] < 2_000_000


def test_mixed_and_damaged_packets_are_counted_and_the_rest_is_read() -> None:
    receiver = Receiver()
    packets_to(
        receiver.source.address,
        b"",  # AEStream sends one when it has no events
        word(1, 2, 1, 100)
        + word(3, 4, 0),  # one without a stamp among stamped ones: that of the one before
        word(5, 6, 1, 90),  # backward
        word(7, 8, 1, 200) + word(9, 9, 0, 300)[:4],  # the last stamp is missing
        word(10, 11, 0, 300) + b"\x01\x02",  # half a word
        word(200, 5, 1, 400),  # outside the sensor
        word(12, 13, 1, 500),
    )
    got = receiver.wait()
    assert got.t.tolist() == [100, 100, 200, 300, 500]
    assert got.x.tolist() == [1, 3, 7, 10, 12]
    assert got.y.tolist() == [2, 4, 8, 11, 13]
    assert got.p.tolist() == [1, 0, 1, 0, 1]
    counters = receiver.source.counters
    assert (counters.packets, counters.events, counters.dropped) == (7, 5, 4)
    assert (
        counters.backward,
        counters.largest_backward_us,
        counters.outside_sensor,
        counters.bad_records,
    ) == (1, 10, 1, 2)


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6, 7])
def test_a_packet_that_is_cut_within_an_event_counts_once(cut: int) -> None:
    receiver = Receiver()
    packets_to(
        receiver.source.address,
        word(1, 1, 1, 100),
        (word(2, 2, 1, 200) + word(3, 3, 1, 300))[:-cut],
        word(4, 4, 1, 400),
        word(5, 5, 1, 500)[:3],
    )
    assert receiver.wait().x.tolist() == [1, 2, 4]
    counters = receiver.source.counters
    assert (counters.events, counters.bad_records, counters.dropped) == (3, 2, 2)


def test_a_stream_that_lost_most_of_its_packets_ends_with_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = Memory()
    source.counters = LiveCounters(packets=100_000, lost_packets=99_995, lost_events=6_399_680)
    with pytest.raises(typer.Exit) as ended:
        report_losses("udp://127.0.0.1:3333", source)
    assert ended.value.exit_code == 1
    assert "99.995 % of the packets lost, expected at most 50 %" in capsys.readouterr().err
    source.counters = LiveCounters(packets=10, lost_in_socket=100)
    with pytest.raises(typer.Exit):
        report_losses("udp://127.0.0.1:3333", source)
    source.counters = LiveCounters(packets=100, lost_packets=50, lost_events=3_200)
    report_losses("udp://127.0.0.1:3333", source)  # said, and no error
    assert "3200 events lost in 50 packets" in capsys.readouterr().err


@pytest.mark.parametrize("seed", range(4))
def test_random_packets_give_possible_events_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    receiver = Receiver()
    packets_to(receiver.source.address, *(nonsense(rng) for _ in range(300)))
    got = receiver.wait()
    assert got.x.max() < 128
    assert got.y.max() < 128
    assert got.p.max() <= 1
    assert got.t.min() >= 0
    assert np.all(np.diff(got.t) >= 0)
    counters = receiver.source.counters
    assert counters.events == len(got)
    assert counters.outside_sensor > 1000
    assert counters.bad_records > 10


def nonsense(rng: np.random.Generator) -> bytes:
    """Draw random words, half of them with coordinates near the sensor, cut anywhere."""
    words = rng.integers(0, 2**32, int(rng.integers(0, 300)), np.uint32)
    near = rng.random(len(words)) < 0.5
    words[near] &= 0x80FF80FF
    return words.tobytes()[: max(0, 4 * len(words) - int(rng.integers(0, 4)))]


def test_a_sender_that_begins_anew_does_not_stop_the_stream() -> None:
    receiver = Receiver(timeout_s=1.6)
    packets_to(receiver.source.address, word(1, 1, 1, 5_000_000) + word(1, 1, 1, 5_000_100))
    time.sleep(1.2)
    packets_to(receiver.source.address, word(2, 2, 1, 0) + word(2, 2, 1, 50))
    got = receiver.wait()
    assert got.x.tolist() == [1, 1, 2, 2]
    assert 1_100_000 < got.t[2] - got.t[1] < 3_000_000
    assert got.t[3] - got.t[2] == 50
    assert (receiver.source.counters.restarts, receiver.source.counters.backward) == (1, 0)


def test_a_full_queue_drops_what_comes_and_counts_it() -> None:
    source = UdpSource(ANY_PORT, SENSOR, queue_events=100, timeout_s=0.5)
    events = made(1_000, span_us=900)  # packets of 64 events
    sent = send(Memory(events), source.address)  # nobody takes them
    until = time.monotonic() + 10
    while source.counters.packets < sent.packets and time.monotonic() < until:
        time.sleep(0.01)
    got = joined(list(source))
    counters = source.counters
    assert 50 < len(got) <= 100  # whole packets
    assert same(
        got, Events(*(getattr(events, n)[: len(got)] for n in "txyp"), SENSOR)
    )  # the oldest stay
    assert counters.lost_events == 1_000 - len(got)
    assert 0 < counters.lost_packets < counters.packets
    assert (
        f"{counters.lost_events} events lost in {counters.lost_packets} packets"
        in counters.losses()
    )
    assert counters.dropped == 0  # a loss is no damage


def test_what_the_system_drops_is_counted_where_it_says_so() -> None:
    source = UdpSource(ANY_PORT, SENSOR, timeout_s=0.3)
    with source._changed:  # the thread waits for the queue: nobody empties the socket
        packets_to(source.address, *[word(1, 1, 1, i) * 1000 for i in range(2_000)])
    assert len(joined(list(source))) > 0
    lost = source.counters.lost_in_socket
    if lost is None:
        pytest.skip("this system does not tell")
    assert lost + source.counters.packets == 2_000
    assert lost > 0
    assert f"{lost} packets lost before they were read" in source.counters.losses()


def test_a_stream_ends_after_the_timeout_and_says_when_nothing_came() -> None:
    source = UdpSource(ANY_PORT, SENSOR, timeout_s=0.2)
    with pytest.raises(InputError, match=r"udp://127.0.0.1:\d+: no events came; check .*--timeout"):
        list(source)


def test_a_wrong_sensor_is_named_when_nothing_is_left() -> None:
    receiver = Receiver()
    packets_to(receiver.source.address, word(300, 5, 1, 400) + word(301, 5, 1, 401))
    with pytest.raises(InputError, match=r"2 dropped: 2 outside the sensor.*--sensor"):
        receiver.wait()


def test_close_gives_what_is_queued_and_ends() -> None:
    source = UdpSource(ANY_PORT, SENSOR)
    chunks = iter(source)
    packets_to(source.address, word(1, 1, 1, 5) + word(1, 1, 1, 6))
    assert next(chunks).t.tolist() == [5, 6]
    packets_to(source.address, word(1, 1, 1, 7))
    while not source._packets:
        time.sleep(0.01)
    source.close()
    assert next(chunks).t.tolist() == [7]
    assert list(chunks) == []


@pytest.mark.parametrize(
    "address",
    [
        "udp://",
        "udp://127.0.0.1",
        "127.0.0.1:3333",
        "tcp://127.0.0.1:1",
        "udp://127.0.0.1:99999",
        "udp://[::1",
        "udp://h:1/a",
    ],
)
def test_what_is_no_address_is_said_in_one_line(address: str) -> None:
    with pytest.raises(InputError, match="expected udp://HOST:PORT"):
        UdpSource(address, SENSOR)


def test_a_port_that_is_taken_is_said_in_one_line() -> None:
    source = UdpSource(ANY_PORT, SENSOR)
    with pytest.raises(InputError, match="cannot be listened at"):
        UdpSource(source.address, SENSOR)
    source.close()


def test_sending_to_nobody_is_counted() -> None:
    source = UdpSource(ANY_PORT, SENSOR)
    source.close()
    sent = send(Memory(made(1_000, span_us=20_000)), source.address)
    assert sent.refused > 0
