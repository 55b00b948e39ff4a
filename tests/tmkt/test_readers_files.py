"""Whole recordings: real ones, conversions through every format, and pieces of any size."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_files import SENSOR, random_events, rows, write_ecf, write_example
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers import open_events
from tmkt.readers.detect import FORMATS
from tmkt.readers.statistics import Statistics
from tmkt.readers.writers import WRITERS, format_to_write, write_events

READ = [*FORMATS, "aedat1", "ecf"]
SENSORS = {"aedat1": (128, 128), "aedat2": (180, 240), "aedat3": (128, 128)}
REAL = {  # events, duration in us, sensor that the file tells (shared/data/README.md)
    "recordings/davis346_170ms.aedat4": (6_676, 169_941, (260, 346)),
    "recordings/edge_single_timestamp.aedat4": (9_408, 0, (480, 640)),
    "recordings/ncaltech101_faces_easy_0001.bin": (67_445, 299_358, None),
    "recordings/vga_2700ms.aedat4": (255_283, 2_699_987, (480, 640)),
    "recordings/vga_evt2.raw": (521_252, 95_871, (480, 640)),
    "dvsgesture/1.bin": (63_471, 1_449_968, None),
    "nmnist/Test/0/00004.bin": (5_293, 307_948, None),
}


@pytest.mark.parametrize("name", REAL)
def test_real_recordings_are_known_by_their_content_and_nothing_of_them_is_dropped(
    shared_data: Path, tmp_path: Path, name: str
) -> None:
    events, duration_us, sensor = REAL[name]
    path = tmp_path / "recording"
    path.symlink_to(shared_data / name)
    source = open_events(path)
    assert source.sensor == sensor
    statistics = Statistics()
    for chunk in source.chunks(sensor or (240, 256)):
        statistics.add(chunk)
    assert statistics.first_us is not None
    assert statistics.last_us is not None
    assert (statistics.events, statistics.last_us - statistics.first_us) == (events, duration_us)
    assert source.counters.to_json() == dict.fromkeys(source.counters.to_json(), 0) | {
        "events": events
    }


def test_an_empty_stream_is_an_error_of_one_line(shared_data: Path) -> None:
    for stream in (0, 1):
        with pytest.raises(InputError, match="holds no events"):
            list(open_events(shared_data / "recordings/edge_empty_stereo.aedat4", stream=stream))


@pytest.mark.parametrize("format", WRITERS)
def test_a_real_recording_goes_through_every_format_and_back(
    shared_data: Path, tmp_path: Path, format: str
) -> None:
    sensor = {"aedat2": (180, 240)}.get(format, (173, 151))
    first = open_events(
        shared_data / "recordings/ncaltech101_faces_easy_0001.bin", sensor=(180, 240)
    )
    events = [replace(chunk, sensor=sensor) for chunk in first]
    write_events(events, tmp_path / "there", format, sensor)
    back = open_events(tmp_path / "there", sensor=sensor)
    assert back.format == format
    write_events(back, tmp_path / "back.bin", "atis", sensor)
    assert (tmp_path / "back.bin").read_bytes() == (
        shared_data / "recordings/ncaltech101_faces_easy_0001.bin"
    ).read_bytes()


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write one recording in every format that is read."""
    folder = tmp_path_factory.mktemp("examples")
    for format in READ:
        write_example(format, folder / format, random_events(700, SENSORS.get(format, SENSOR)))
    return folder


@pytest.mark.parametrize("format", READ)
@settings(max_examples=12, deadline=None)
@given(chunk=st.one_of(st.integers(1, 30), st.integers(31, 2000)))
def test_pieces_of_any_size_give_the_same_events(examples: Path, format: str, chunk: int) -> None:
    sensor = SENSORS.get(format, SENSOR)
    chunks = list(open_events(examples / format, sensor=sensor, chunk=chunk))
    assert rows(chunks) == rows([random_events(700, sensor)])
    assert max(map(len, chunks)) <= chunk + 1  # one event may have been held back


@pytest.mark.parametrize("format", WRITERS)
def test_the_same_events_are_the_same_bytes(examples: Path, tmp_path: Path, format: str) -> None:
    again = write_example(
        format, tmp_path / "again", random_events(700, SENSORS.get(format, SENSOR))
    )
    assert again.read_bytes() == (examples / format).read_bytes()


def long_events(steps: list[int]) -> Events:
    t = np.cumsum(np.array(steps, np.int64))
    n = len(t)
    x, y, p = np.arange(n) % 40, np.arange(n) % 30, np.arange(n) % 2
    return Events(t, x.astype(np.uint16), y.astype(np.uint16), p.astype(np.uint8), (180, 240))


PAUSES = st.one_of(
    st.integers(0, 3),
    st.integers(0, 9_000_000),
    st.sampled_from([126, 127, 128, 4095, 4096, 2**22, 2**23 - 1, 2**23, 2**23 + 1]),
)


@pytest.mark.parametrize("format", [format for format in WRITERS if format != "hdf5"])
@settings(max_examples=40, deadline=None)
@given(steps=st.lists(PAUSES, min_size=1, max_size=30), cut=st.integers(0, 30))
def test_what_is_written_is_read_back_over_wraps_and_pauses(
    tmp_path_factory: pytest.TempPathFactory, format: str, steps: list[int], cut: int
) -> None:
    events = long_events(steps)
    path = tmp_path_factory.mktemp("wraps") / "a"
    parts = [
        Events(
            *(values[part] for values in (events.t, events.x, events.y, events.p)), events.sensor
        )
        for part in (slice(cut), slice(cut, None))
    ]
    assert write_events(parts, path, format, events.sensor) == len(events)
    assert rows(open_events(path, sensor=events.sensor, format=format)) == rows([events])


@pytest.mark.parametrize("format", ["atis", "es", "evt3"])
def test_hours_without_an_event_are_refused_where_bytes_would_have_to_fill_them(
    tmp_path: Path, format: str
) -> None:
    with pytest.raises(InputError, match=r"no event for .* use --from-zero or another format"):
        write_events([long_events([1_631_717_222_000_000, 5])], tmp_path / "a", format, (180, 240))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("format", ["aedat2", "dat", "evt2"])
def test_stamps_beyond_a_format_are_refused(tmp_path: Path, format: str) -> None:
    with pytest.raises(InputError, match=r"do not fit .* use --from-zero"):
        write_events([long_events([1_631_717_222_000_000, 5])], tmp_path / "a", format, (180, 240))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "sensor"),
    [("atis", (241, 10)), ("evt2", (10, 2049)), ("evt3", (10, 2049)), ("aedat2", (100, 100))],
)
def test_sensors_beyond_a_format_are_refused(
    tmp_path: Path, format: str, sensor: tuple[int, int]
) -> None:
    with pytest.raises(InputError, match="choose another format"):
        write_events([], tmp_path / "a", format, sensor)


def test_the_format_to_write_is_told_by_name_or_ending() -> None:
    assert format_to_write(Path("a.H5"), None) == "hdf5"
    assert format_to_write(Path("a.raw"), "evt3") == "evt3"
    for name, asked, found in (
        ("a.npy", None, "npy cannot be written"),
        ("a.raw", None, "says no format"),
        ("a.bin", "npy", "npy cannot"),
    ):
        with pytest.raises(InputError, match=found):
            format_to_write(Path(name), asked)


def test_statistics_do_not_depend_on_the_cut_into_chunks() -> None:
    events = random_events(1000)
    whole, cut = Statistics(), Statistics()
    whole.add(events)
    for i in range(0, 1000, 7):
        cut.add(
            Events(
                *(values[i : i + 7] for values in (events.t, events.x, events.y, events.p)),
                events.sensor,
            )
        )
    assert cut.to_json() == whole.to_json()
    bins = np.bincount((events.t - events.t[0]) // 10_000)
    assert whole.to_json()["peak_events_per_s"] == 100 * bins.max()


def test_large_ecf_chunks_are_read_in_bounded_pieces(tmp_path: Path) -> None:
    events = random_events(5000)
    write_ecf(tmp_path / "a.h5", events, chunk=5000)
    assert max(len(chunk) for chunk in open_events(tmp_path / "a.h5", chunk=100)) <= 101


# In a process of its own: it would end by a segmentation fault.
FULL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from tmkt.errors import InputError
from tmkt.events.types import Events
from tmkt.readers.writers import write_events
out, rng, n = Path(sys.argv[1]), np.random.default_rng(0), 200_000
def chunks():
    for begin in range(0, n, 50_000):
        t = begin + np.arange(50_000)
        x, y = rng.integers(0, 34, (2, t.size)).astype(np.uint16)
        yield Events(t, x, y, (x % 2).astype(np.uint8), (34, 34))
for most in (0, 1, 600, 3000, 10_000, 100_000, 200_000, 300_000):
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, -1))
    try:
        write_events(chunks(), out, "hdf5", (34, 34))
    except InputError as error:
        assert "cannot be written (File too large)" in str(error), error
    else:
        assert out.stat().st_size <= most
    print(out.exists(), *out.parent.iterdir())
"""


def test_an_hdf5_recording_that_does_not_fit_on_the_disk_is_one_line(tmp_path: Path) -> None:
    pytest.importorskip("resource", reason="limits of a process are POSIX")
    process = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "a.h5")], capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr[-500:]
    assert process.stdout.splitlines() == ["False"] * 8
    assert process.stderr == ""
