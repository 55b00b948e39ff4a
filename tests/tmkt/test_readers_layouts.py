"""Bytes of all formats but AEDAT, written out by hand, and the traps that published files set."""

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_files import (
    SENSOR,
    ecf_chunk,
    evt21,
    mat_columns,
    opened,
    random_events,
    read_bytes,
    rows,
    structured,
    write_ecf,
)
from scipy.io import savemat

from tmkt.errors import InputError
from tmkt.readers import open_events
from tmkt.readers.files import TimeUnit

EVT2 = b"% evt 2.0\n% geometry 640x480\n"
EVT3 = b"% evt 3.0\n% format EVT3;height=720;width=1280\n% end\n"
DAT = b"% Data file containing CD events.\n% Version 2\n% Height 100\n% Width 120\n\x0c\x08"
ES = b"Event Stream\2\0\0\1" + struct.pack("<HH", 120, 100)


def test_atis_overflow_records_add_8192_us_and_silent_wraps_are_counted(tmp_path: Path) -> None:
    event = b"\x03\x04\x80\x00\x05"
    marker = b"\x00\xf0\x00\x00\x00"
    late = b"\x03\x04\x7f\xff\xff"
    found, source = read_bytes(
        tmp_path / "a.bin", event * 2 + marker * 2 + event + late + event, (8, 8), "atis"
    )
    # The wrap: 2^23 us more than the stamp says.
    assert [row[0] for row in found] == [5, 5, 16389, 16384 + 2**23 - 1, 16384 + 2**23 + 5]
    assert (found[0], found[3][3], source.counters.wraps) == ((5, 3, 4, 1), 0, 1)


def evt2(*words: tuple[int, int]) -> bytes:
    return EVT2 + b"".join(struct.pack("<I", kind << 28 | value) for kind, value in words)


def test_evt2_joins_high_and_low_stamps_and_counts_what_comes_before_the_first(
    tmp_path: Path,
) -> None:
    event = 3 << 22 | 600 << 11 | 400
    data = evt2((1, event), (8, 2), (0, event), (10, 1), (1, event), (14, 0), (15, 0), (7, 0))
    found, source = read_bytes(tmp_path / "a.raw", data)
    assert found == [(131, 600, 400, 0), (131, 600, 400, 1)]
    assert (source.counters.bad_records, source.sensor) == (2, (480, 640))


def test_evt2_goes_on_where_its_clock_of_34_bits_runs_over(tmp_path: Path) -> None:
    found, source = read_bytes(tmp_path / "a.raw", evt2((8, 2**28 - 1), (1, 0), (8, 0), (1, 0)))
    assert ([row[0] for row in found], source.counters.wraps) == ([2**34 - 64, 2**34], 1)


EVT21 = b"% evt 2.1\n% format EVT21;endianness=little;height=320;width=320\n% end\n"


def test_evt21_masks_are_pixels_from_x_on_at_one_stamp(tmp_path: Path) -> None:
    words = [
        (1 << 60, 1),  # before the first full stamp
        (8 << 60 | 2 << 32, 0),  # 2 * 64 us
        (1 << 60 | 3 << 54 | 64 << 43 | 200 << 32, 1 << 31 | 0b101),
        (0xA << 60 | 1 << 32, 0),
        (4 << 54 | 288 << 43 | 7 << 32, 1 << 31),
        (0xE << 60, 5),
        (0x7 << 60, 0),
    ]
    data = EVT21 + b"".join(struct.pack("<Q", word | mask) for word, mask in words)
    found, source = read_bytes(tmp_path / "a.raw", data)
    assert found == [(131, x, 200, 1) for x in (64, 66, 95)] + [(132, 319, 7, 0)]
    assert (source.counters.bad_records, source.sensor) == (2, (320, 320))


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("said", [False, True])
def test_evt21_halves_of_words_come_in_either_order(
    tmp_path: Path, legacy: bool, said: bool
) -> None:
    events = random_events(700, step_us=30)
    (tmp_path / "a.raw").write_bytes(evt21(events, legacy, said))
    source = open_events(tmp_path / "a.raw")
    assert rows(source) == rows([events])
    assert len(source.notes) == (not said)


def evt3(*words: tuple[int, int]) -> bytes:
    return EVT3 + b"".join(struct.pack("<H", kind << 12 | value) for kind, value in words)


def test_evt3_vectors_start_at_a_base_and_go_on_behind_each_other(tmp_path: Path) -> None:
    words = [
        (2, 1),
        (8, 1),
        (6, 7),
        (0, 9),
        (3, 1 << 11 | 100),
        (4, 0b1000_0000_0001),
        (5, 0b101),
        (0, 10),
        (2, 300),
        (9, 0),
    ]
    found, source = read_bytes(tmp_path / "a.raw", evt3(*words))
    assert found == [(4103, x, 9, 1) for x in (100, 111, 112, 114)] + [(4103, 300, 10, 0)]
    assert (source.counters.bad_records, source.sensor) == (2, (720, 1280))


def test_evt3_low_stamps_that_step_back_are_no_carry_and_high_ones_wrap_after_16_8_s(
    tmp_path: Path,
) -> None:
    words = [
        (8, 4094),
        (6, 4000),
        (2, 1),
        (6, 3990),
        (2, 2),
        (8, 4095),
        (2, 3),
        (8, 0),
        (6, 1),
        (2, 4),
    ]
    found, source = read_bytes(tmp_path / "a.raw", evt3(*words))
    assert found == [(4094 * 4096 + 4000, 1, 0, 0), (4095 * 4096, 3, 0, 0), (2**24 + 1, 4, 0, 0)]
    assert (
        source.counters.backward,
        source.counters.largest_backward_us,
        source.counters.wraps,
    ) == (1, 10, 1)


def test_evt3_vectors_beyond_the_last_column_are_dropped(tmp_path: Path) -> None:
    found, source = read_bytes(tmp_path / "a.raw", evt3((8, 1), (3, 1275), *[(4, 0xFFF)] * 500))
    assert [row[1] for row in found] == list(range(1275, 1280))
    assert source.counters.outside_sensor == 12 * 500 - 5


def test_prophesee_headers_end_where_data_begin_even_if_those_look_like_a_comment(
    tmp_path: Path,
) -> None:
    found, _ = read_bytes(
        tmp_path / "a.raw", EVT2 + b"% \x01\x80" + struct.pack("<II", 1 << 28, 1 << 28 | 10)
    )
    assert found == [(0x12025 << 6, 0, 0, 1), (0x12025 << 6, 0, 10, 1)]
    found, _ = read_bytes(
        tmp_path / "b.raw", EVT2 + b"% end\n" + b"% x\n" + struct.pack("<II", 8 << 28, 1 << 28)
    )
    assert found == [(0, 0, 0, 1)]


@pytest.mark.parametrize(
    ("header", "sensor"),
    [
        (b"% evt 2.0\n% plugin_name hal_plugin_gen41_evk2\n", (720, 1280)),
        (b"% evt 2.0\n% system_ID 21\n", (480, 640)),
        (b"% format EVT2;height=320;width=300\n% end\n", (320, 300)),
        (b"% evt 2.0\n", None),
    ],
)
def test_prophesee_sensors_are_known_by_size_plugin_or_system(
    tmp_path: Path, header: bytes, sensor: tuple[int, int] | None
) -> None:
    (tmp_path / "a.raw").write_bytes(header + struct.pack("<II", 8 << 28, 1 << 28))
    assert opened(tmp_path / "a.raw").sensor == sensor


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"% evt 2.1\n% endianness big\n", "words are big-endian"),
        (b"% format EVT4;height=720;width=1280\n", "encoded as EVT4"),
        (b"#!AER-DAT3.0\r\n", "expected #!AER-DAT3.1"),
        (b"Event Stream\2\0\0\2" + bytes(4), "ATIS events"),
        (b"Event Stream\1\0\0\1" + bytes(4), r"version 1\.0\.0"),
        (b"% Data file\n% Version 1\n\x00\x08", "DAT version 1"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(200)), "not a known event recording"),
        (b"PK\3\4" + b"data.pkl" * 50, "not a known event recording"),
    ],
)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.dat").write_bytes(data)
    with pytest.raises(InputError, match=message):
        open_events(tmp_path / "a.dat")


def test_dat_clocks_of_32_bits_are_continued(tmp_path: Path) -> None:
    stamps = [2**32 - 2_000_000, 1_000_000, 2_000_000]
    found, source = read_bytes(
        tmp_path / "a.dat", DAT + b"".join(struct.pack("<II", t, 1) for t in stamps)
    )
    expected = [stamps[0], 2**32 + 1_000_000, 2**32 + 2_000_000]
    assert ([row[0] for row in found], source.counters.wraps) == (expected, 1)


def test_dat_packs_x_y_and_polarity(tmp_path: Path) -> None:
    found, source = read_bytes(
        tmp_path / "a.dat", DAT + struct.pack("<II", 7, 1 << 28 | 99 << 14 | 119)
    )
    assert (found, source.sensor) == ([(7, 119, 99, 1)], (100, 120))


def test_event_stream_counts_y_from_below_and_skips_resets(tmp_path: Path) -> None:
    data = (
        bytes((255, 255, 254, 3 << 1 | 1))
        + struct.pack("<HH", 7, 99)
        + bytes((0,))
        + struct.pack("<HH", 8, 0)
    )
    found, source = read_bytes(tmp_path / "a.es", ES + data)
    assert (found, source.sensor) == ([(257, 7, 0, 1), (257, 8, 99, 0)], (100, 120))


@pytest.mark.parametrize("mode", [0, 1, 2])
@pytest.mark.parametrize("n", [1, 4, 5, 999])
def test_ecf_is_decoded_in_all_its_modes(tmp_path: Path, mode: int, n: int) -> None:
    events = random_events(n, (6, 1280))  # long runs of rows and of neighbours
    events = replace(
        events,
        t=np.sort(np.random.default_rng(1).choice([5, 19, 20, 10_000, 9 * 10**6], n)).astype(
            np.int64
        ),
    )
    events = replace(events, x=np.sort(events.x), y=np.sort(events.y), p=np.sort(events.p))
    write_ecf(tmp_path / "a.h5", events, chunk=300, modes=(mode,))
    assert rows(open_events(tmp_path / "a.h5")) == rows([events])
    assert len(ecf_chunk(events, mode)) < 16 * n + 16


def test_dsec_stamps_are_offset(tmp_path: Path) -> None:
    import h5py

    events = random_events(50)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key, dtype in (("t", "u4"), ("x", "u2"), ("y", "u2"), ("p", "u1")):
            file[f"events/{key}"] = getattr(events, key).astype(dtype)
        file["t_offset"] = np.int64(10**12)
        file["ms_to_idx"] = np.zeros(3, np.uint64)
    source = open_events(tmp_path / "a.h5", sensor=SENSOR)
    assert rows(source) == rows([replace(events, t=events.t + 10**12)])


@pytest.mark.parametrize(("unit", "factor"), [("s", 1e-6), ("ms", 1e-3), ("us", 1.0), ("ns", 1e3)])
def test_numpy_columns_may_have_other_names_signed_polarities_and_any_unit(
    tmp_path: Path, unit: TimeUnit, factor: float
) -> None:
    events = random_events(100)
    np.savez(
        tmp_path / "a.npz",
        timestamps=events.t * factor,
        x=events.x.astype(np.float32),
        y=events.y,
        polarity=events.p.astype(np.int8) * 2 - 1,
    )
    with pytest.raises(
        InputError, match="float64, expected integers in microseconds; say --time-unit"
    ):
        open_events(tmp_path / "a.npz", sensor=SENSOR)
    assert rows(open_events(tmp_path / "a.npz", sensor=SENSOR, time_unit=unit)) == rows([events])


def test_numpy_values_that_no_event_has_are_dropped_and_counted(tmp_path: Path) -> None:
    t = np.array([1.0, np.nan, np.inf, 1e300, -1.0, 2.0])
    x = np.array([1, 1, 1, 1, 1, -1])
    np.savez(tmp_path / "a.npz", t=t, x=x, y=np.ones(6), p=np.array([1, 0, 0, 0, 0, 7]))
    source = open_events(tmp_path / "a.npz", sensor=SENSOR, time_unit="us", repair=True)
    assert rows(source) == [(1, 1, 1, 1)]
    assert (source.counters.negative_time, source.counters.outside_sensor) == (4, 1)


@pytest.mark.parametrize("compressed", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.uint32, np.int16])
def test_matlab_columns_of_any_type_are_read_among_other_variables(
    tmp_path: Path, compressed: bool, dtype: type
) -> None:
    events = random_events(100, step_us=30)
    columns = {key: values.astype(dtype) for key, values in mat_columns(events).items()}
    columns["p"] = mat_columns(events)["p"].astype(np.int8)
    others = {"name": "camera", "cells": np.array([[1, "a"]], dtype=object), "z": 1j}
    savemat(tmp_path / "a.mat", others | columns | {"scale": 2.5}, do_compression=compressed)
    source = open_events(tmp_path / "a.mat", sensor=SENSOR)
    assert source.format == "mat"
    assert rows(source) == rows([events])


def test_matlab_files_without_events_are_refused(tmp_path: Path) -> None:
    columns = mat_columns(random_events(5))
    for wrong, message in (
        ({"x": np.zeros(4)}, "expected numbers of one length"),
        ({"x": np.zeros(5) * 1j}, "holds no x"),
        ({"ts": np.full(5, np.nan)}, "values that are no numbers"),
    ):
        savemat(tmp_path / "a.mat", columns | wrong)
        with pytest.raises(InputError, match=message):
            open_events(tmp_path / "a.mat")


def test_matlab_variables_that_unpack_to_too_much_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tmkt.readers.mat.LARGEST", 2**20)
    savemat(tmp_path / "a.mat", {"x": np.zeros(2**18)}, do_compression=True)
    assert (tmp_path / "a.mat").stat().st_size < 2**14
    with pytest.raises(InputError, match="unpacks to more than 1048576 bytes"):
        open_events(tmp_path / "a.mat")


def test_nothing_is_unpickled_and_no_array_is_taken_for_events_that_is_none(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"t": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"Python objects.*nothing is unpickled"):
        open_events(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", np.zeros((5, 4)))
    with pytest.raises(InputError, match="expected one dimension and fields t, x, y, p"):
        open_events(tmp_path / "b.npy")
    np.savez(tmp_path / "c.npz", t=np.zeros(5), x=np.zeros(5))
    with pytest.raises(InputError, match="no column for y, p among t, x"):
        open_events(tmp_path / "c.npz")
    np.savez(tmp_path / "d.npz", t=np.zeros(5, int), x=np.zeros(5), y=np.zeros(4), p=np.zeros(5))
    with pytest.raises(InputError, match="expected one length"):
        open_events(tmp_path / "d.npz")
    np.savez(tmp_path / "e.npz", events=structured(random_events(5)))
    assert len(rows(open_events(tmp_path / "e.npz", sensor=SENSOR))) == 5


def test_an_hdf5_filter_that_is_not_installed_is_named(tmp_path: Path) -> None:
    import h5py

    with h5py.File(tmp_path / "a.h5", "w") as file:
        for key in "txyp":
            properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
            properties.set_chunk((5,))
            properties.set_filter(32001, h5py.h5z.FLAG_OPTIONAL, ())
            group = file.require_group("events")
            h5py.h5d.create(
                group.id,
                key.encode(),
                h5py.h5t.NATIVE_INT64,
                h5py.h5s.create_simple((5,)),
                properties,
            )
    with pytest.raises(
        InputError, match="HDF5 filter blosc, which is not installed; try: pip install hdf5plugin"
    ):
        open_events(tmp_path / "a.h5")
