"""Damaged recordings: an error of one line, or counted repairs.

Never a hang, never an impossible event.
"""

import random
import re
import struct
from pathlib import Path

import h5py
import lz4.frame
import numpy as np
import pytest
import zstandard
from example_files import SENSOR, aedat4, random_events, rows, write_ecf, write_example
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers import Counters, open_events
from tmkt.readers.detect import FORMATS

READ = [*FORMATS, "aedat1", "ecf"]
SENSORS = {"aedat1": (128, 128), "aedat2": (180, 240), "aedat3": (128, 128)}
LZ4 = b"\x04\x22\x4d\x18"  # how a compressed packet begins
RECORDS = {"atis": 5, "aedat1": 6, "aedat2": 8, "dat": 8, "evt2": 4, "evt3": 2}  # bytes


def plain(format: str) -> Events:
    return random_events(300, SENSORS.get(format, SENSOR))


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sound")
    return {
        format: write_example(format, folder / format, plain(format)).read_bytes()
        for format in READ
    }


def read_damaged(
    path: Path, data: bytes, sensor: tuple[int, int], repair: bool
) -> tuple[int, Counters] | str:
    """Give the number of events delivered and the counters, or the error's line."""
    path.write_bytes(data)
    last = -1
    try:
        source = open_events(path, sensor=sensor, repair=repair)
        for events in source:
            height, width = events.sensor
            assert len(events)
            assert events.t[0] >= last
            assert (np.diff(events.t) >= 0).all()
            assert events.x.max() < width
            assert events.y.max() < height
            assert events.p.max() <= 1
            last = int(events.t[-1])
    except InputError as error:
        line = str(error)
    else:
        return source.counters.events, source.counters
    assert "\n" not in line
    assert str(path) in line
    return line


@pytest.mark.parametrize("format", READ)
def test_a_recording_cut_at_any_byte_gives_its_first_events_or_one_line(
    sound: dict[str, bytes], tmp_path: Path, format: str
) -> None:
    data, events = sound[format], plain(format)
    for length in sorted({*range(0, len(data), max(1, len(data) // 150)), len(data) - 1}):
        found = read_damaged(tmp_path / "cut", data[:length], events.sensor, repair=False)
        if not isinstance(found, str):
            assert found[0] < len(events) or format in (
                "npz",
                "hdf5",
                "ecf",
                "aedat4",
                "csv",
            )  # whose ends hold no events
            assert found[1].dropped == 0
            if format in RECORDS:
                assert found[1].left_over_bytes < RECORDS[format]


@pytest.mark.parametrize("format", READ)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), repair=st.booleans())
@example(seed=0, repair=False)
def test_damage_anywhere_never_lets_an_impossible_event_through(
    sound: dict[str, bytes],
    tmp_path_factory: pytest.TempPathFactory,
    format: str,
    seed: int,
    repair: bool,
) -> None:
    rng = random.Random(seed)
    data = bytearray(sound[format])
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(min(len(data), 1000) if rng.random() < 0.5 else len(data))
        kind = rng.randrange(3)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at : at + rng.randrange(40)] = rng.randbytes(rng.randrange(40))
        else:
            del data[at : at + rng.randrange(40)]
    read_damaged(
        tmp_path_factory.mktemp("damage") / "a.bin", bytes(data), plain(format).sensor, repair
    )


def test_aedat4_gives_up_a_damaged_packet_and_goes_on_only_if_asked_to(tmp_path: Path) -> None:
    parts = [random_events(100, seed=seed) for seed in range(3)]
    for i, part in enumerate(parts):
        part.t[:] += i * 100_000
    data = bytearray(aedat4({0: parts}))
    whole = bytes(data)
    second = data.index(
        LZ4, data.index(LZ4, data.index(LZ4) + 1) + 1
    )  # behind the first, and an IMU's
    data[second] ^= 255
    assert "damaged packet" in str(read_damaged(tmp_path / "a", bytes(data), SENSOR, repair=False))
    found = read_damaged(tmp_path / "a", bytes(data), SENSOR, repair=True)
    assert not isinstance(found, str)
    assert (found[0], found[1].bad_records) == (200, 1)
    assert "cut off: its data table should begin" in str(
        read_damaged(tmp_path / "a", whole[:-200], SENSOR, repair=False)
    )
    found = read_damaged(tmp_path / "a", whole[:-200], SENSOR, repair=True)
    assert not isinstance(found, str)
    assert found[0] == 200
    assert found[1].left_over_bytes > 0


def test_aedat4_packets_that_claim_to_be_huge_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmkt.readers.aedat4.LARGEST_PACKET", 2**20)
    data = aedat4({0: [random_events(2)]}, table=False)
    head = data[: data.index(LZ4) - 8]
    for compression, packed in (
        (1, lz4.frame.compress(bytes(2**21))),
        (3, zstandard.ZstdCompressor().compress(bytes(2**21))),
    ):
        bomb = (
            head.replace(b"\x01\0\0\0" + b"\xff" * 8, bytes((compression, 0, 0, 0)) + b"\xff" * 8)
            + struct.pack("<ii", 0, len(packed))
            + packed
        )
        assert re.search(
            "more than 1048576 bytes|too much memory",
            str(read_damaged(tmp_path / "a", bomb, SENSOR, repair=False)),
        )


def test_a_damaged_ecf_chunk_costs_only_its_own_events_under_repair(tmp_path: Path) -> None:
    write_ecf(tmp_path / "a.h5", random_events(400), chunk=100)
    data = bytearray((tmp_path / "a.h5").read_bytes())
    at = data.index((100 << 2 | 1).to_bytes(4, "little"))  # the second chunk's header
    data[at + 12 : at + 60] = bytes(48)
    assert "events from 100 on are damaged" in str(
        read_damaged(tmp_path / "b.h5", bytes(data), SENSOR, repair=False)
    )
    found = read_damaged(tmp_path / "b.h5", bytes(data), SENSOR, repair=True)
    assert not isinstance(found, str)
    assert (found[0], found[1].bad_records) == (300, 100)


def test_numpy_files_that_end_early_say_so(tmp_path: Path, sound: dict[str, bytes]) -> None:
    assert "cut off: it ends before the arrays" in str(
        read_damaged(tmp_path / "a", sound["npy"][:-100], SENSOR, repair=False)
    )
    found = read_damaged(tmp_path / "a", sound["npy"][:-100], SENSOR, repair=True)
    assert not isinstance(found, str)
    assert found[0] == 300 - 8  # 13 bytes an event


@pytest.mark.parametrize("format", [format for format in READ if format != "ecf"])
def test_a_recording_without_events_is_an_error(tmp_path: Path, format: str) -> None:
    none = Events(
        *(np.empty(0, dtype) for dtype in (np.int64, np.uint16, np.uint16, np.uint8)),
        SENSORS.get(format, SENSOR),
    )
    path = write_example(format, tmp_path / "a.bin", none)
    with pytest.raises(
        InputError, match="empty, expected a recording" if format == "atis" else "holds no events"
    ):
        rows(open_events(path, sensor=none.sensor))


def test_what_cannot_be_opened_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "empty.bin").write_bytes(b"")
    for path, message in (
        (tmp_path, "is not a file"),
        (tmp_path / "nowhere.bin", "No such file"),
        (tmp_path / "empty.bin", "empty, expected"),
    ):
        with pytest.raises(InputError, match=message):
            open_events(path)
    with pytest.raises(InputError, match=r"--format 'evt4': unknown.*did you mean 'evt"):
        open_events(tmp_path / "empty.bin", format="evt4")


def test_hdf5_events_that_lie_in_another_file_are_refused(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(bytes(80))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key in "txyp":
            file.create_dataset(
                f"events/{key}", (10,), "i8", external=[(str(tmp_path / "other"), 0, 80)]
            )
    with pytest.raises(InputError, match="/events/t lies in another file"):
        open_events(tmp_path / "a.h5", sensor=SENSOR)


def test_hdf5_strings_that_would_hang_libhdf5_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key in "txyp":
            file[f"events/{key}"] = np.zeros(10, np.int64)
        file.attrs["geometry"] = "34x34"  # h5py writes strings of any length, as Prophesee does
    source = open_events(tmp_path / "a.h5")
    source.close()
    assert source.sensor == (34, 34)
    content = bytearray((tmp_path / "a.h5").read_bytes())
    at = content.index(b"GCOL") + 16
    content[at : at + 16] = bytes(16)  # no object, but free space of no size
    assert "damaged heap of strings" in str(
        read_damaged(tmp_path / "b.h5", bytes(content), SENSOR, repair=False)
    )
