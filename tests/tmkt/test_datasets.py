import gzip
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest

from tmkt.datasets.digits import MARKER, SENSOR, simulate_digits
from tmkt.datasets.reading import load_frames
from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.events.frames import InputContract, events_to_frames
from tmkt.readers.atis import read_bin

NMNIST, DIGITS = dataset("nmnist"), dataset("digits")


def idx(folder: Path, images: int = 3, labels: int = 3, suffix: str = "-") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.arange(images * 784, dtype=np.uint32).astype(np.uint8).tobytes()
    (folder / f"train-images{suffix}idx3-ubyte").write_bytes(
        struct.pack(">4I", 0x803, images, 28, 28) + pixels
    )
    (folder / f"train-labels{suffix}idx1-ubyte").write_bytes(
        struct.pack(">2I", 0x801, labels) + bytes(i % 10 for i in range(labels))
    )


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_misspelt_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean 'nmnist'"):
        dataset("nmnst")


def test_nmnist_labels_are_those_of_the_mnist_images_that_were_recorded(shared_data: Path) -> None:
    images = NMNIST.load_images(shared_data / "mnist")
    label_of = dict(zip(images.instances, images.labels.tolist(), strict=True))
    recordings = [
        r
        for r in NMNIST.find_recordings(shared_data / "nmnist")
        if r.instance.startswith("mnist-train-")
    ]
    assert len(recordings) == 400
    assert all(label_of[r.instance] == r.label for r in recordings)
    assert all(
        r.path.as_posix().endswith(f"Train/{r.label}/{int(r.instance.split('-')[-1]) + 1:05d}.bin")
        for r in recordings
    )


def test_nmnist_instances_are_unique_and_in_order(shared_data: Path) -> None:
    instances = [r.instance for r in NMNIST.find_recordings(shared_data / "nmnist")]
    assert len(set(instances)) == 500
    assert instances == sorted(instances)


def test_nmnist_is_found_with_test_only_and_in_tonics_layout(
    shared_data: Path, tmp_path: Path
) -> None:
    shutil.copytree(shared_data / "nmnist" / "Test", tmp_path / "official" / "Test")
    shutil.copytree(shared_data / "nmnist" / "Test", tmp_path / "tonic" / "NMNIST" / "Test")
    for root in ("official", "tonic"):
        recordings = NMNIST.find_recordings(tmp_path / root)
        assert len(recordings) == 100
        assert recordings[0].instance == "mnist-test-0"


def test_a_folder_without_recordings_says_what_was_looked_for(tmp_path: Path) -> None:
    (tmp_path / "Train").mkdir()
    for root in (tmp_path, tmp_path / "Train", tmp_path / "nowhere"):
        with pytest.raises(InputError, match=r"expected Train/<digit>/<number>\.bin or Test/"):
            NMNIST.find_recordings(root)
        with pytest.raises(InputError, match="expected recordings of the embedded digits"):
            DIGITS.find_recordings(root)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("face.bin", "expected a number"),
        ("00000.bin", r"expected 1\.\.60000"),
        ("60001.bin", r"expected 1\.\.60000"),
    ],
)
def test_a_recording_without_an_instance_is_refused(
    tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "Train" / "3").mkdir(parents=True)
    (tmp_path / "Train" / "3" / name).write_bytes(bytes(5))
    with pytest.raises(InputError, match=message):
        NMNIST.find_recordings(tmp_path)


def test_leftovers_of_archive_programs_are_not_recordings(tmp_path: Path) -> None:
    (tmp_path / "Train" / "3").mkdir(parents=True)
    for name in ("00001.bin", "._00001.bin", ".DS_Store"):
        (tmp_path / "Train" / "3" / name).write_bytes(bytes(5))
    assert [r.path.name for r in NMNIST.find_recordings(tmp_path)] == ["00001.bin"]


def test_mnist_is_read_whole(shared_data: Path) -> None:
    images = NMNIST.load_images(shared_data / "mnist")
    assert images.images.shape == (60000, 28, 28)
    assert images.images.dtype == np.uint8
    assert images.images.flags.writeable
    assert np.bincount(images.labels).tolist() == [
        5923,
        6742,
        5958,
        6131,
        5842,
        5421,
        5918,
        6265,
        5851,
        5949,
    ]  # the published class counts
    assert images.labels.dtype == np.int64
    assert images.instances[59999] == "mnist-train-59999"
    assert len(NMNIST.load_images(shared_data / "mnist" / "MNIST")) == 60000


@pytest.mark.parametrize("suffix", ["-", "."])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("folder", [".", "MNIST/raw", "raw"])
def test_mnist_is_found_in_every_layout(
    tmp_path: Path, folder: str, packed: bool, suffix: str
) -> None:
    idx(tmp_path / folder, suffix=suffix)
    if packed:
        for path in list((tmp_path / folder).iterdir()):
            path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
            path.unlink()
    images = NMNIST.load_images(tmp_path)
    assert images.labels.tolist() == [0, 1, 2]
    assert images.images[0, 0, :3].tolist() == [0, 1, 2]


def test_mnist_not_given_or_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--static DIR"):
        NMNIST.load_images(None)
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="give the folder that holds MNIST"):
            NMNIST.load_images(root)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ((0x801, 3, 28, 28), "expected 0x00000803"),
        ((0x803, 3, 32, 32), r"holds 3 items of \(32, 32\)"),
        ((0x803, 2**32 - 1, 28, 28), "holds 4294967295 items"),  # must not be allocated
        ((0x803, 0, 28, 28), "holds 0 items"),
        ((0x803, 4, 28, 28), "2352 bytes after the header, expected 3136"),
        ((0x803, 2, 28, 28), "more bytes after the header, expected 1568"),
    ],
)
def test_an_idx_header_that_does_not_fit_is_refused(
    tmp_path: Path, header: tuple[int, ...], message: str
) -> None:
    idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    path.write_bytes(struct.pack(">4I", *header) + path.read_bytes()[16:])
    with pytest.raises(InputError, match=message):
        NMNIST.load_images(tmp_path)


def test_mnist_cut_anywhere_is_refused(tmp_path: Path) -> None:
    idx(tmp_path)
    path = tmp_path / "train-images-idx3-ubyte"
    packed = gzip.compress(path.read_bytes())
    path.unlink()
    for size in [0, 1, 5, 12, 20, len(packed) // 2, len(packed) - 9, len(packed) - 1]:
        path.with_name(path.name + ".gz").write_bytes(packed[:size])
        with pytest.raises(InputError, match="fetch the file again"):
            NMNIST.load_images(tmp_path)
    path.with_name(path.name + ".gz").write_bytes(b"no gzip at all, but long enough for a header")
    with pytest.raises(InputError, match="cannot be read"):
        NMNIST.load_images(tmp_path)


def test_images_and_labels_of_different_number_are_refused(tmp_path: Path) -> None:
    idx(tmp_path, images=3, labels=4)
    with pytest.raises(InputError, match="3 images, but 4 labels"):
        NMNIST.load_images(tmp_path)


def test_a_label_that_is_no_digit_is_refused(tmp_path: Path) -> None:
    idx(tmp_path)
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(
        struct.pack(">2I", 0x801, 3) + bytes([0, 10, 1])
    )
    with pytest.raises(InputError, match=r"a label of 10, expected 0\.\.9"):
        NMNIST.load_images(tmp_path)


def test_the_embedded_digits_need_no_folder() -> None:
    images = DIGITS.load_images(None)
    assert images.images.shape == (1797, 8, 8)
    assert (images.images.min(), images.images.max()) == (0, 255)
    assert images.instances[3] == "digits-3"
    assert images.labels[:10].tolist() == list(range(10))
    with pytest.raises(InputError, match="leave --static out"):
        DIGITS.load_images(Path("anywhere"))


def test_simulated_digits_are_found_with_the_labels_of_their_images(tmp_path: Path) -> None:
    done: list[int] = []
    simulate_digits(tmp_path / "digits", 3, 0, done.append)
    assert done == list(range(1, 31))
    images = DIGITS.load_images(None)
    label_of = dict(zip(images.instances, images.labels.tolist(), strict=True))
    recordings = DIGITS.find_recordings(tmp_path / "digits")
    assert np.bincount([r.label for r in recordings]).tolist() == [3] * 10
    assert all(label_of[r.instance] == r.label for r in recordings)
    assert all(len(read_bin(r.path, SENSOR)) > 1000 for r in recordings)
    with pytest.raises(InputError, match="simulated digits, expected N-MNIST"):
        NMNIST.find_recordings(tmp_path / "digits")


def test_simulated_digits_are_the_same_bytes_for_the_same_seed(tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        simulate_digits(tmp_path / name, 2, seed)
    assert files_below(tmp_path / "a") == files_below(tmp_path / "b")
    assert files_below(tmp_path / "a") != files_below(tmp_path / "c")


def test_an_interrupted_simulation_leaves_the_older_set_whole(tmp_path: Path) -> None:
    simulate_digits(tmp_path / "digits", 1, 0)
    before = files_below(tmp_path)

    def interrupt(done: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        simulate_digits(tmp_path / "digits", 2, 0, interrupt)
    assert files_below(tmp_path) == before
    simulate_digits(tmp_path / "digits", 2, 0)
    assert len(DIGITS.find_recordings(tmp_path / "digits")) == 20


def test_more_digits_than_there_are_is_refused(tmp_path: Path) -> None:
    for per_class in (0, 500):
        with pytest.raises(InputError, match="ask for 1"):
            simulate_digits(tmp_path / "digits", per_class, 0)
    (tmp_path / MARKER).write_text("{}")
    with pytest.raises(InputError, match="holds no Train"):
        DIGITS.find_recordings(tmp_path)


def test_frames_of_recordings_come_in_their_order(shared_data: Path) -> None:
    contract = InputContract((34, 34), 10, 30_000, 1)
    recordings = NMNIST.find_recordings(shared_data / "nmnist")[:4]
    done: list[int] = []
    frames, labels = load_frames(recordings, contract, done.append)
    assert done == [1, 2, 3, 4]
    assert frames.dtype == np.uint8
    assert labels.tolist() == [r.label for r in recordings]
    for frame, recording in zip(frames, recordings, strict=True):
        assert np.array_equal(frame, events_to_frames(read_bin(recording.path, (34, 34)), contract))


def test_no_recordings_and_a_damaged_one_are_refused(shared_data: Path, tmp_path: Path) -> None:
    contract = InputContract((34, 34), 10, 30_000, 1)
    with pytest.raises(InputError, match="no recordings to read"):
        load_frames([], contract)
    (tmp_path / "Test" / "7").mkdir(parents=True)
    (tmp_path / "Test" / "7" / "00001.bin").write_bytes(
        (shared_data / "nmnist/Test/7/00001.bin").read_bytes()[:1003]
    )
    with pytest.raises(InputError, match=r"00001\.bin: truncated"):
        load_frames(NMNIST.find_recordings(tmp_path), contract)


@pytest.mark.parametrize("number", ["00000", "01798", "9" * 30])
def test_a_recording_of_a_digit_that_there_is_not_is_refused(tmp_path: Path, number: str) -> None:
    simulate_digits(tmp_path / "digits", 1, 0)
    (tmp_path / "digits" / "Train" / "3" / f"{number}.bin").write_bytes(b"x")
    with pytest.raises(InputError, match=r"expected 1\.\.1797"):
        DIGITS.find_recordings(tmp_path / "digits")
