"""CIFAR10-DVS: 1000 CIFAR-10 images of each class, moved on a screen before an event camera (Li,
Liu, Ji, Li and Shi 2017).

`<class>/cifar10_<class>_<i>.aedat` (the original, AEDAT 2.0 of a DVS128) or `.aedat4` (as tonic
fetches it). Which images were shown is not published, so no split of recordings and images can be
known to be instance-disjoint.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tmkt.datasets.cifar10 import CLASSES, load_images
from tmkt.datasets.types import Dataset, PublishedSplit, Recording, in_order, numbered_by_class
from tmkt.errors import InputError
from tmkt.events.types import View

VIEW = View((128, 128))
NUMBERED = re.compile(r".*?(\d{1,6})")
PAPER_SHARE = 0.9


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings under `root`, `root`/CIFAR10DVS (tonic) or `root`/CIFAR10-DVS.

    All are of one format: .aedat4 where there are any, else .aedat.
    """
    for base in (root, root / "CIFAR10DVS", root / "CIFAR10-DVS"):
        for suffix in (".aedat4", ".aedat"):
            found = []
            for label, name in enumerate(CLASSES):
                for path in (base / name).glob(f"*{suffix}"):
                    if path.name.startswith("."):
                        continue
                    match = NUMBERED.fullmatch(path.stem)
                    if not match:
                        raise InputError(
                            f"{path}: name {path.stem!r}, expected cifar10_{name}_<number>; restore"
                            " the name"
                        )
                    found.append(Recording(path, label, f"cifar10dvs-{name}-{int(match[1])}", VIEW))
            if found:
                return in_order(found)
    what = "holds no recordings" if root.is_dir() else "no such folder"
    raise InputError(
        f"{root}: {what}, expected <class>/cifar10_<class>_<number>.aedat4 or .aedat; give the"
        " folder that holds the ten classes"
    )


def paper_split(recordings: Sequence[Recording]) -> PublishedSplit:
    """Split as usual: of each class the first 90 % by number to train on, with all of CIFAR-10's
    images, the rest to test.
    """
    train: list[Recording] = []
    test: list[Recording] = []
    for of_class in numbered_by_class(recordings):
        n = round(PAPER_SHARE * len(of_class))
        train += of_class[:n]
        test += of_class[n:]
    return PublishedSplit(in_order(train), in_order(test), None)


DATASET = Dataset(
    name="cifar10dvs",
    title="CIFAR10-DVS and CIFAR-10",
    classes=CLASSES,
    view=VIEW,
    find_recordings=find_recordings,
    load_images=load_images,
    paired=False,
    paper=paper_split,
)
