"""CIFAR-10's images, from the binary or the Python version.

The Python version's pickles are parsed and never run.
"""

import pickletools
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.images import need_folder
from tmkt.datasets.types import StaticImages
from tmkt.errors import InputError
from tmkt.install import pip_install

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SIDE = 32
PIXELS = 3 * SIDE * SIDE  # of an image: red, green, blue planes
MOST = 10_000  # images in a file
NAMES = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}


def load_images(
    root: Path | None, size: tuple[int, int] | None = None, *, value_first: bool = False
) -> StaticImages:
    """Load all images, training and test, resized to `size` or 32 x 32, with instances
    "cifar10-train-<i>" and "cifar10-test-<i>".

    Looks in `root`, `root`/cifar-10-batches-bin and `root`/cifar-10-batches-py (torchvision) for
    data_batch_1[.bin] to 5 and test_batch[.bin].
    """
    folder = need_folder(root, "CIFAR-10's cifar-10-batches-bin or cifar-10-batches-py")
    values, labels, instances = [], [], []
    for part, names in NAMES.items():
        count = 0
        for name in names:
            path = _find(folder, name)
            found, of = _read_binary(path) if path.suffix == ".bin" else _read_python(path)
            if of.max() >= len(CLASSES):
                raise InputError(
                    f"{path}: a label of {of.max()}, expected 0..{len(CLASSES) - 1}; fetch CIFAR-10"
                    " again"
                )
            values.append(_values(found, size or (SIDE, SIDE), value_first))
            labels.append(of)
            instances += [f"cifar10-{part}-{count + i}" for i in range(len(of))]
            count += len(of)
    return StaticImages(np.concatenate(values), np.concatenate(labels), tuple(instances))


def _find(folder: Path, name: str) -> Path:
    for base in (folder, folder / "cifar-10-batches-bin", folder / "cifar-10-batches-py"):
        for path in (base / f"{name}.bin", base / name):
            if path.is_file():
                return path
    raise InputError(
        f"{folder}: holds no {name}[.bin], here or in cifar-10-batches-bin or -py; give the folder"
        " that holds CIFAR-10"
    )


def _values(
    pixels: NDArray[np.uint8], size: tuple[int, int], value_first: bool
) -> NDArray[np.uint8]:
    """Turn pixels [N, 3072] into values [N, h, w]: resized in colour, then max(R, G, B), or in the
    other order, as `read_value` does.
    """
    planes = pixels.reshape(-1, 3, SIDE, SIDE)
    if size == (SIDE, SIDE):
        return np.asarray(planes.max(axis=1), np.uint8)
    try:
        from PIL import Image
    except ImportError:
        raise InputError(
            f"resizing images needs Pillow, which is not installed; {pip_install('data')}"
        ) from None
    out = np.empty((len(planes), *size), np.uint8)
    for i, image in enumerate(planes.transpose(0, 2, 3, 1)):
        shown = image.max(axis=2) if value_first else np.ascontiguousarray(image)
        resized = np.asarray(
            Image.fromarray(shown).resize((size[1], size[0]), Image.Resampling.BILINEAR)
        )
        out[i] = resized if value_first else resized.max(axis=2)
    return out


def _read_binary(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read records of one label and 3072 pixels."""
    try:
        size = path.stat().st_size
        if size == 0 or size % (PIXELS + 1) or size > MOST * (PIXELS + 1):
            raise InputError(
                f"{path}: {size} bytes, expected 1 to {MOST} records of {PIXELS + 1}; fetch"
                " CIFAR-10 again"
            )
        records = np.fromfile(path, np.uint8).reshape(-1, PIXELS + 1)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from None
    return records[:, 1:], records[:, 0].astype(np.int64)


def _read_python(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read pixels and labels from the operations of a pickle, without running them.

    The file is a dictionary that Python 2 wrote. The labels are the list of integers behind the
    string "labels", the pixels the one string that is as long as the images are.
    """
    numbers: list[int] = []
    strings: list[str] = []
    reading = False
    try:
        if path.stat().st_size > 2 * MOST * (PIXELS + 1):
            raise InputError(
                f"{path}: {path.stat().st_size} bytes, expected a batch of {MOST} images; fetch"
                " CIFAR-10 again"
            )
        # Of the content, not of the file: a string may claim 4 GB, which a file would allocate.
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if isinstance(argument, str | bytes):
                text = argument if isinstance(argument, str) else argument.decode("latin-1")
                reading = text == "labels"
                if len(text) >= PIXELS:
                    strings.append(text)
            elif (
                reading
                and isinstance(argument, int)
                and operation.name in ("BININT1", "BININT2", "BININT", "INT")
            ):
                numbers.append(argument)
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from None
    except (ValueError, IndexError, OverflowError) as error:
        raise InputError(f"{path}: damaged ({str(error)[:80]}); fetch CIFAR-10 again") from None
    if (
        len(strings) != 1
        or not 1 <= len(numbers) <= MOST
        or len(strings[0]) != PIXELS * len(numbers)
    ):
        raise InputError(
            f"{path}: {len(numbers)} labels and images of {[len(s) for s in strings]} bytes,"
            f" expected {PIXELS} each; fetch it again"
        )
    if min(numbers) < 0:
        raise InputError(
            f"{path}: a label of {min(numbers)}, expected 0..{len(CLASSES) - 1}; fetch CIFAR-10"
            " again"
        )
    pixels = np.frombuffer(strings[0].encode("latin-1"), np.uint8).reshape(len(numbers), PIXELS)
    return pixels, np.array(numbers, np.int64)
