import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.atis import encode_bin, read_bin, write_bin
from tmkt.readers.strict import check_events


def record(x: int, y: int, p: int, t: int) -> bytes:
    return bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255])


def events(
    t: list[int], x: int = 0, y: int = 0, p: int = 0, sensor: tuple[int, int] = (34, 34)
) -> Events:
    n = len(t)
    return Events(
        np.array(t, np.int64),
        np.full(n, x, np.uint16),
        np.full(n, y, np.uint16),
        np.full(n, p, np.uint8),
        sensor,
    )


def file_with(folder: Path, *records: bytes) -> Path:
    path = folder / "a.bin"
    path.write_bytes(b"".join(records))
    return path


def test_reads_coordinates_polarity_and_stamp(tmp_path: Path) -> None:
    read = read_bin(
        file_with(tmp_path, record(3, 33, 0, 5), record(33, 0, 1, 0x7FFFFF // 2)), (34, 34)
    )
    assert read.x.tolist() == [3, 33]
    assert read.y.tolist() == [33, 0]
    assert read.p.tolist() == [0, 1]
    assert read.t.tolist() == [5, 0x7FFFFF // 2]
    assert [a.dtype for a in (read.t, read.x, read.y, read.p)] == [
        np.int64,
        np.uint16,
        np.uint16,
        np.uint8,
    ]
    assert all(a.flags.c_contiguous for a in (read.t, read.x, read.y, read.p))


def test_an_overflow_record_moves_all_later_stamps_and_is_no_event(tmp_path: Path) -> None:
    marker = record(7, 240, 1, 8191)
    read = read_bin(
        file_with(
            tmp_path,
            record(1, 1, 1, 8000),
            marker,
            record(2, 2, 0, 10),
            marker,
            marker,
            record(3, 3, 1, 0),
        ),
        (34, 34),
    )
    assert read.t.tolist() == [8000, 8192 + 10, 3 * 8192]
    assert read.x.tolist() == [1, 2, 3]


def test_a_stamp_that_wraps_at_23_bits_goes_on(tmp_path: Path) -> None:
    stamps = [2**23 - 2, 5, 2**22 + 6, 2**23 - 1, 0]
    read = read_bin(file_with(tmp_path, *(record(0, 0, 0, t) for t in stamps)), (34, 34))
    assert read.t.tolist() == [2**23 - 2, 2**23 + 5, 2**23 + 2**22 + 6, 2**24 - 1, 2**24]


def test_a_step_back_of_half_the_range_is_no_wrap(tmp_path: Path) -> None:
    path = file_with(tmp_path, record(0, 0, 0, 2**22), record(0, 0, 0, 0))
    with pytest.raises(
        InputError, match=r"a\.bin: 1 of 2 time stamps go backwards \(by up to 4194304 us\)"
    ):
        read_bin(path, (34, 34))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 2**23 - 1), min_size=1, max_size=60).map(sorted),
    st.integers(0, 255),
    st.integers(0, 239),
    st.integers(0, 1),
)
def test_what_is_written_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, t: list[int], x: int, y: int, p: int
) -> None:
    path = tmp_path_factory.mktemp("bin") / "a.bin"
    written = events(t, x, y, p, (240, 256))
    write_bin(written, path)
    read = read_bin(path, (240, 256))
    for a, b in zip(
        (written.t, written.x, written.y, written.p), (read.t, read.x, read.y, read.p), strict=True
    ):
        assert np.array_equal(a, b)


def test_all_shared_recordings_are_read_and_written_back_byte_for_byte(shared_data: Path) -> None:
    found = dataset("nmnist").find_recordings(shared_data / "nmnist")
    assert len(found) == 500
    for recording in found:
        read = read_bin(recording.path, (34, 34))
        assert 1000 < len(read) < 7500
        assert 0.29e6 < read.t[-1] - read.t[0] < 0.32e6
        assert encode_bin(read, recording.path).tobytes() == recording.path.read_bytes()


def test_a_recording_cut_at_any_byte_is_refused_or_is_shorter(
    shared_data: Path, tmp_path: Path
) -> None:
    source = next((shared_data / "nmnist/Train/0").glob("*.bin"))
    data, path = source.read_bytes(), tmp_path / "cut.bin"
    for size in [*range(23), *range(len(data) - 12, len(data))]:
        path.write_bytes(data[:size])
        if size == 0:
            with pytest.raises(InputError, match=r"cut\.bin: empty"):
                read_bin(path, (34, 34))
        elif size % 5:
            with pytest.raises(
                InputError,
                match=(
                    rf"cut\.bin: truncated, {size // 5} records of 5 bytes and {size % 5} bytes"
                    r" left over"
                ),
            ):
                read_bin(path, (34, 34))
        else:
            assert len(read_bin(path, (34, 34))) == size // 5


def test_a_recording_of_another_sensor_is_refused(shared_data: Path) -> None:
    path = shared_data / "recordings" / "ncaltech101_faces_easy_0001.bin"
    with pytest.raises(
        InputError,
        match=(
            r"easy_0001\.bin: \d+ of 67445 events lie outside the sensor \(x up to 150, y up to"
            r" 172\)"
        ),
    ):
        read_bin(path, (34, 34))
    assert len(read_bin(path, (180, 240))) == 67445


def test_coordinates_at_the_sensor_border_are_told_apart(tmp_path: Path) -> None:
    path = file_with(tmp_path, record(33, 20, 0, 0))
    assert len(read_bin(path, (21, 34))) == 1
    for sensor in [(20, 34), (21, 33)]:
        with pytest.raises(InputError, match="1 of 1 events lie outside the sensor"):
            read_bin(path, sensor)


def test_a_changed_stamp_is_refused(shared_data: Path, tmp_path: Path) -> None:
    data = bytearray(next((shared_data / "nmnist/Train/0").glob("*.bin")).read_bytes())
    data[502] ^= 0x40  # the highest bit of one stamp
    path = file_with(tmp_path, bytes(data))
    with pytest.raises(InputError, match="time stamps go backwards"):
        read_bin(path, (34, 34))


def test_a_recording_without_events_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.bin: holds no events"):
        read_bin(file_with(tmp_path, record(0, 240, 0, 0)), (34, 34))


def test_a_missing_file_and_a_folder_are_refused_by_name(tmp_path: Path) -> None:
    for path in (tmp_path / "none.bin", tmp_path):
        with pytest.raises(InputError, match="cannot be read") as error:
            read_bin(path, (34, 34))
        assert str(path) in str(error.value)
        assert "\n" not in str(error.value)


def test_the_check_names_what_no_bin_record_can_hold() -> None:
    with pytest.raises(InputError, match="live: 2 of 2 events have a polarity above 1"):
        check_events(events([0, 1], p=2), "live")
    with pytest.raises(InputError, match="live: 1 of 2 time stamps are negative"):
        check_events(events([-1, 1]), "live")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (events([0, 2**23]), "hold less than 8388608 us"),
        (events([0], sensor=(241, 34)), "240 rows"),
        (events([0], sensor=(34, 257)), "256 columns"),
        (events([1, 0]), "go backwards"),
        (events([]), "no events"),
    ],
)
def test_what_the_format_cannot_hold_is_not_written(
    tmp_path: Path, wrong: Events, message: str
) -> None:
    path = tmp_path / "a.bin"
    with pytest.raises(InputError, match=message):
        write_bin(wrong, path)
    assert not list(tmp_path.iterdir())


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.bin")
    with pytest.raises(InputError, match="is not a file"):
        read_bin(tmp_path / "a.bin", (34, 34))
