"""The packets of events over UDP: words as SPIF documents them, and the wrap of their clock."""

import numpy as np
from example_files import random_events
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.events.types import Events
from tmkt.readers import udp_packets
from tmkt.readers.udp_packets import Packet, encode

SENSOR = (128, 128)


def test_a_word_is_the_one_that_spif_documents() -> None:
    events = Events(
        np.array([0]),
        np.array([1], np.uint16),
        np.array([9], np.uint16),
        np.array([1], np.uint8),
        SENSOR,
    )
    assert encode(events, stamps=False).tobytes() == bytes.fromhex("09800180")


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.integers(0, 9_000_000), min_size=1, max_size=60),
    start=st.sampled_from([0, 2**32 - 20_000_000, 1_600_000_000_000_000]),
    cuts=st.lists(st.integers(1, 20), max_size=8),
    seed=st.integers(0, 99),
)
def test_stamps_go_on_over_the_wrap_however_the_packets_are_cut(
    steps: list[int], start: int, cuts: list[int], seed: int
) -> None:
    n = len(steps)
    events = random_events(n, SENSOR, seed)
    events = Events(
        start + np.cumsum(np.array(steps, np.int64)), events.x, events.y, events.p, SENSOR
    )
    data = encode(events, stamps=True)
    packets, at = [], 0
    for cut in [*cuts, n]:
        packets.append(Packet(data[2 * at : 2 * (at + cut)].tobytes(), arrival_us=0))
        at += cut
    t, x, y, p = udp_packets.decode(
        [packet for packet in packets if packet.data], udp_packets.new_state()
    )
    low = int(events.t[0]) & 0xFFFFFFFF  # all that is known of the first
    assert np.array_equal(t - low, events.t - events.t[0])
    assert np.array_equal(x, events.x)
    assert np.array_equal(y, events.y)
    assert np.array_equal(p, events.p)
