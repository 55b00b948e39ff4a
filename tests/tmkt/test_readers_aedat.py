"""Bytes of AEDAT 1 to 4, written out by hand, and the traps that published files set."""

import struct
from dataclasses import replace
from pathlib import Path

import pytest
from example_files import (
    AEDAT3_HEADER,
    SENSOR,
    aedat3_packet,
    aedat4,
    opened,
    random_events,
    read_bytes,
    rows,
)

from tmkt.errors import InputError
from tmkt.readers import open_events

DVS128 = b"#!AER-DAT2.0\r\n# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
DAVIS346 = b"#!AER-DAT2.0\r\n# AEChip: eu.seebetter.ini.chips.davis.Davis346blue\r\n"


def test_dvs128_counts_x_from_the_right_y_from_below_and_marks_on_by_0(tmp_path: Path) -> None:
    event = struct.pack(">II", 100 << 8 | 7 << 1 | 0, 9)
    special = struct.pack(">II", 0x8000, 10)
    found, source = read_bytes(
        tmp_path / "a.aedat",
        DVS128 + event + special + struct.pack(">II", 100 << 8 | 7 << 1 | 1, 11),
    )
    assert found == [(9, 120, 27, 1), (11, 120, 27, 0)]
    assert (source.sensor, source.notes) == ((128, 128), [])


def test_davis_frames_and_external_events_are_skipped_and_a_record_may_begin_like_a_comment(
    tmp_path: Path,
) -> None:
    first = 0x23 << 24 | 30 << 12 | 1 << 11  # begins with '#'
    y = first >> 22 & 0x1FF
    skipped = [1 << 31 | 5 << 12, 1 << 10 | 5 << 12]
    found, source = read_bytes(
        tmp_path / "a.aedat",
        DAVIS346 + b"".join(struct.pack(">II", a, 7) for a in (first, *skipped)),
    )
    assert (found, source.sensor) == ([(7, 345 - 30, 259 - y, 1)], (260, 346))


def test_aedat_without_a_chip_is_taken_for_a_dvs128_unless_its_addresses_are_wider(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a.aedat"
    _, source = read_bytes(path, b"#!AER-DAT2.0\n" + struct.pack(">II", 5, 9))
    assert source.notes == ["the header names no chip: DVS128 assumed"]
    path.write_bytes(b"#!AER-DAT2.0\n" + struct.pack(">II", 5 << 22, 9))
    with pytest.raises(InputError, match="not of a DVS128; name the chip with --layout"):
        open_events(path)
    assert opened(path, "davis240").sensor == (180, 240)
    path.write_bytes(b"#!AER-DAT2.0\n# AEChip: ch.example.Unknown\n" + struct.pack(">II", 5, 9))
    with pytest.raises(InputError, match=r"recorded with ch\.example\.Unknown"):
        open_events(path)
    path.write_bytes(b"#!AER-DAT1.0\n" + struct.pack(">HI", 5, 9))
    with pytest.raises(InputError, match="addresses of 16 bits"):
        open_events(path, layout="davis240")


def test_aedat_clocks_of_32_bits_are_continued(tmp_path: Path) -> None:
    stamps = [2**32 - 2_000_000, 1_000_000, 2_000_000]
    found, source = read_bytes(
        tmp_path / "a.aedat", DVS128 + b"".join(struct.pack(">II", 1, t) for t in stamps)
    )
    expected = [stamps[0], 2**32 + 1_000_000, 2**32 + 2_000_000]
    assert ([row[0] for row in found], source.counters.wraps) == (expected, 1)


def test_aedat3_is_read_and_what_is_no_valid_polarity_event_is_skipped(tmp_path: Path) -> None:
    first, second = random_events(50, (128, 128)), random_events(60, (128, 128), seed=1)
    special = struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 3, 1, 1) + bytes(24)  # capacity for 3
    data = aedat3_packet(first) + special + aedat3_packet(second, overflow=1)
    found, source = read_bytes(tmp_path / "a.aedat", AEDAT3_HEADER + data)
    later = replace(second, t=second.t + 2**31)  # the clock of 31 bits ran over once
    assert found == rows([first, later])
    assert (source.format, source.sensor, source.notes) == ("aedat3", (128, 128), [])


@pytest.mark.parametrize(
    ("chip", "sensor"), [("DAVIS240C", (180, 240)), ("DAVIS346B", (260, 346)), ("Dynap-SE", None)]
)
def test_aedat3_sensors_are_known_by_the_source_line(
    tmp_path: Path, chip: str, sensor: tuple[int, int] | None
) -> None:
    (tmp_path / "a.aedat").write_bytes(AEDAT3_HEADER.replace(b"DVS128", chip.encode()))
    assert opened(tmp_path / "a.aedat").sensor == sensor


@pytest.mark.parametrize("compression", range(5))
@pytest.mark.parametrize("table", [True, False])
def test_aedat4_is_read_with_every_compression_with_and_without_a_data_table(
    tmp_path: Path, compression: int, table: bool
) -> None:
    events = random_events(200)
    found, source = read_bytes(tmp_path / "a.aedat4", aedat4({0: [events]}, compression, table))
    assert (found, source.sensor, source.notes) == (rows([events]), SENSOR, [])


def test_aedat4_of_several_streams_gives_the_one_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.aedat4"
    left, right = random_events(50), random_events(60, seed=1)
    path.write_bytes(aedat4({0: [left], 3: [right]}, sizes=False))
    assert rows(open_events(path, stream=1, sensor=SENSOR)) == rows([right])
    source = opened(path)
    assert (source.sensor, source.notes) == (None, ["2 event streams: stream 0 taken (--stream)"])
    with pytest.raises(InputError, match="holds 2 streams of events, but --stream says 2"):
        open_events(path, stream=2)
