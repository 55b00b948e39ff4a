"""Embedded data set: scikit-learn's 1797 handwritten digits (8 x 8, from the UCI "Optical
Recognition of Handwritten Digits").

The digits are real. Their recordings are made by `tmkt.camera` and lie on disk in N-MNIST's layout.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from tmkt.camera.recording import Camera, record
from tmkt.datasets import mnist
from tmkt.datasets.nmnist import numbered_files
from tmkt.datasets.types import Dataset, Recording, StaticImages, in_order
from tmkt.errors import InputError
from tmkt.events.types import View
from tmkt.files import writing_folder
from tmkt.install import pip_install
from tmkt.readers.atis import encode_bin
from tmkt.readers.camera_file import CAMERA, write_camera

SENSOR = Camera().sensor
DIGITS = 1797
DEMO_PER_CLASS = 50  # 500 recordings take about 4 s
RECORDINGS = "Train"  # the folder of the recordings
MARKER = (
    "digits.json"  # its presence tells these folders from N-MNIST's; it says how they were made
)


def load_images(
    root: Path | None = None,
    size: tuple[int, int] | None = None,  # noqa: ARG001
    *,
    value_first: bool = False,  # noqa: ARG001 - they are grey
) -> StaticImages:
    """Load the digits: uint8 [1797, 8, 8] (0 = dark, 255 = white), instances "digits-<i>".

    They come with scikit-learn: `root` must be None.
    """
    if root is not None:
        raise InputError(
            f"static images: {root} was given, but the digits come with scikit-learn; leave"
            " --static out"
        )
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise InputError(
            f"the digits come with scikit-learn, which is not installed; {pip_install('train')}"
        ) from None
    values, labels = load_digits(return_X_y=True)  # 0..16
    images = np.round(values.reshape(-1, 8, 8) * (255 / 16)).astype(np.uint8)
    return StaticImages(
        images, labels.astype(np.int64), tuple(f"digits-{i}" for i in range(len(labels)))
    )


def simulate_digits(
    folder: Path, per_class: int, seed: int, progress: Callable[[int], None] | None = None
) -> None:
    """Record `per_class` digits of each class, drawn by `seed`, as
    `folder`/Train/<digit>/<index + 1>.bin.

    Same seed, same bytes. A digit's recording depends on the seed and its index alone. `progress`
    is called with the number done. The folder appears when it is complete, in place of an older one
    of this kind. Raises InputError for more digits than there are.
    """
    images = load_images()
    names = _names(images, per_class, seed)
    camera = Camera()
    with writing_folder(folder, MARKER) as part:
        made = json.dumps(_settings(per_class, seed), indent=1)
        (part / MARKER).write_text(made + "\n", encoding="utf-8", newline="\n")
        (part / RECORDINGS).mkdir()
        write_camera(part / RECORDINGS, SENSOR)  # which .bin files do not say
        for done, (name, index) in enumerate(names.items(), 1):
            events = record(images.images[index], (seed, index), camera)
            path = part / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode_bin(events, path).tobytes())
            if progress:
                progress(done)


def check_replaced(folder: Path, per_class: int, seed: int) -> None:
    """Raise InputError if a simulation of these settings would replace anything that it does not
    make again.
    """
    if not (folder / MARKER).is_file():
        return  # a folder of another kind is never replaced
    try:
        before = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (ValueError, RecursionError, OSError):
        before = None
    names = {MARKER, f"{RECORDINGS}/{CAMERA}", *_names(load_images(), per_class, seed)}
    there = (path for path in sorted(folder.rglob("*")) if not path.is_dir())
    extra = next((p for p in there if p.relative_to(folder).as_posix() not in names), None)
    if before != json.loads(json.dumps(_settings(per_class, seed))):
        found = f"recordings that were made with other settings ({MARKER})"
    elif extra is not None:
        found = f"{extra.relative_to(folder).as_posix()!r}, which the simulation does not make"
    else:
        return
    raise InputError(
        f"{folder}: holds {found}; choose another folder, or replace all of it with: tmkt data"
        " simulate --force"
    )


def _settings(per_class: int, seed: int) -> dict[str, Any]:
    return {
        "images": "scikit-learn digits",
        "per_class": per_class,
        "seed": seed,
        "camera": asdict(Camera()),
    }


def _names(images: StaticImages, per_class: int, seed: int) -> dict[str, int]:
    """Draw the digits: their indices by the names of their files."""
    rng = np.random.default_rng(seed)
    chosen: list[int] = []
    for digit in range(10):
        of_class = np.flatnonzero(images.labels == digit)
        if not 1 <= per_class <= len(of_class):
            raise InputError(
                f"digits: {per_class} per class asked for, there are {len(of_class)} of class"
                f" {digit}; ask for 1..{len(of_class)}"
            )
        chosen += sorted(rng.choice(of_class, per_class, replace=False).tolist())
    return {f"{RECORDINGS}/{images.labels[index]}/{index + 1:05d}.bin": index for index in chosen}


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings that `simulate_digits` wrote to `root`; InputError if it did not."""
    if not (root / MARKER).is_file():
        what = f"holds no {MARKER}" if root.is_dir() else "no such folder"
        raise InputError(
            f"{root}: {what}, expected recordings of the embedded digits; make them with: tmkt data"
            " simulate DIR"
        )
    found = []
    for path, label, number in numbered_files(root / RECORDINGS):
        if not 1 <= number <= DIGITS:
            raise InputError(
                f"{path}: number {number}, expected 1..{DIGITS}; make the recordings again with:"
                " tmkt data simulate DIR"
            )
        found.append(Recording(path, label, f"digits-{number - 1}", View(SENSOR)))
    if not found:
        raise InputError(
            f"{root}: holds no {RECORDINGS}/<digit>/<number>.bin; make the recordings again with:"
            " tmkt data simulate DIR"
        )
    return in_order(found)


DATASET = Dataset(
    name="digits",
    title="simulated digits (tmkt data simulate)",
    classes=mnist.CLASSES,
    view=View(SENSOR),
    find_recordings=find_recordings,
    load_images=load_images,
)
