"""N-Omniglot: the strokes of Omniglot's characters, shown on a screen to an event camera (Li, Dong,
Zhao and Zeng 2022), and Omniglot's images.

`dvs_background/<alphabet>/character<NN>/<number>.aedat4` and `dvs_evaluation/...` hold 20 samples
each, one of every drawer; a `.csv` beside each says from when to when (its second and third column,
in the file's clock). `images_background/<alphabet>/character<NN>/<number>_<drawer>.png` are the
images. That the numbers of both sets name the same characters is how the set's own loader names its
parts; it could not be checked here.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmkt.datasets.images import need_folder, read_images
from tmkt.datasets.types import Dataset, PublishedSplit, Recording, StaticImages, in_order
from tmkt.errors import InputError
from tmkt.events.types import View
from tmkt.files import read_text

CHARACTERS, DRAWERS = 1623, 20
CLASSES = tuple(f"{number:04d}" for number in range(1, CHARACTERS + 1))
# A DAVIS346. The set's loader looks at 250 x 250 pixels from (4, 54) on; one pixel more on each
# side makes 252 = 9 x 28.
VIEW = View((260, 346), (3, 53, 252, 252))
SIDE = 105  # of Omniglot's images
PARTS = ("background", "evaluation")
PAPER_TRAIN = 15  # drawers 1 to 15 are trained on


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings of both parts under `root` or `root`/N-Omniglot."""
    found = []
    for base in (root, root / "N-Omniglot"):
        for part in PARTS:
            for path in sorted(base.glob(f"dvs_{part}/*/character*/*.aedat4")):
                if not path.name.startswith("."):
                    found += _samples(path)
    if not found:
        what = "holds no recordings" if root.is_dir() else "no such folder"
        expected = (
            "expected dvs_background/<alphabet>/character<NN>/<number>.aedat4 with <number>.csv"
        )
        raise InputError(
            f"{root}: {what}, {expected}; give the folder that holds them (the original files:"
            " pickled .npy are not read)"
        )
    return in_order(found)


def _samples(path: Path) -> list[Recording]:
    number = _character(path.stem, path)
    spans = path.with_suffix(".csv")
    try:
        lines = [line for line in read_text(spans).splitlines() if line.strip()][1:]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{spans}: cannot be read ({error}), expected the parts of the recording beside it;"
            " fetch it again"
        ) from None
    found = []
    for i, line in enumerate(lines):
        cells = [cell.strip() for cell in line.split(",")]
        if (
            len(cells) < 3
            or not (
                cells[1].isdecimal()
                and cells[2].isdecimal()
                and len(cells[1]) < 19
                and len(cells[2]) < 19
            )
            or i >= DRAWERS
        ):
            raise InputError(
                f"{spans}: line {i + 2} is {line[:60]!r}, expected {DRAWERS} lines with start and"
                " end in columns 2, 3; fetch it again"
            )
        found.append(
            Recording(
                path,
                number - 1,
                f"omniglot-{number:04d}-{i + 1}",
                VIEW,
                (int(cells[1]), int(cells[2])),
            )
        )
    return found


def load_images(
    root: Path | None,
    size: tuple[int, int] | None = None,
    *,
    value_first: bool = False,  # noqa: ARG001 - they are grey
) -> StaticImages:
    """Load Omniglot's images (dark strokes on white, as they are), resized to `size` or 105 x 105,
    with instances "omniglot-<number>-<drawer>".

    Looks in `root` and `root`/omniglot-py (torchvision) for images_background and
    images_evaluation.
    """
    folder = need_folder(root, "Omniglot's images_background")
    paths = [
        path
        for base in (folder, folder / "omniglot-py", folder / "omniglot-py" / "omniglot-py")
        for part in PARTS
        for path in sorted(base.glob(f"images_{part}/*/character*/*.png"))
        if not path.name.startswith(".")
    ]
    if not paths:
        raise InputError(
            f"{folder}: holds no images_background/<alphabet>/character<NN>/<number>_<drawer>.png;"
            " check --static"
        )
    labels, instances = [], []
    for path in paths:
        stem, _, drawer = path.stem.partition("_")
        number = _character(stem, path)
        if not (drawer.isdecimal() and 1 <= int(drawer) <= DRAWERS):
            raise InputError(
                f"{path}: name {path.stem!r}, expected <number>_<drawer> with a drawer of"
                f" 1..{DRAWERS}; restore the name"
            )
        labels.append(number - 1)
        instances.append(f"omniglot-{number:04d}-{int(drawer)}")
    return StaticImages(
        read_images(paths, size or (SIDE, SIDE)), np.array(labels, np.int64), tuple(instances)
    )


def _character(stem: str, path: Path) -> int:
    if not (
        stem.isascii() and stem.isdecimal() and len(stem) < 10 and 1 <= int(stem) <= CHARACTERS
    ):
        raise InputError(
            f"{path}: name {path.stem!r}, expected a character's number of 1..{CHARACTERS}; restore"
            " the name"
        )
    return int(stem)


def paper_split(recordings: Sequence[Recording]) -> PublishedSplit:
    """Split as Knowledge Transfer does: of each character, drawers 1 to 15 to train on, as
    recordings and as images, 16 to 20 to test.
    """
    train = [r for r in recordings if r.number <= PAPER_TRAIN]
    test = [r for r in recordings if r.number > PAPER_TRAIN]
    return PublishedSplit(train, test, {r.instance for r in train})


DATASET = Dataset(
    name="nomniglot",
    title="N-Omniglot and Omniglot",
    classes=CLASSES,
    view=VIEW,
    find_recordings=find_recordings,
    load_images=load_images,
    paper=paper_split,
)
