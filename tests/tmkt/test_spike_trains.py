"""Files of spike trains are read as what they hold, and refused in one line where they do not."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from tmkt.datasets.decoded import input_contract
from tmkt.datasets.reading import load_binned
from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.events.channels import ChannelContract
from tmkt.recipe import DataRecipe

CONTRACT = ChannelContract((5,), 4, 1000, 2)
# Recordings of spikes (t in us, channel): one channel twice in a bin, then thrice; one behind the
# last bin; a recording without spikes.
SPIKES = [[(0, 1), (10, 1), (999, 4), (3000, 0)], [(1000, 2)] * 3 + [(4000, 3)], []]
LABELS = np.array([1, 0, 1])


def expected() -> NDArray[np.uint8]:
    frames = np.zeros((3, 4, 5), np.uint8)
    frames[0, 0, 1], frames[0, 0, 4], frames[0, 3, 0] = 2, 1, 1
    frames[1, 1, 2] = 2  # saturates
    return frames


def write_columns(path: Path, seconds: bool = False) -> None:
    rows = [(i, t, c) for i, spikes in enumerate(SPIKES) for t, c in spikes]
    rows = rows[::-1]  # in any order
    recording, t, channel = (np.array(column) for column in zip(*rows, strict=True))
    times = t / 1e6 if seconds else t
    np.savez(path, recording=recording, t=times, channel=channel, labels=LABELS)


def write_trains(path: Path) -> None:
    trains = np.zeros((3, 6, 5), np.int64)  # two steps more than the bins
    trains[:, :4] = expected()
    trains[1, 1, 2], trains[1, 4, 3] = 3, 1
    if path.suffix == ".npz":
        np.savez_compressed(path, spikes=trains, labels=LABELS, classes=["no", "yes"])
        return
    with h5py.File(path, "w") as file:
        file["spikes"], file["labels"] = trains, LABELS


def write_heidelberg(path: Path) -> None:
    """Write the layout of the Spiking Heidelberg Digits."""
    with h5py.File(path, "w") as file:
        times = file.create_dataset("spikes/times", (3,), h5py.vlen_dtype(np.float16))
        units = file.create_dataset("spikes/units", (3,), h5py.vlen_dtype(np.uint16))
        for i, spikes in enumerate(SPIKES):
            times[i] = np.array([t / 1e6 for t, _ in spikes], np.float16)
            units[i] = [c for _, c in spikes]
        file["labels"] = LABELS.astype(np.uint16)
        file["extra/keys"] = [b"zero", b"one"]


def read(folder: Path) -> tuple[Any, tuple[str, ...]]:
    source = dataset("spikes")
    return load_binned(source.find_recordings(folder), CONTRACT), source.class_names(folder)


@pytest.mark.parametrize(
    ("name", "write", "classes"),
    [
        ("a.npz", write_columns, ("0", "1")),
        ("a.npz", lambda path: write_columns(path, seconds=True), ("0", "1")),
        ("a.npz", write_trains, ("no", "yes")),
        ("a.h5", write_trains, ("0", "1")),
        ("a.hdf5", write_heidelberg, ("zero", "one")),
    ],
)
def test_every_layout_gives_the_same_frames(
    tmp_path: Path, name: str, write: Any, classes: tuple[str, ...]
) -> None:
    write(tmp_path / name)
    binned, names = read(tmp_path)
    frames = expected()
    if write is write_heidelberg:  # its float16 seconds round 999 us to the next bin's start
        frames[0, 0, 4], frames[0, 1, 4] = binned.frames[0, :2, 4]
        assert binned.frames[0, :2, 4].sum() == 1
    np.testing.assert_array_equal(binned.frames, frames)
    assert binned.labels.tolist() == LABELS.tolist()
    assert names == classes
    assert [extent.cut for extent in binned.extents] == [0, 1, 0]


def test_recordings_of_a_file_have_its_name_and_their_place(tmp_path: Path) -> None:
    write_trains(tmp_path / "shd.npz")
    found = dataset("spikes", ("no", "yes")).find_recordings(tmp_path)
    assert [recording.instance for recording in found] == ["shd-0", "shd-1", "shd-2"]
    assert found[2].title.endswith("/shd.npz[2]")


GOOD: dict[str, Any] = {"spikes": np.ones((3, 4, 5), int), "labels": LABELS}
LISTED: dict[str, Any] = {
    "recording": np.zeros(2, int),
    "t": np.zeros(2, int),
    "channel": np.zeros(2, int),
    "labels": LABELS,
}


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"spikes": GOOD["spikes"]}, "holds spikes, expected labels, and spikes"),
        ({"labels": LABELS, "t": LABELS}, "no recording, channel among labels, t"),
        ({**GOOD, "labels": LABELS[:2]}, r"spikes int64 \(3, 4, 5\) for 2 labels"),
        ({**GOOD, "labels": LABELS - 1}, "a label of -1, expected whole numbers from 0"),
        ({**GOOD, "labels": LABELS.astype(object)}, "Python objects, expected numbers"),
        ({**GOOD, "classes": ["one"]}, "a label of 1, expected at most 0, as classes say"),
        ({**GOOD, "spikes": GOOD["spikes"] * 0.5}, r"spikes float64 \(3, 4, 5\)"),
        ({**GOOD, "spikes": GOOD["spikes"] * 300}, "counts 300 to 300, expected counts 0..255"),
        ({**GOOD, "spikes": np.ones((3, 4, 6), int)}, "recordings of 6 channels, expected 0..4"),
        ({**LISTED, "channel": np.array([0, 5])}, "channels 0 to 5, expected 0..4"),
        ({**LISTED, "recording": np.array([0, 3])}, "recording 0 to 3, expected 0..2"),
        ({**LISTED, "t": np.array([0.0, np.nan])}, "not finite, expected seconds"),
        ({**LISTED, "t": np.array([0, -1])}, "a time of -1 us, expected times from 0 on"),
        ({**LISTED, "t": np.zeros(3, int)}, "2 recording, 3 t, 2 channel, expected one of each"),
    ],
)
def test_what_is_no_file_of_spike_trains_is_refused(
    tmp_path: Path, arrays: dict[str, Any], said: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(InputError, match=said):
        read(tmp_path)


def test_an_array_that_unpacks_to_all_memory_is_refused_unread(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive, archive.open("spikes.npy", "w") as f:
        header = {"descr": "<i8", "fortran_order": False, "shape": (2**20, 2**20, 5)}
        np.lib.format.write_array_header_1_0(f, header)
    with pytest.raises(InputError, match="arrays beyond 2147483648 bytes"):
        read(tmp_path)


def test_a_check_of_the_data_says_what_there_is_and_training_that_it_needs_a_camera(
    tmkt: Any, tmp_path: Path
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    write_trains(data / "a.npz")
    checked = tmkt("data", "check", data, "--json")
    assert checked.json["data_set"] == "spikes"
    assert checked.json["corrupt"] == []
    assert [row["recordings"] for row in checked.json["classes"]] == [1, 2]
    with pytest.raises(InputError, match="expected recordings of an event camera to train on"):
        input_contract(
            DataRecipe(name="spikes", bins=4, bin_us=1000), dataset("spikes").find_recordings(data)
        )


def test_a_folder_without_spike_trains_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no spike trains, expected files \*\.npz"):
        read(tmp_path)
    for name in ("a.npz", "a.h5"):
        write_trains(tmp_path / name)
    with pytest.raises(InputError, match="holds two files called a"):
        read(tmp_path)
