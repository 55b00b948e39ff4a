"""N-MNIST: MNIST seen by an event camera (Orchard, Jayawant, Cohen and Thakor 2015).

`Train/<digit>/<i>.bin` was recorded of MNIST's training image i - 1, `Test/<digit>/<i>.bin` of its
test image i - 1 (measured: the labels of all shared recordings agree).
"""

from collections.abc import Sequence
from pathlib import Path

from tmkt.datasets import mnist
from tmkt.datasets.types import Dataset, PublishedSplit, Recording, in_order
from tmkt.errors import InputError
from tmkt.events.types import View

SENSOR = (34, 34)
SPLITS = {"Train": 60_000, "Test": 10_000}  # recordings in the whole set


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings under `root` or `root`/NMNIST (tonic's layout), from Train/, Test/ or
    both.
    """
    for base in (root, root / "NMNIST"):
        if any((base / split).is_dir() for split in SPLITS):
            break
    else:
        raise _nothing(root)
    if (base / "digits.json").exists():
        raise InputError(
            f"{base}: holds simulated digits, expected N-MNIST; use the data set 'digits' or choose"
            " another --data"
        )
    found = []
    for split, count in SPLITS.items():
        for path, label, number in numbered_files(base / split):
            if not 1 <= number <= count:
                raise InputError(
                    f"{path}: number {number}, expected 1..{count} in N-MNIST's {split}; restore"
                    " the official file name"
                )
            found.append(
                Recording(path, label, f"mnist-{split.lower()}-{number - 1}", View(SENSOR))
            )
    if not found:
        raise _nothing(root)
    return in_order(found)


def numbered_files(folder: Path) -> list[tuple[Path, int, int]]:
    """Find all `folder`/<digit>/<number>.bin as (path, digit, number).

    Raises InputError for a .bin whose name is not a number: its instance is not known.
    """
    found = []
    for digit in range(10):
        for path in (folder / str(digit)).glob("*.bin"):
            if path.name.startswith("."):
                continue  # left by archive programs
            if not (path.stem.isascii() and path.stem.isdigit()):
                raise InputError(
                    f"{path}: name {path.stem!r}, expected a number as in 00021.bin, which says"
                    " what was recorded; restore the name"
                )
            found.append((path, digit, int(path.stem)))
    return found


def paper_split(recordings: Sequence[Recording]) -> PublishedSplit:
    """Split as published: Train/ to train on, with all of MNIST's training images, Test/ to test.

    The split is instance-disjoint.
    """
    train = [r for r in recordings if r.instance.startswith("mnist-train-")]
    test = [r for r in recordings if not r.instance.startswith("mnist-train-")]
    return PublishedSplit(train, test, None)


def _nothing(root: Path) -> InputError:
    what = "holds no recordings" if root.is_dir() else "no such folder"
    return InputError(
        f"{root}: {what}, expected Train/<digit>/<number>.bin or Test/<digit>/<number>.bin; give"
        " the folder that holds them"
    )


DATASET = Dataset(
    name="nmnist",
    title="N-MNIST and MNIST",
    classes=mnist.CLASSES,
    view=View(SENSOR),
    find_recordings=find_recordings,
    load_images=mnist.load_images,
    paper=paper_split,
)
