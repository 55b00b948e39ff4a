"""Small data sets in their exact official layouts, as their archives unpack."""

import pickle
import struct
from pathlib import Path

import numpy as np
from example_files import aedat3_packet, aedat4, mat_columns
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from tmkt.events.types import Events
from tmkt.readers.atis import write_bin


def some_events(seed: int, sensor: tuple[int, int], n: int = 300, start_us: int = 0) -> Events:
    """Sorted events all over a sensor: its corners are among them, and the last but one stamp is
    300 ms after the first.
    """
    rng = np.random.default_rng(seed)
    height, width = sensor
    t = np.sort(rng.integers(0, 300_000, n)) + start_us
    x, y = rng.integers(0, width, n), rng.integers(0, height, n)
    t[0], t[-1] = start_us, start_us + 300_000
    (x[0], y[0]), (x[-1], y[-1]) = (0, 0), (width - 1, height - 1)
    return Events(
        t.astype(np.int64),
        x.astype(np.uint16),
        y.astype(np.uint16),
        rng.integers(0, 2, n).astype(np.uint8),
        sensor,
    )


def write_colour(path: Path, size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A smooth colour image [h, w, 3], which JPEG keeps nearly as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (3, 3, 3), np.uint8))
    image = small.resize((size[1], size[0]), Image.Resampling.BICUBIC)
    image.save(path, **({"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {}))
    return np.asarray(image)


def write_ncaltech101(root: Path, classes: list[str], each: int) -> None:
    """`Caltech101/<class>/image_<number>.bin`, of sizes that differ."""
    for c, name in enumerate(classes):
        for i in range(1, each + 1):
            path = root / "Caltech101" / name / f"image_{i:04d}.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_bin(some_events(100 * c + i, (100 + 7 * i, 120 + 9 * (c % 12))), path)


def write_caltech101(root: Path, classes: list[str], each: int) -> None:
    """`101_ObjectCategories/<class>/image_<number>.jpg`."""
    for c, name in enumerate(classes):
        for i in range(1, each + 1):
            write_colour(
                root / "101_ObjectCategories" / name / f"image_{i:04d}.jpg",
                (60 + 5 * i, 80 + c),
                100 * c + i,
            )


def write_cepdvs(root: Path, classes: list[str], each: int) -> None:
    """`pathFile.csv`, `data/MAT/img/<number>.mat` with x, y, p (1 and -1) and ts as columns, and
    `data/img/<number>.jpg`.
    """
    folder = root / "data" / "MAT" / "img"
    folder.mkdir(parents=True)
    lines = ["index path label fine coarse"]
    for number in range(len(classes) * each):
        events = some_events(number, (180 + number % 3, 240))
        savemat(folder / f"{number:05d}.mat", mat_columns(events), do_compression=True)
        write_colour(root / "data" / "img" / f"{number:05d}.jpg", (50, 70), number)
        lines.append(f"{number} img/{number:05d}.jpg 3 fine_name {classes[number // each]}")
    (root / "pathFile.csv").write_text("\n".join(lines) + "\n")


def write_nomniglot(root: Path, characters: dict[str, int], drawers: int) -> dict[str, Events]:
    """`dvs_background/<alphabet>/character<NN>/<number>.aedat4` and `.csv`; gives the events of
    each part by instance.
    """
    parts = {}
    for name, number in characters.items():
        folder = root / name
        folder.mkdir(parents=True)
        samples = [
            some_events(1000 * number + i, (260, 346), 200, 1_600_000_000_000_000 + i * 1_000_000)
            for i in range(drawers)
        ]
        (folder / f"{number:04d}.aedat4").write_bytes(aedat4({0: samples}))
        spans = [f"{i},{e.t[0]},{e.t[-1] + 1}" for i, e in enumerate(samples)]
        (folder / f"{number:04d}.csv").write_text(
            "\n".join(["Unnamed: 0,start,end", *spans]) + "\n"
        )
        parts |= {f"omniglot-{number:04d}-{i + 1}": e for i, e in enumerate(samples)}
    return parts


def write_omniglot(root: Path, characters: dict[str, int], drawers: int) -> None:
    """`images_background/<alphabet>/character<NN>/<number>_<drawer>.png`, 105 x 105, one bit a
    pixel.
    """
    for name, number in characters.items():
        folder = root / name.replace("dvs_", "images_")
        folder.mkdir(parents=True)
        for i in range(1, drawers + 1):
            pixels = np.random.default_rng(number * 100 + i).random((105, 105)) > 0.2
            Image.fromarray(pixels).save(folder / f"{number:04d}_{i:02d}.png")


def write_cifar10dvs(root: Path, each: int) -> None:
    """`<class>/cifar10_<class>_<number>.aedat4`, as tonic fetches it."""
    for c, name in enumerate(
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    ):
        (root / name).mkdir(parents=True)
        for i in range(each):
            (root / name / f"cifar10_{name}_{i}.aedat4").write_bytes(
                aedat4({0: [some_events(50 * c + i, (128, 128))]})
            )


def cifar10_batches(each: int) -> dict[str, tuple[NDArray[np.uint8], list[int]]]:
    """Pixels [each, 3072] and labels of the six files."""
    names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
    rng = np.random.default_rng(0)
    return {
        name: (
            rng.integers(0, 256, (each, 3072), np.uint8),
            [int(v) for v in rng.integers(0, 10, each)],
        )
        for name in names
    }


def write_cifar10_binary(root: Path, each: int) -> None:
    """`cifar-10-batches-bin/data_batch_1.bin` to 5 and `test_batch.bin`."""
    (root / "cifar-10-batches-bin").mkdir(parents=True)
    for name, (pixels, labels) in cifar10_batches(each).items():
        records = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
        (root / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(records.tobytes())


def write_cifar10_python(root: Path, each: int) -> None:
    """`cifar-10-batches-py/data_batch_1` to 5 and `test_batch`: pickles as Python 2 with NumPy 1
    wrote them.
    """
    (root / "cifar-10-batches-py").mkdir(parents=True)
    for name, (pixels, labels) in cifar10_batches(each).items():
        (root / "cifar-10-batches-py" / name).write_bytes(python2_batch(pixels, labels))


def python2_batch(pixels: NDArray[np.uint8], labels: list[int]) -> bytes:
    """Protocol 2: a dictionary of a title, the labels, the pixels as an array, and file names.
    Python 3's pickle reads it too.
    """

    def short(text: str) -> bytes:
        return b"U" + bytes([len(text)]) + text.encode()

    data = b"\x80\x02}q\x01(" + short("batch_label") + short("training batch 1 of 5")
    data += short("labels") + b"](" + b"".join(b"K" + bytes([v]) for v in labels) + b"e"
    shape = b"K" + bytes([len(labels)]) + b"M" + struct.pack("<H", 3072)
    kind = (
        b"cnumpy\ndtype\n"
        + short("u1")
        + b"K\x00K\x01\x87R(K\x03"
        + short("|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    raw = b"T" + struct.pack("<I", pixels.size) + pixels.tobytes()
    data += (
        short("data")
        + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
        + short("b")
        + b"\x87R(K\x01"
        + shape
        + b"\x86"
        + kind
    )
    data += (
        b"\x89"
        + raw
        + b"tb"
        + short("filenames")
        + b"]("
        + b"".join(short(f"image_{i}.png") for i in range(len(labels)))
        + b"eu."
    )
    assert b"pickle" not in data
    return data


def unpickled(data: bytes) -> dict[bytes, object]:
    """Unpickle a batch that a test wrote, as Python itself does."""
    found = pickle.loads(data, encoding="bytes")  # the test's own bytes
    assert isinstance(found, dict)
    return found


def write_gesture_official(root: Path, users: list[int]) -> dict[tuple[int, int], Events]:
    """`DvsGesture/user<NN>_led.aedat` (AEDAT 3.1) and `_labels.csv`; gives the events by user and
    class.
    """
    folder = root / "DvsGesture"
    folder.mkdir(parents=True)
    made = {}
    for user in users:
        lines, packets = ["class,startTime_usec,endTime_usec"], b""
        for c in range(11):
            start = (c + 1) * 1_000_000
            events = some_events(user * 20 + c, (128, 128), 200, start)
            made[user, c] = events
            lines.append(f"{c + 1},{start},{start + 300_001}")
            packets += (
                aedat3_packet(events) + struct.pack("<hhiiiiii", 0, 1, 8, 4, 0, 1, 1, 1) + bytes(8)
            )  # a special event between
        (folder / f"user{user:02d}_led.aedat").write_bytes(
            b"#!AER-DAT3.1\r\n#Format: RAW\r\n#Source 1: DVS128\r\n#!END-HEADER\r\n" + packets
        )
        (folder / f"user{user:02d}_led_labels.csv").write_text("\n".join(lines) + "\n")
    return made


def write_gesture_tonic(root: Path, users: list[int]) -> None:
    """`ibmGestureTrain/user<NN>_led/<class>.npy` and `ibmGestureTest/...`: rows of x, y, polarity
    and milliseconds.
    """
    for user in users:
        folder = (
            root
            / "DVSGesture"
            / ("ibmGestureTrain" if user <= 23 else "ibmGestureTest")
            / f"user{user:02d}_led"
        )
        folder.mkdir(parents=True)
        for c in range(11):
            e = some_events(user * 20 + c, (128, 128), 200)
            np.save(
                folder / f"{c}.npy",
                np.stack([e.x, e.y, e.p, e.t // 1000], axis=1).astype(np.float64),
            )
