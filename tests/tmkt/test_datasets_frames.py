"""Tests of frames from recordings of any size: mapping, the papers' floats, the cache."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tonic
import torch
from example_datasets import (
    some_events,
    write_cepdvs,
    write_colour,
    write_ncaltech101,
    write_nomniglot,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from tmkt.datasets import cache
from tmkt.datasets.decoded import Rows, decoded_frames, input_contract
from tmkt.datasets.float_frames import papers_frames
from tmkt.datasets.reading import count_frames, load_frames
from tmkt.datasets.registry import dataset
from tmkt.datasets.types import Recording
from tmkt.errors import InputError
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.events.mapping import choose_mapping
from tmkt.events.sites import view_sites
from tmkt.events.types import View
from tmkt.readers import open_events
from tmkt.readers.atis import write_bin
from tmkt.recipe import DataRecipe

sides = st.integers(1, 60)


def recipe(**values: object) -> DataRecipe:
    return DataRecipe.model_validate({"name": "nmnist", "bin_us": 31_600, **values})


@settings(max_examples=60, deadline=None)
@given(sides, sides, st.data())
def test_a_data_set_is_mapped_as_a_live_camera_is(
    height: int, width: int, data: st.DataObject
) -> None:
    sensor = data.draw(st.integers(1, height)), data.draw(st.integers(1, width))
    sites = view_sites(View((height, width)), sensor, some_events(0, (height, width), 5))
    live = choose_mapping((height, width), InputContract(sensor, 1, 1, 1)).sites()
    assert np.array_equal(sites.rows, live.rows)
    assert np.array_equal(sites.columns, live.columns)


def test_down_sampling_is_an_integer_division_of_coordinates() -> None:
    events, contract = some_events(1, (128, 128), 5000), InputContract((32, 32), 4, 80_000, 255)
    frames = events_to_frames(events, contract, View((128, 128)))
    expected = np.zeros((4, 2, 32, 32), np.int64)
    np.add.at(
        expected, ((events.t - events.t[0]) // 80_000, events.p, events.y // 4, events.x // 4), 1
    )
    assert np.array_equal(frames, expected)
    binary = events_to_frames(events, InputContract((32, 32), 4, 80_000, 1), View((128, 128)))
    assert np.array_equal(binary, expected > 0)


def test_a_recording_of_another_size_fills_the_network() -> None:
    events = some_events(2, (107, 129), 3000)
    events = type(events)(
        events.t, events.x + np.uint16(10), events.y + np.uint16(20), events.p, (180, 240)
    )
    frames = events_to_frames(
        events, InputContract((48, 48), 1, 400_000, 255), View((180, 240), fills=True)
    )
    expected = np.zeros((2, 48, 48), np.int64)
    np.add.at(
        expected,
        (
            events.p,
            (events.y - 20).astype(int) * 48 // 107,
            (events.x - 10).astype(int) * 48 // 129,
        ),
        1,
    )
    assert np.array_equal(frames[0], expected)
    assert frames.sum() == 3000  # none is lost


def test_the_first_bin_begins_with_the_first_event_even_outside_the_region() -> None:
    events = some_events(3, (20, 20), 50)  # its first event is in the corner, outside of the region
    inside = (events.x >= 5) & (events.x < 15) & (events.y >= 5) & (events.y < 15)
    frames = events_to_frames(
        events, InputContract((10, 10), 31, 10_000, 255), View((20, 20), (5, 5, 10, 10))
    )
    counts = np.bincount((events.t[inside] - events.t[0]) // 10_000, minlength=31)
    assert frames.sum((1, 2, 3)).tolist() == counts.tolist()


def test_a_sensor_of_the_recordings_own_size_is_binned_as_before(shared_data: Path) -> None:
    recordings = dataset("nmnist").find_recordings(shared_data / "nmnist")[:3]
    contract = InputContract((34, 34), 10, 31_600, 1)
    plain, _ = load_frames([Recording(r.path, r.label, r.instance) for r in recordings], contract)
    assert np.array_equal(load_frames(recordings, contract)[0], plain)
    halved, _ = load_frames(recordings, InputContract((17, 17), 10, 31_600, 1))
    assert np.array_equal(halved, plain.reshape(3, 10, 2, 17, 2, 17, 2).max((4, 6)))


@pytest.mark.parametrize("size", [(48, 48), (20, 31), (1, 1)])
def test_float_frames_are_tonics_frames_interpolated_by_torch(
    shared_data: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    (tmp_path / "Caltech101" / "Faces_easy").mkdir(parents=True)
    path = tmp_path / "Caltech101" / "Faces_easy" / "image_0001.bin"
    path.write_bytes((shared_data / "recordings" / "ncaltech101_faces_easy_0001.bin").read_bytes())
    events = open_events(path, sensor=(240, 304))
    parts = list(events.chunks((240, 304)))
    t, x, y, p = (np.concatenate([getattr(part, key) for part in parts]) for key in "txyp")
    structured = np.zeros(len(t), np.dtype([("x", int), ("y", int), ("t", int), ("p", int)]))
    for key, values in {
        "x": x.astype(int) - x.min(),
        "y": y.astype(int) - y.min(),
        "t": t,
        "p": p,
    }.items():
        structured[key] = values
    shape = (int(structured["x"].max()) + 1, int(structured["y"].max()) + 1, 2)
    theirs = tonic.transforms.ToFrame(sensor_size=shape, n_time_bins=10)(structured)
    expected = torch.nn.functional.interpolate(
        torch.tensor(theirs, dtype=torch.float), size=size, mode="bilinear", align_corners=True
    )
    found = dataset("ncaltech101").find_recordings(tmp_path)
    data = recipe(name="ncaltech101", height=size[0], width=size[1], frames="float")
    frames = decoded_frames(found, data, input_contract(data, found)).frames
    assert frames.dtype == np.float32
    assert np.allclose(frames[0], expected.numpy(), atol=1e-4)


def test_nomniglots_float_frames_are_divided_by_their_peak(tmp_path: Path) -> None:
    write_nomniglot(tmp_path, {"dvs_background/Latin/character01": 683}, 2)
    found = dataset("nomniglot").find_recordings(tmp_path)
    data = recipe(name="nomniglot", height=252, width=252, frames="float", bins=3)
    frames = decoded_frames(found, data, input_contract(data, found)).frames
    assert frames.max((3, 4)).tolist() == [[[1.0] * 2] * 3] * 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 99))
def test_float_frames_at_their_own_size_are_counts(
    height: int, width: int, bins: int, seed: int
) -> None:
    events = some_events(seed, (height, width), 40)
    frames = papers_frames(events, View((height, width)), bins, (height, width))
    window = 300_000 // bins
    expected = np.zeros(frames.shape, np.int64)
    index = (events.t - events.t[0]) // window
    for i in np.flatnonzero(index < bins):
        expected[index[i], events.p[i], events.y[i], events.x[i]] += 1
    assert np.allclose(frames, expected, atol=1e-5)


def test_the_networks_sensor_follows_from_the_recipe(tmp_path: Path) -> None:
    big = [Recording(Path("a"), 0, "a-1", View((260, 346), (3, 53, 252, 252)))]
    assert input_contract(recipe(), big).sensor == (252, 252)
    assert input_contract(recipe(downsample=9), big).sensor == (28, 28)
    assert input_contract(recipe(height=28, width=32), big).sensor == (28, 32)
    with pytest.raises(
        InputError, match=r"width = 28, data\.height = 300: larger than the recordings' 252x252"
    ):
        input_contract(recipe(height=300, width=28), big)
    with pytest.raises(InputError, match=r"data\.downsample = 300: leaves nothing of 252x252"):
        input_contract(recipe(downsample=300), big)
    write_ncaltech101(tmp_path, ["ant"], 2)
    found = dataset("ncaltech101").find_recordings(tmp_path)
    with pytest.raises(
        InputError, match=r"no size in common, expected data\.width and data\.height"
    ):
        input_contract(recipe(name="ncaltech101"), found)
    assert input_contract(recipe(name="ncaltech101", height=48, width=48), found).sensor == (48, 48)


@pytest.mark.parametrize(
    "values",
    [
        {"width": 1},
        {"height": 1},
        {"width": 4, "height": 4, "downsample": 2},
        {"protocol": "paper", "shots": 1},
        {"validation": 1.5},
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"width|protocol|validation"):
        recipe(**values)


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use a cache folder that keeps everything, however small."""
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "WORTH_BYTES", 0)
    return tmp_path / "cache"


def _ants(tmp_path: Path, each: int = 3) -> list[Recording]:
    write_ncaltech101(tmp_path, ["ant"], each)
    return dataset("ncaltech101").find_recordings(tmp_path)


def _decode(found: list[Recording], **values: object) -> tuple[np.ndarray, int]:
    """Frames, and how many recordings were read for them."""
    data, read = recipe(name="ncaltech101", **{"width": 24, "height": 24, **values}), []
    decoded = decoded_frames(found, data, input_contract(data, found), read.append)
    return decoded.frames, len(read)


def test_large_sets_are_decoded_once(tmp_path: Path, kept: Path) -> None:
    found = _ants(tmp_path)
    first, read = _decode(found)
    assert read == 3
    again, read = _decode(found)
    assert read == 0
    assert isinstance(again, np.memmap)
    assert not again.flags.writeable
    contract = InputContract((24, 24), 10, 31_600, 1)
    assert np.array_equal(again, np.stack([count_frames(r, contract) for r in found]))
    assert np.array_equal(first, again)
    assert len(list(kept.iterdir())) == 1


@pytest.mark.parametrize(
    "values",
    [{"height": 12}, {"bins": 5}, {"bin_us": 1000}, {"max_count": 3}, {"frames": "float"}],
)
def test_whatever_shapes_the_frames_is_part_of_the_key(
    tmp_path: Path, kept: Path, values: dict[str, object]
) -> None:
    found = _ants(tmp_path)
    _decode(found)
    _, read = _decode(found, **values)
    assert read == 3
    assert len(list(kept.iterdir())) == 2
    _, read = _decode(found[:2])
    assert read == 2


@pytest.mark.usefixtures("kept")
def test_a_changed_source_is_noticed(tmp_path: Path) -> None:
    found = _ants(tmp_path)
    before, _ = _decode(found)
    write_bin(some_events(77, (60, 60)), found[1].path)
    after, read = _decode(found)
    assert read == 3
    assert not np.array_equal(before[1], after[1])
    stat = found[2].path.stat()
    os.utime(found[2].path, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert _decode(found)[1] == 3
    found[0].path.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        _decode(found)


def test_a_damaged_cache_is_noticed(tmp_path: Path, kept: Path) -> None:
    found = _ants(tmp_path)
    whole, _ = _decode(found)
    (path,) = kept.iterdir()
    good = path.read_bytes()
    flipped = bytearray(good)
    flipped[-5] ^= 1
    for bad in (good[:-1], good + b"0", bytes(flipped), b"", b"\0" * len(good)):
        path.write_bytes(bad)
        again, read = _decode(found)
        assert read == 3
        assert np.array_equal(again, whole)
        assert path.read_bytes() == good


def test_a_cache_that_cannot_be_written_is_done_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: Path
) -> None:
    found = _ants(tmp_path)
    kept.write_text("a file where the folder should be")
    frames, _ = _decode(found)
    assert frames.shape == (3, 10, 2, 24, 24)
    monkeypatch.setenv(cache.VARIABLE, "")
    assert cache.folder() is None
    assert np.array_equal(_decode(found)[0], frames)


@pytest.mark.usefixtures("kept")
def test_a_damaged_recording_leaves_no_cache_behind(tmp_path: Path) -> None:
    found = _ants(tmp_path)
    found[2].path.write_bytes(found[2].path.read_bytes()[:-2])
    with pytest.raises(InputError, match=r"image_0003\.bin: truncated"):
        _decode(found)
    assert not list((tmp_path / "cache").iterdir())


def test_a_killed_process_leaves_no_half_cache(tmp_path: Path, kept: Path) -> None:
    found = _ants(tmp_path)
    code = (
        "import os, sys; from pathlib import Path; from tmkt.datasets import cache\n"
        "cache.WORTH_BYTES = 0\n"
        "cache.cached([Path(sys.argv[1])], {}, (4, 4), 'u1', lambda out: os.kill(os.getpid(), 9))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(found[0].path)],
        env={**os.environ, cache.VARIABLE: str(kept)},
    )
    assert done.returncode == -9
    assert not list(kept.glob("*.frames"))


def test_images_of_many_files_are_kept_too(tmp_path: Path, kept: Path) -> None:
    write_cepdvs(tmp_path, ["fish"], 2)
    source = dataset("cepdvs")
    first = source.load_images(tmp_path, (16, 16))  # type: ignore[misc]
    assert len(list(kept.iterdir())) == 1
    again = source.load_images(tmp_path, (16, 16))  # type: ignore[misc]
    assert isinstance(again.images, np.memmap)
    assert np.array_equal(first.images, again.images)
    write_colour(tmp_path / "data" / "img" / "00001.jpg", (50, 70), 99)
    assert not np.array_equal(source.load_images(tmp_path, (16, 16)).images[1], first.images[1])  # type: ignore[misc]


def test_rows_of_an_array_on_disk_are_read_as_they_are_asked_for() -> None:
    array = np.arange(20).reshape(10, 2)
    rows = Rows(array, np.array([7, 1, 4]))
    assert len(rows) == 3
    assert rows.shape == (3, 2)
    assert rows[:2].tolist() == [[14, 15], [2, 3]]
    assert rows[np.array([2, 2])].tolist() == [[8, 9], [8, 9]]
    assert np.asarray(rows).tolist() == [[14, 15], [2, 3], [8, 9]]


def test_a_plain_recording_is_read_at_the_networks_size() -> None:
    events = some_events(4, (34, 34))
    contract = InputContract((34, 34), 10, 31_600, 1)
    assert np.array_equal(
        events_to_frames(events, contract, View((34, 34))), events_to_frames(events, contract)
    )
