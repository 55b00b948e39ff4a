"""Small files that would take gigabytes, hang or start programs: refused, or read in little memory.

They are read in a process of their own: tests/support/worker.py.
"""

import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import h5py
import lz4.frame
import numpy as np
import pytest
import zstandard
from example_datasets import write_cepdvs
from example_files import SENSOR, aedat4, random_events, write_example
from PIL import Image
from worker import GIB, Answer, Worker

from tmkt.cli.stream_options import InputOptions
from tmkt.datasets.check import check_data
from tmkt.datasets.reading import count_frames, read_recording
from tmkt.datasets.registry import dataset
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.frames import InputContract, chunks_to_frames, events_to_frames
from tmkt.events.types import Events, View
from tmkt.readers import parse_sensor, strict
from tmkt.readers.source import Raw

EVENTS = 2**22
HEIGHT, WIDTH = SENSOR


@pytest.fixture(scope="module")
def worker() -> Iterator[Worker]:
    made = Worker(limit_s=120)  # the machine may be busy; what is read here takes a few seconds
    made("read", "warm up", 1, 1)
    yield made
    made.close()


def info(worker: Worker, path: Path) -> Answer:
    answer = worker("tmkt", "data", "info", path, "--json", "--sensor", f"{WIDTH}x{HEIGHT}")
    assert answer.fault is None, answer
    return answer


def read(worker: Worker, path: Path) -> Answer:
    answer = worker("read", path, WIDTH, HEIGHT)
    assert answer.fault is None, answer
    return answer


def write_columns(path: Path, rows: int, chunks: int, wide: int = 0) -> Path:
    """Write an HDF5 file whose rows are not stored: they are read as zeros."""
    dtype = np.dtype([("t", "<i8"), ("x", "<u2"), ("y", "<u2"), ("p", "u1"), ("more", f"V{wide}")])
    with h5py.File(path, "w") as file:
        if wide:
            file.create_dataset("CD/events", (rows,), dtype, chunks=(chunks,))
        else:
            for key in "txyp":
                file.create_dataset(f"events/{key}", (rows,), dtype[key], chunks=(chunks,))
    return path


def test_hdf5_rows_that_no_byte_is_behind_are_refused(worker: Worker, tmp_path: Path) -> None:
    path = write_columns(tmp_path / "a.h5", 2**40, 2**20)
    assert path.stat().st_size < 10_000
    for answer in (info(worker, path), read(worker, path)):
        assert "rows in a file of" in answer.text
        assert answer.peak < GIB / 2


def test_hdf5_rows_and_blocks_of_impossible_size_are_refused(
    worker: Worker, tmp_path: Path
) -> None:
    wide = write_columns(tmp_path / "a.h5", 60_000, 60_000, wide=30_000)
    assert "rows of 30013 bytes, expected at most 256" in info(worker, wide).text
    with h5py.File(tmp_path / "b.h5", "w") as file:
        for key in "txyp":
            file.create_dataset(
                f"events/{key}", (100,), "i8", chunks=(2**27 + 1,), maxshape=(None,)
            )
    answer = info(worker, tmp_path / "b.h5")
    assert "blocks of 134217729 rows of 8 bytes, expected at most" in answer.text


def test_hdf5_attributes_offsets_and_links_cost_no_memory_and_open_no_other_file(
    worker: Worker, tmp_path: Path
) -> None:
    path = write_columns(tmp_path / "a.h5", 1000, 1000)
    with h5py.File(path, "a") as file:
        file.create_dataset("t_offset", (2**30,), "i8", chunks=(2**20,))
    assert "t_offset of type int64 and shape (1073741824,)" in info(worker, path).text

    path = tmp_path / "b.h5"
    with h5py.File(path, "w", libver="latest") as file:
        for key in "txyp":
            file[f"events/{key}"] = np.zeros(10, np.int64)
        file.attrs["geometry"] = np.zeros(2**17, "S1")
    assert "attribute geometry of more than" in info(worker, path).text

    os.mkfifo(tmp_path / "pipe")  # opening it would wait
    for key in ("events", "CD", "t_offset", "events/t", "CD/events"):
        path = tmp_path / f"{key.replace('/', '-')}.h5"
        with h5py.File(path, "w") as file:
            file[key] = h5py.ExternalLink(str(tmp_path / "pipe"), "/events")
        assert "is a link into another file" in info(worker, path).text


def zeros(size: int) -> bytes:
    """Compress zeros, as ZIP and MATLAB do: to a thousandth."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    piece = bytes(2**20)
    packed = b"".join(packer.compress(piece) for _ in range(size >> 20))
    return packed + packer.compress(bytes(size & 2**20 - 1)) + packer.flush()


def mat(variables: list[bytes]) -> bytes:
    """Make a file of compressed variables (raw deflate)."""
    head = b"MATLAB 5.0 MAT-file".ljust(124) + struct.pack("<H", 0x100) + b"IM"
    elements = (b"\x78\x9c" + packed + bytes(4) for packed in variables)
    return head + b"".join(struct.pack("<II", 15, len(data)) + data for data in elements)


def mat_column(name: str, rows: int) -> bytes:
    """Compress a variable of so many zeros of one byte."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -zlib.MAX_WBITS)
    parts = struct.pack("<II8sIIii", 6, 8, struct.pack("<I", 9), 5, 8, rows, 1)
    parts += struct.pack("<HH4s", 1, len(name), name.encode()) + struct.pack("<II", 2, rows)
    packed = packer.compress(struct.pack("<II", 14, len(parts) + rows + -rows % 8) + parts)
    piece = bytes(2**20)
    return b"".join([packed, *(packer.compress(piece) for _ in range(rows >> 20)), packer.flush()])


def test_mat_files_that_unpack_to_a_thousand_times_their_size_are_read_in_little_memory(
    worker: Worker, tmp_path: Path
) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(mat([mat_column(name, EVENTS) for name in ("ts", "x", "y", "p")]))
    assert path.stat().st_size < 200_000
    assert info(worker, path).ended == "done"
    assert read(worker, path).text == f"{EVENTS} events"

    # A variable of millions of elements: four are looked at.
    path.write_bytes(mat([zlib.compress(struct.pack("<II", 14, 2**27) + bytes(2**27))[2:-4]]))
    answer = info(worker, path)
    assert "holds no x, y, p, ts" in answer.text
    assert answer.peak < GIB / 2


@pytest.mark.parametrize("compression", [1, 3])
def test_aedat4_packets_of_zeros_are_read_in_little_memory(
    worker: Worker, tmp_path: Path, compression: int
) -> None:
    count = EVENTS // 8
    table = struct.pack("<I4sHHH2xiI", 16, b"EVTS", 6, 8, 4, 8, 4)  # as in example_files
    data = bytes(4) + table + struct.pack("<I", count) + bytes(16 * count)
    packed = (
        lz4.frame.compress(data, compression_level=9)
        if compression == 1
        else zstandard.ZstdCompressor().compress(data)
    )
    empty = aedat4({0: [random_events(2)]}, table=False)
    head = empty[: empty.index(b"\x04\x22\x4d\x18") - 8]
    head = head.replace(b"\x01\0\0\0" + b"\xff" * 8, bytes((compression, 0, 0, 0)) + b"\xff" * 8)
    path = tmp_path / "a.aedat4"
    path.write_bytes(head + (struct.pack("<ii", 0, len(packed)) + packed) * 8)
    assert info(worker, path).ended == "done"
    assert read(worker, path).text == f"{EVENTS} events"


def write_npz(path: Path, rows: int, method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for key, dtype in (("t", "<i8"), ("x", "u1"), ("y", "u1"), ("p", "u1")):
            with archive.open(f"{key}.npy", "w") as member:
                header = {"descr": dtype, "fortran_order": False, "shape": (rows,)}
                np.lib.format.write_array_header_1_0(member, header)
                left = rows * np.dtype(dtype).itemsize
                while left > 0:
                    member.write(bytes(min(left, 2**20)))
                    left -= 2**20
    return path


def test_npz_files_of_zeros_are_read_in_little_memory(worker: Worker, tmp_path: Path) -> None:
    path = write_npz(tmp_path / "a.npz", EVENTS)
    assert path.stat().st_size < 800_000
    assert info(worker, path).ended == "done"
    assert read(worker, path).text == f"{EVENTS} events"
    # Python unpacks bzip2 and LZMA without a bound.
    path = write_npz(tmp_path / "b.npz", 2**20, zipfile.ZIP_BZIP2)
    assert "compressed with method 12 of ZIP" in info(worker, path).text


def test_numpy_headers_are_not_longer_than_numpy_reads(worker: Worker, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("t.npy", b"\x93NUMPY\2\0" + struct.pack("<I", 2**26) + bytes(2**26))
    answer = info(worker, tmp_path / "a.npz")
    assert "67108864 bytes long, expected at most 10000" in answer.text


@pytest.mark.parametrize("cut", [b"{'descr': '<f8', (", b"{'descr': L", b"(" * 5000, b"\0{["])
def test_damaged_headers_of_tonics_arrays_are_one_line(
    worker: Worker, tmp_path: Path, cut: bytes
) -> None:
    """NumPy's parser of Python 2's headers raises tokenize.TokenError."""
    data = cut.ljust(118 if len(cut) < 118 else len(cut)) + b"\n"
    path = tmp_path / "a.npy"
    path.write_bytes(b"\x93NUMPY\1\0" + struct.pack("<H", len(data)) + data + bytes(320))
    assert "the NumPy header cannot be read" in read(worker, path).text
    assert "the NumPy header cannot be read" in info(worker, path).text


@pytest.mark.parametrize("name", ["z.npy", "a.mat", "a.aedat", "a.bin", "a.h5", "a.aedat4"])
def test_pipes_that_are_named_as_recordings_are_not_waited_for(
    worker: Worker, tmp_path: Path, name: str
) -> None:
    (tmp_path / "class").mkdir()
    os.mkfifo(tmp_path / "class" / name)
    (tmp_path / "camera.toml").write_text("width = 120\nheight = 100\n")
    assert "is not a file" in info(worker, tmp_path / "class" / name).text
    assert "is not a file" in read(worker, tmp_path / "class" / name).text
    check = worker("tmkt", "data", "check", tmp_path)
    assert check.ended == "refused"


def test_pipes_in_place_of_labels_are_not_waited_for(worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "user01_led.aedat").write_bytes(b"")
    os.mkfifo(tmp_path / "user01_led_labels.csv")
    answer = worker("tmkt", "data", "check", tmp_path, "--name", "dvsgesture")
    assert "is not a file" in answer.text
    character = tmp_path / "dvs_background" / "Greek" / "character01"
    character.mkdir(parents=True)
    (character / "0001.aedat4").write_bytes(b"")
    os.mkfifo(character / "0001.csv")
    answer = worker("tmkt", "data", "check", tmp_path, "--name", "nomniglot")
    assert "is not a file" in answer.text


def test_images_are_png_jpeg_or_bmp_by_their_content(worker: Worker, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tmp_path / "a.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
        f"({mark}) (w) file\n%%EOF\n"
    )
    assert (
        "no image that is known, expected PNG, JPEG, BMP"
        in worker("image", tmp_path / "a.png").text
    )
    assert not mark.exists()
    grey = Image.new("L", (8, 8), 7)
    for format in ("GIF", "TIFF", "PPM", "WEBP"):
        grey.save(tmp_path / "b.png", format=format)
        assert "no image that is known" in worker("image", tmp_path / "b.png").text
    for format in ("PNG", "JPEG", "BMP"):
        grey.save(tmp_path / "c.gif", format=format)
        assert worker("image", tmp_path / "c.gif").text == "(8, 8)"
    os.mkfifo(tmp_path / "d.png")
    assert "is not a file" in worker("image", tmp_path / "d.png").text


@pytest.mark.parametrize("format", ["mat", "npz", "aedat4", "hdf5", "npy", "atis"])
def test_recordings_that_are_needed_whole_have_a_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format: str
) -> None:
    """The limit keeps what is read whole below a gigabyte: 0.7 GB at the peak."""
    assert strict.MOST_EVENTS * (13 + 8) < 0.8 * GIB
    suffix = {"atis": "bin", "hdf5": "h5"}.get(format, format)
    path = write_example(format, tmp_path / f"a.{suffix}", random_events(300))
    recording = Recording(path, 0, "thing-1", View(SENSOR))
    monkeypatch.setattr(strict, "MOST_EVENTS", 300)
    assert len(read_recording(recording, SENSOR)) == 300
    monkeypatch.setattr(strict, "MOST_EVENTS", 299)
    with pytest.raises(InputError, match=r"more than 299 events.*cut it into parts"):
        read_recording(recording, SENSOR)
    contract = InputContract(SENSOR, 2, 1000, 255)  # frames are counted as events come
    assert count_frames(recording, contract).any()


def test_frames_do_not_depend_on_the_chunks_of_the_events() -> None:
    events = random_events(3000)
    contract = InputContract(SENSOR, 5, 90_000, 255)
    whole = events_to_frames(events, contract)
    assert whole.any()
    for size in (1, 7, 1000):
        parts = (
            Events(
                *(column[at : at + size] for column in (events.t, events.x, events.y, events.p)),
                sensor=SENSOR,
            )
            for at in range(0, len(events), size)
        )
        assert np.array_equal(chunks_to_frames(parts, contract), whole)


def test_the_strict_check_says_the_same_whatever_the_chunks() -> None:
    t = np.array([5, 9, 3, 20, 18], np.int64)
    x = np.array([0, 200, 0, 130, 0], np.uint16)
    raw = Raw(t, x, np.zeros(5, np.uint16), np.zeros(5, np.uint8))
    for sensor, found in (
        (SENSOR, r"2 of 5 events lie outside the sensor \(x up to 200, y up to 0\)"),
        ((100, 300), r"2 of 5 time stamps go backwards \(by up to 6 us\)"),
    ):
        for size in (1, 2, 5):
            parts = [raw.part(at, at + size) for at in range(0, 5, size)]
            with pytest.raises(InputError, match=found):
                list(strict.strict(parts, sensor, "a"))


def test_data_check_lists_a_compressed_mat_file_that_is_damaged(tmp_path: Path) -> None:
    write_cepdvs(tmp_path, ["fish"], 3)
    path = tmp_path / "data" / "MAT" / "img" / "00001.mat"
    data = bytearray(path.read_bytes())
    for at in range(140, len(data), 97):  # within the compressed variables
        data[at] ^= 0x55
    path.write_bytes(data)
    report = check_data(dataset("cepdvs"), tmp_path, None, "instance-disjoint")
    assert [found["path"] for found in report["corrupt"]] == [str(path)]
    assert "fetch the file again" in report["corrupt"][0]["error"]


@pytest.mark.parametrize("text", ["9" * 5000 + "x9", "9x" + "9" * 5000, "1" * 10 + "x1"])
def test_a_sensor_of_thousands_of_digits_is_one_line(text: str) -> None:
    with pytest.raises(InputError, match="expected WIDTHxHEIGHT") as caught:
        parse_sensor(text)
    assert len(str(caught.value)) < 150
    with pytest.raises(InputError, match="expected X,Y in pixels"):
        _ = InputOptions(crop=text.replace("x", ",")).corner
