"""MNIST's training images, from idx files (LeCun, Cortes and Burges) in the layouts that users have
on disk.
"""

import gzip
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.types import StaticImages
from tmkt.errors import InputError

CLASSES = tuple(str(digit) for digit in range(10))
SIDE = 28
COUNT = 60_000
UNSIGNED_BYTES = 0x08  # the idx element type


def load_images(
    root: Path | None,
    size: tuple[int, int] | None = None,  # noqa: ARG001
    *,
    value_first: bool = False,  # noqa: ARG001 - they are grey
) -> StaticImages:
    """Load the training images: uint8 [60000, 28, 28], instances "mnist-train-<i>".

    Fewer images are accepted if there are as many labels.

    Looks in `root`, `root`/MNIST/raw and `root`/raw (torchvision's layouts) for
    train-images-idx3-ubyte or train-images.idx3-ubyte, plain or .gz, and its labels. Raises
    InputError if they are missing or damaged.
    """
    if root is None:
        raise InputError(
            "static images: no folder given, expected one with MNIST's"
            " train-images-idx3-ubyte[.gz]; give it with --static DIR"
        )
    images_path, labels_path = _find(root, "train-images", 3), _find(root, "train-labels", 1)
    labels = _read_idx(labels_path, ())
    images = _read_idx(images_path, (SIDE, SIDE))
    if len(images) != len(labels):
        raise InputError(
            f"{images_path}: {len(images)} images, but {len(labels)} labels in {labels_path.name};"
            " fetch both again"
        )
    if labels.max() > 9:
        raise InputError(
            f"{labels_path}: a label of {labels.max()}, expected 0..9; fetch the file again"
        )
    return StaticImages(
        images, labels.astype(np.int64), tuple(f"mnist-train-{i}" for i in range(len(labels)))
    )


def _find(root: Path, stem: str, dimensions: int) -> Path:
    for folder in (root, root / "MNIST" / "raw", root / "raw"):
        for name in (f"{stem}-idx{dimensions}-ubyte", f"{stem}.idx{dimensions}-ubyte"):
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
    what = f"holds no {stem}-idx{dimensions}-ubyte[.gz]" if root.is_dir() else "no such folder"
    raise InputError(
        f"{root}: {what}, here or in MNIST/raw; give the folder that holds MNIST's training files"
    )


def _read_idx(path: Path, item: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read uint8 [count, *item]. The header is checked before anything of its size is read."""
    expected_magic = UNSIGNED_BYTES << 8 | 1 + len(item)
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else open(path, "rb")) as file:
            header = file.read(8 + 4 * len(item))
            if len(header) < 8 + 4 * len(item):
                raise InputError(
                    f"{path}: truncated in its header ({len(header)} bytes); fetch the file again"
                )
            magic, count, *sizes = struct.unpack(f">{2 + len(item)}I", header)
            if magic != expected_magic:
                raise InputError(
                    f"{path}: starts with {magic:#010x}, expected {expected_magic:#010x} (idx of"
                    " bytes); fetch the file again"
                )
            if tuple(sizes) != item or not 1 <= count <= COUNT:
                raise InputError(
                    f"{path}: holds {count} items of {tuple(sizes)}, expected 1..{COUNT} of {item};"
                    " fetch MNIST's own file"
                )
            size = count * int(np.prod(item, dtype=np.int64))
            data = file.read(size)
            if len(data) < size or file.read(1):
                found = f"{len(data)} bytes" if len(data) < size else "more bytes"
                raise InputError(
                    f"{path}: {found} after the header, expected {size}; fetch the file again"
                )
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read ({error}); fetch the file again") from None
    return np.frombuffer(data, np.uint8).reshape(count, *item).copy()  # writable
