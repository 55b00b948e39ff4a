"""CEP-DVS: objects of CIFAR-100's 20 superclasses, each seen by a colour and an event camera (IEEE
document 9426390), 500 of a class.

`pathFile.csv` names the class of file i in its line i + 1; `data/MAT/img/<i>.mat` are the events,
`data/img/<i>.jpg` the colour images. This is the layout that Knowledge Transfer's loader
(`cepdvs.py`) reads.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tmkt.datasets.images import need_folder, need_size, read_images
from tmkt.datasets.types import (
    Dataset,
    PublishedSplit,
    Recording,
    StaticImages,
    in_order,
    numbered_by_class,
)
from tmkt.errors import InputError
from tmkt.events.types import View
from tmkt.files import read_text

# The camera's size is not published, and recordings differ in size.
VIEW = View((4096, 4096), fills=True)
NAMES = (
    "aquatic_mammals fish flowers food_containers fruit_and_vegetables household_electrical_devices"
    " household_furniture insects large_carnivores large_man-made_outdoor_things"
    " large_natural_outdoor_scenes large_omnivores_and_herbivores medium_mammals"
    " non-insect_invertebrates people reptiles small_mammals trees vehicles_1 vehicles_2"
)
CLASSES = tuple(NAMES.split())
PLACE_OF_CLASS = 4  # words before it in a line of pathFile.csv
# Of each class's 500, in order of number; the other 150 are not used.
PAPER_TRAIN, PAPER_TEST = 250, 100


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings under `root` or `root`/CEP-DVS."""
    base = _base(root)
    labels = _labels(base)
    found = []
    for path in (base / "data" / "MAT" / "img").glob("*.mat"):
        if not path.name.startswith("."):
            number = _number(path, labels)
            found.append(Recording(path, labels[number], f"cepdvs-{number}", VIEW))
    if not found:
        raise InputError(
            f"{base}: holds no data/MAT/img/<number>.mat, expected CEP-DVS's recordings; give the"
            " folder with pathFile.csv"
        )
    return in_order(found)


def load_images(
    root: Path | None, size: tuple[int, int] | None = None, *, value_first: bool = False
) -> StaticImages:
    """Load the colour images, resized to `size`, with the recordings' instances "cepdvs-<i>".

    `root` is the recordings' folder too.
    """
    base = _base(need_folder(root, "CEP-DVS's pathFile.csv and data/img"))
    labels = _labels(base)
    paths = sorted(
        (p for p in (base / "data" / "img").glob("*.jpg") if not p.name.startswith(".")),
        key=lambda p: _number(p, labels),
    )
    if not paths:
        raise InputError(
            f"{base}: holds no data/img/<number>.jpg, expected CEP-DVS's images; check --static"
        )
    numbers = [int(path.stem) for path in paths]
    values = read_images(paths, need_size(size, "CEP-DVS"), value_first=value_first)
    return StaticImages(
        values,
        np.array([labels[n] for n in numbers], np.int64),
        tuple(f"cepdvs-{n}" for n in numbers),
    )


def _base(root: Path) -> Path:
    for base in (root, root / "CEP-DVS", root / "CEPDVS"):
        if (base / "pathFile.csv").is_file():
            return base
    what = "holds no pathFile.csv" if root.is_dir() else "no such folder"
    raise InputError(
        f"{root}: {what}, expected CEP-DVS's with data/MAT/img beside it; give the folder that"
        " holds them"
    )


def _labels(base: Path) -> list[int]:
    """Read the label of every file number."""
    path = base / "pathFile.csv"
    try:
        lines = read_text(path).splitlines()[1:]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); fetch it again") from None
    found = []
    for i, line in enumerate(lines):
        words = line.split()
        if len(words) <= PLACE_OF_CLASS or words[PLACE_OF_CLASS] not in CLASSES:
            raise InputError(
                f"{path}: line {i + 2} is {line[:60]!r}, expected one of the 20 classes as its"
                " fifth word; fetch the file again"
            )
        found.append(CLASSES.index(words[PLACE_OF_CLASS]))
    return found


def _number(path: Path, labels: list[int]) -> int:
    if not (
        path.stem.isascii()
        and path.stem.isdecimal()
        and len(path.stem) < 10
        and int(path.stem) < len(labels)
    ):
        raise InputError(
            f"{path}: name {path.stem!r}, expected a number of 0..{len(labels) - 1}, a line of"
            " pathFile.csv; restore the name"
        )
    return int(path.stem)


def paper_split(recordings: Sequence[Recording]) -> PublishedSplit:
    """Split as Knowledge Transfer does: of each class the first 250 to train on, with their images,
    the next 100 to test, the rest unused.

    Its code draws images by an index into another list, so often of a wrong class; that is not
    reproduced.
    """
    train: list[Recording] = []
    test: list[Recording] = []
    for of_class in numbered_by_class(recordings):
        train += of_class[:PAPER_TRAIN]
        test += of_class[PAPER_TRAIN : PAPER_TRAIN + PAPER_TEST]
    return PublishedSplit(in_order(train), in_order(test), {r.instance for r in train})


DATASET = Dataset(
    name="cepdvs",
    title="CEP-DVS",
    classes=CLASSES,
    view=VIEW,
    find_recordings=find_recordings,
    load_images=load_images,
    paper=paper_split,
)
