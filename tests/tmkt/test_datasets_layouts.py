"""Every data set in the layout that its archive or tonic gives."""

from pathlib import Path

import numpy as np
import pytest
from example_datasets import (
    cifar10_batches,
    python2_batch,
    some_events,
    unpickled,
    write_caltech101,
    write_cepdvs,
    write_cifar10_binary,
    write_cifar10_python,
    write_cifar10dvs,
    write_colour,
    write_gesture_official,
    write_gesture_tonic,
    write_ncaltech101,
    write_nomniglot,
    write_omniglot,
)
from PIL import Image

from tmkt.datasets.reading import read_recording
from tmkt.datasets.registry import dataset
from tmkt.errors import InputError
from tmkt.events.types import Events, View
from tmkt.readers.writers import write_events

CHARACTERS = {"dvs_background/Latin/character01": 683, "dvs_evaluation/Angelic/character02": 966}


def same(found: Events, expected: Events) -> bool:
    return all(np.array_equal(getattr(found, key), getattr(expected, key)) for key in "txyp")


def test_ncaltech101_has_the_background_and_no_faces(tmp_path: Path) -> None:
    source = dataset("ncaltech101")
    assert len(source.classes) == 101
    assert list(source.classes) == sorted(source.classes)
    assert "BACKGROUND_Google" in source.classes
    assert "Faces" not in source.classes
    assert "Faces_easy" in source.classes
    write_ncaltech101(tmp_path / "events", ["ant", "Faces_easy"], 3)
    found = source.find_recordings(tmp_path / "events")
    assert [(r.instance, source.classes[r.label]) for r in found][:4] == [
        ("caltech101-Faces_easy-1", "Faces_easy"),
        ("caltech101-Faces_easy-2", "Faces_easy"),
        ("caltech101-Faces_easy-3", "Faces_easy"),
        ("caltech101-ant-1", "ant"),
    ]
    assert same(read_recording(found[0], (1, 1)), some_events(101, (107, 129)))


def test_images_of_caltech101_are_matched_by_name(tmp_path: Path) -> None:
    write_caltech101(tmp_path, ["ant", "Faces_easy", "Faces"], 2)
    images = dataset("ncaltech101").load_images(tmp_path, (48, 48))  # type: ignore[misc]
    assert images.instances == (
        "caltech101-Faces_easy-1",
        "caltech101-Faces_easy-2",
        "caltech101-ant-1",
        "caltech101-ant-2",
    )
    assert images.images.shape == (4, 48, 48)
    assert images.images.dtype == np.uint8


def test_a_colour_image_becomes_its_hsv_value_after_resizing(tmp_path: Path) -> None:
    pixels = write_colour(tmp_path / "cat" / "a.png", (60, 80), 1)
    images = dataset("folders").load_images(tmp_path, (48, 48))  # type: ignore[misc]
    resized = Image.fromarray(pixels).resize((48, 48), Image.Resampling.BILINEAR)
    value = np.asarray(resized.convert("HSV"))[..., 2]  # Pillow's own conversion
    assert np.array_equal(images.images[0], value)


def test_the_real_ncaltech101_recording_is_read(shared_data: Path, tmp_path: Path) -> None:
    (tmp_path / "Caltech101" / "Faces_easy").mkdir(parents=True)
    data = (shared_data / "recordings" / "ncaltech101_faces_easy_0001.bin").read_bytes()
    (tmp_path / "Caltech101" / "Faces_easy" / "image_0001.bin").write_bytes(data)
    (recording,) = dataset("ncaltech101").find_recordings(tmp_path)
    events = read_recording(recording, (1, 1))
    assert len(events) == 67_445
    assert (events.x.max(), events.y.max()) == (150, 172)


def test_cepdvs_pairs_image_and_recording_by_number(tmp_path: Path) -> None:
    write_cepdvs(tmp_path, ["fish", "vehicles_2"], 3)
    source = dataset("cepdvs")
    found = source.find_recordings(tmp_path)
    assert [source.classes[r.label] for r in found] == ["fish"] * 3 + ["vehicles_2"] * 3
    assert same(read_recording(found[4], (1, 1)), some_events(4, (181, 240)))
    images = source.load_images(tmp_path, (48, 48))  # type: ignore[misc]
    assert images.instances == tuple(r.instance for r in found)
    assert images.labels.tolist() == [r.label for r in found]


def test_the_value_of_a_colour_image_is_taken_before_it_is_resized_where_that_is_asked_for(
    tmp_path: Path,
) -> None:
    write_cepdvs(tmp_path, ["fish"], 1)
    pixels = np.zeros((50, 70, 3), np.uint8)
    pixels[:, ::2, 0] = pixels[:, 1::2, 1] = 200  # red beside green: as bright everywhere
    Image.fromarray(pixels).save(
        tmp_path / "data" / "img" / "00000.jpg", quality=100, subsampling=0
    )
    load = dataset("cepdvs").load_images
    assert load is not None
    with Image.open(tmp_path / "data" / "img" / "00000.jpg") as image:
        value = image.convert("HSV").getchannel("V")
    resized = np.asarray(value.resize((7, 5), Image.Resampling.BILINEAR))
    first = load(tmp_path, (5, 7), value_first=True).images[0]
    assert np.array_equal(first, resized)
    assert first.min() > 180
    assert load(tmp_path, (5, 7)).images.max() < 140


def test_a_damaged_mat_file_is_refused(tmp_path: Path) -> None:
    write_cepdvs(tmp_path, ["fish"], 2)
    path = tmp_path / "data" / "MAT" / "img" / "00001.mat"
    whole = path.read_bytes()
    found = dataset("cepdvs").find_recordings(tmp_path)
    changed = bytearray(whole)
    changed[200] ^= 0xFF  # in a compressed column
    for damaged in (
        whole[:0],
        whole[:60],
        whole[:200],
        whole[: len(whole) // 2],
        bytes(changed),
        b"no matlab file at all" * 20,
    ):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match=r"00001\.mat: "):
            read_recording(found[1], (1, 1))


def test_nomniglot_is_cut_into_its_drawers_parts(tmp_path: Path) -> None:
    parts = write_nomniglot(tmp_path, CHARACTERS, 4)
    found = dataset("nomniglot").find_recordings(tmp_path)
    assert {r.instance for r in found} == set(parts)
    assert {r.label for r in found} == {682, 965}
    for recording in found:
        assert same(read_recording(recording, (1, 1)), parts[recording.instance])


def test_omniglots_images_have_the_instances_of_the_recordings(tmp_path: Path) -> None:
    write_nomniglot(tmp_path / "events", CHARACTERS, 3)
    write_omniglot(tmp_path / "images", CHARACTERS, 3)
    source = dataset("nomniglot")
    images = source.load_images(tmp_path / "images", (28, 28))  # type: ignore[misc]
    assert set(images.instances) == {
        r.instance for r in source.find_recordings(tmp_path / "events")
    }
    assert images.images.shape == (6, 28, 28)
    assert 150 < images.images.mean() < 250  # mostly white
    assert source.load_images(tmp_path / "images").images.shape == (6, 105, 105)  # type: ignore[misc]


def test_cifar10dvs_as_tonic_fetches_it(tmp_path: Path) -> None:
    write_cifar10dvs(tmp_path / "CIFAR10DVS", 2)
    found = dataset("cifar10dvs").find_recordings(tmp_path)
    assert np.bincount([r.label for r in found]).tolist() == [2] * 10
    assert found[0].instance == "cifar10dvs-airplane-0"
    assert same(read_recording(found[0], (1, 1)), some_events(0, (128, 128)))


def test_cifar10dvs_as_its_original_archive_has_it(tmp_path: Path) -> None:
    events = some_events(5, (128, 128))
    (tmp_path / "frog").mkdir()
    write_events([events], tmp_path / "frog" / "cifar10_frog_12.aedat", "aedat2", events.sensor)
    (recording,) = dataset("cifar10dvs").find_recordings(tmp_path)
    assert (recording.label, recording.instance) == (6, "cifar10dvs-frog-12")
    assert same(read_recording(recording, (1, 1)), events)


@pytest.mark.parametrize("write", [write_cifar10_binary, write_cifar10_python])
def test_cifar10_is_read_from_both_of_its_versions(tmp_path: Path, write: object) -> None:
    write(tmp_path, 7)  # type: ignore[operator]
    batches = cifar10_batches(7)
    images = dataset("cifar10dvs").load_images(tmp_path)  # type: ignore[misc]
    assert images.labels.tolist() == [label for _, labels in batches.values() for label in labels]
    assert (images.instances[0], images.instances[34], images.instances[35]) == (
        "cifar10-train-0",
        "cifar10-train-34",
        "cifar10-test-0",
    )
    assert np.array_equal(
        images.images[35], batches["test_batch"][0][0].reshape(3, 32, 32).max(axis=0)
    )
    assert dataset("cifar10dvs").load_images(tmp_path, (48, 48)).images.shape == (42, 48, 48)  # type: ignore[misc]


def test_the_pickle_in_the_test_is_one_that_python_reads() -> None:
    pixels, labels = cifar10_batches(7)["data_batch_1"]
    found = unpickled(python2_batch(pixels, labels))
    assert found[b"labels"] == labels
    assert np.array_equal(found[b"data"], pixels)  # type: ignore[arg-type]


def test_a_pickle_that_would_run_something_is_only_parsed(tmp_path: Path) -> None:
    write_cifar10_python(tmp_path, 3)
    path = tmp_path / "cifar-10-batches-py" / "data_batch_1"
    marker = tmp_path / "was-run"
    path.write_bytes(
        b"\x80\x02cos\nsystem\nU"
        + bytes([len(f"touch {marker}")])
        + f"touch {marker}".encode()
        + b"\x85R."
    )
    with pytest.raises(InputError, match="data_batch_1: 0 labels"):
        dataset("cifar10dvs").load_images(tmp_path)  # type: ignore[misc]
    assert not marker.exists()
    path.write_bytes(b"\x80\x02}q\x01(U\x06labels](K\x01")
    with pytest.raises(InputError, match="data_batch_1: damaged"):
        dataset("cifar10dvs").load_images(tmp_path)  # type: ignore[misc]


def test_the_official_gesture_archive_is_cut_by_its_labels(tmp_path: Path) -> None:
    made = write_gesture_official(tmp_path, [1, 24])
    found = dataset("dvsgesture").find_recordings(tmp_path)
    assert len(found) == 22
    assert {r.instance for r in found} == {"dvsgesture-user-1", "dvsgesture-user-24"}
    for recording in found:
        assert same(
            read_recording(recording, (1, 1)),
            made[int(recording.instance.rpartition("-")[2]), recording.label],
        )


def test_a_cut_gesture_file_is_refused(tmp_path: Path) -> None:
    write_gesture_official(tmp_path, [1])
    path = tmp_path / "DvsGesture" / "user01_led.aedat"
    recording, *_ = dataset("dvsgesture").find_recordings(tmp_path)
    whole = path.read_bytes()
    for size in (10, 40, 80, 100, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(InputError, match=r"user01_led\.aedat: "):
            read_recording(recording, (1, 1))


def test_gestures_as_tonic_cuts_them(tmp_path: Path) -> None:
    write_gesture_tonic(tmp_path, [2, 25])
    found = dataset("dvsgesture").find_recordings(tmp_path)
    assert np.bincount([r.label for r in found]).tolist() == [2] * 11
    events, expected = read_recording(found[0], (1, 1)), some_events(2 * 20, (128, 128), 200)
    assert np.array_equal(events.t, expected.t // 1000 * 1000)
    assert np.array_equal(events.x, expected.x)
    assert np.array_equal(events.y, expected.y)


def test_a_users_folders_give_classes_instances_and_the_cameras_size(
    shared_data: Path, tmp_path: Path
) -> None:
    for name, source in (("wave", "vga_2700ms.aedat4"), ("still", "vga_evt2.raw")):
        (tmp_path / "events" / name).mkdir(parents=True)
        (tmp_path / "events" / name / f"first{Path(source).suffix}").write_bytes(
            (shared_data / "recordings" / source).read_bytes()
        )
        write_colour(tmp_path / "images" / name / "first.png", (40, 50), 0)
    folders = dataset("folders")
    assert folders.class_names(tmp_path / "events") == ("still", "wave")
    found = folders.find_recordings(tmp_path / "events")
    assert [(r.instance, r.label) for r in found] == [("still/first", 0), ("wave/first", 1)]
    assert found[0].view is not None
    assert found[0].view.size == (480, 640)
    assert [len(read_recording(r, (1, 1))) for r in found] == [521_252, 255_283]
    images = folders.load_images(tmp_path / "images", (24, 24))  # type: ignore[misc]
    assert images.instances == ("still/first", "wave/first")


def test_labels_of_a_users_folders_are_those_of_the_training(tmp_path: Path) -> None:
    for name in ("b", "c"):
        write_ncaltech101(tmp_path / "x", ["ant"], 1)
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "1.bin").write_bytes(
            (tmp_path / "x" / "Caltech101" / "ant" / "image_0001.bin").read_bytes()
        )
    with pytest.raises(
        InputError,
        match=(
            r"does not say its camera.s size; write .*camera.toml with the lines: width = 640,"
            r" height"
            r" = 480"
        ),
    ):
        dataset("folders").find_recordings(tmp_path / "data")
    (tmp_path / "data" / "camera.toml").write_text("width = 240\nheight = 180\n")
    assert [
        r.label for r in dataset("folders", ["a", "b", "c"]).find_recordings(tmp_path / "data")
    ] == [1, 2]
    with pytest.raises(InputError, match="of class 'c', expected one of a, b"):
        dataset("folders", ["a", "b"]).find_recordings(tmp_path / "data")
    (tmp_path / "data" / "camera.toml").write_text("sensor = 3\n")
    with pytest.raises(InputError, match=r"camera\.toml: holds sensor = 3"):
        dataset("folders").find_recordings(tmp_path / "data")


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("width = 240\nheight = 180\n", ""),
        ('sensor = "240x180"\n', "is from before 0.2; write width = 240 and height = 180"),
    ],
)
def test_a_users_camera_is_as_wide_and_high_as_its_file_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, note: str
) -> None:
    write_ncaltech101(tmp_path, ["ant"], 1)
    folder = tmp_path / "Caltech101"
    (folder / "camera.toml").write_text(text)
    assert [r.view for r in dataset("folders").find_recordings(folder)] == [View((180, 240))]
    printed = capsys.readouterr()
    assert printed.out == ""
    assert note in printed.err
    assert len(printed.err.splitlines()) == bool(note)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("width = 240\n", "holds width = 240, expected width = 640 and height = 480"),
        ("width = 240\nheight = true\n", "holds width = 240, height = True"),
        ("width = 0\nheight = 180\n", "a sensor of 0x180"),
        ("", "holds nothing"),
    ],
)
def test_a_camera_without_a_size_is_refused(tmp_path: Path, text: str, found: str) -> None:
    write_ncaltech101(tmp_path, ["ant"], 1)
    folder = tmp_path / "Caltech101"
    (folder / "camera.toml").write_text(text)
    with pytest.raises(InputError, match=found):
        dataset("folders").find_recordings(folder)


@pytest.mark.parametrize(
    "name", ["ncaltech101", "cepdvs", "nomniglot", "cifar10dvs", "dvsgesture", "folders"]
)
def test_an_empty_or_missing_folder_says_what_was_looked_for(tmp_path: Path, name: str) -> None:
    source = dataset(name)
    for root in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="expected"):
            source.find_recordings(root)
    if source.load_images:
        for static in (None, tmp_path, tmp_path / "nowhere"):
            with pytest.raises(InputError, match=r"--static|the folder that holds"):
                source.load_images(static, (48, 48))


@pytest.mark.parametrize(
    ("name", "path", "message"),
    [
        ("ncaltech101", "Caltech101/ant/one.bin", "expected image_<number>"),
        (
            "nomniglot",
            "dvs_background/Latin/character01/2000.aedat4",
            r"expected a character's number of 1\.\.1623",
        ),
        ("cifar10dvs", "cat/cat.aedat4", "expected cifar10_cat_<number>"),
        ("dvsgesture", "ibmGestureTrain/user01_led/11.npy", r"expected a class of 0\.\.10"),
    ],
)
def test_a_file_whose_name_says_no_instance_is_refused(
    tmp_path: Path, name: str, path: str, message: str
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).write_bytes(b"12345")
    with pytest.raises(InputError, match=message):
        dataset(name).find_recordings(tmp_path)
