"""DVS128 Gesture: 29 people, 11 hand and arm gestures, events alone (Amir et al., CVPR 2017).

Two layouts are read. The official archive has `DvsGesture/user01_fluorescent.aedat` with
`user01_fluorescent_labels.csv` (class, start and end in microseconds), several gestures a file.
tonic's has `ibmGestureTrain/user01_fluorescent/0.npy`, cut already; the name is the class. The
instance is the person: people of the test are not seen in training, as in the published split.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from tmkt.datasets.types import Dataset, PublishedSplit, Recording, in_order
from tmkt.errors import InputError
from tmkt.events.types import View
from tmkt.files import read_text

VIEW = View((128, 128))
CLASSES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
TRAIN_USERS = 23  # trials_to_train.txt: users 1 to 23; trials_to_test.txt: 24 to 29
USER = re.compile(r"user(\d{2})_")
LABELS = ["class", "startTime_usec", "endTime_usec"]


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings under `root`, `root`/DvsGesture or `root`/DVSGesture (tonic), of either
    layout.
    """
    bases = [base for base in (root, root / "DvsGesture", root / "DVSGesture") if base.is_dir()]
    found = [recording for base in bases for recording in (*_official(base), *_cut(base))]
    if not found:
        what = "holds no recordings" if root.is_dir() else "no such folder"
        expected = (
            "expected user<NN>_<light>.aedat with user<NN>_<light>_labels.csv, or tonic's"
            " ibmGestureTrain/user<NN>_<light>/<class>.npy"
        )
        raise InputError(f"{root}: {what}, {expected}; give the folder that holds them")
    return in_order(found)


def _official(base: Path) -> list[Recording]:
    found = []
    for path in sorted(base.glob("user*.aedat")):
        labels = path.with_name(f"{path.stem}_labels.csv")
        for label, begin, end in _read_labels(labels):
            found.append(Recording(path, label, _instance(path.name, path), VIEW, (begin, end)))
    return found


def _read_labels(path: Path) -> list[tuple[int, int, int]]:
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path}: cannot be read ({error}), expected the labels beside the recording; fetch the"
            " archive again"
        ) from None
    rows = [re.split(r"[,\t ]+", line.strip()) for line in lines if line.strip()]
    found = []
    for i, row in enumerate(rows):
        if i == 0 and row == LABELS:
            continue
        if (
            len(row) != 3
            or not all(cell.isdecimal() and len(cell) < 16 for cell in row)
            or not 1 <= int(row[0]) <= len(CLASSES)
        ):
            raise InputError(
                f"{path}: line {i + 1} is {lines[i][:60]!r}, expected a class of 1..{len(CLASSES)},"
                " a start and an end; fetch it again"
            )
        found.append((int(row[0]) - 1, int(row[1]), int(row[2])))
    return found


def _cut(base: Path) -> list[Recording]:
    found = []
    for part in (base, base / "ibmGestureTrain", base / "ibmGestureTest"):
        for path in sorted(part.glob("user*_*/*.npy")):
            if not path.stem.isdecimal() or not 0 <= int(path.stem) < len(CLASSES):
                raise InputError(
                    f"{path}: name {path.stem!r}, expected a class of 0..{len(CLASSES) - 1};"
                    " restore the name"
                )
            found.append(Recording(path, int(path.stem), _instance(path.parent.name, path), VIEW))
    return found


def _instance(name: str, path: Path) -> str:
    match = USER.match(name)
    if not match:
        raise InputError(
            f"{path}: named {name!r}, expected user<two digits>_<light>, which says who was"
            " recorded; restore the name"
        )
    return f"dvsgesture-user-{int(match[1])}"


def paper_split(recordings: Sequence[Recording]) -> PublishedSplit:
    """Split as published: users 1 to 23 to train on, 24 to 29 to test. There are no images."""
    train = [r for r in recordings if r.number <= TRAIN_USERS]
    test = [r for r in recordings if r.number > TRAIN_USERS]
    return PublishedSplit(train, test, set())


DATASET = Dataset(
    name="dvsgesture",
    title="DVS128 Gesture",
    classes=CLASSES,
    view=VIEW,
    find_recordings=find_recordings,
    load_images=None,
    paper=paper_split,
)
