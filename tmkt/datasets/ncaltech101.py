"""N-Caltech101: Caltech101 seen by an event camera (Orchard, Jayawant, Cohen and Thakor 2015), and
Caltech101's images.

`Caltech101/<class>/image_<number>.bin` was recorded of
`101_ObjectCategories/<class>/image_<number>.jpg`. The event set has the background class and leaves
"Faces" out (which shows what "Faces_easy" shows), so the classes are matched by name.
"""

import re
from collections.abc import Iterator, Sequence
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

# The camera's pixels (ATIS). Recordings lie within 180 x 240 of them and differ in size, as the
# images do.
VIEW = View((240, 304), fills=True)
NAMES = (
    "BACKGROUND_Google Faces_easy Leopards Motorbikes accordion airplanes anchor ant barrel bass"
    " beaver binocular bonsai brain brontosaurus buddha butterfly camera cannon car_side"
    " ceiling_fan cellphone chair chandelier cougar_body cougar_face crab crayfish crocodile"
    " crocodile_head cup dalmatian dollar_bill dolphin dragonfly electric_guitar elephant emu"
    " euphonium ewer ferry flamingo flamingo_head garfield gerenuk gramophone grand_piano hawksbill"
    " headphone hedgehog helicopter ibis inline_skate joshua_tree kangaroo ketch lamp laptop llama"
    " lobster lotus mandolin mayfly menorah metronome minaret nautilus octopus okapi pagoda panda"
    " pigeon pizza platypus pyramid revolver rhino rooster saxophone schooner scissors scorpion"
    " sea_horse snoopy soccer_ball stapler starfish stegosaurus stop_sign strawberry sunflower tick"
    " trilobite umbrella watch water_lilly wheelchair wild_cat windsor_chair wrench yin_yang"
)
CLASSES = tuple(NAMES.split())
NUMBERED = re.compile(r"image_(\d{1,6})")
PAPER_SHARE = 0.9  # Knowledge Transfer


def find_recordings(root: Path) -> list[Recording]:
    """Find the recordings under `root`, `root`/Caltech101 or tonic's
    `root`/NCALTECH101/Caltech101.
    """
    bases = [
        root,
        root / "Caltech101",
        root / "NCALTECH101" / "Caltech101",
        root / "N-Caltech101-archive" / "Caltech101",
    ]
    for base in bases:
        found = [
            Recording(path, label, instance, VIEW)
            for path, label, instance in _numbered(base, ".bin")
        ]
        if found:
            return in_order(found)
    what = "holds no recordings" if root.is_dir() else "no such folder"
    raise InputError(
        f"{root}: {what}, expected Caltech101/<class>/image_<number>.bin; give the folder that"
        " holds them"
    )


def load_images(
    root: Path | None, size: tuple[int, int] | None = None, *, value_first: bool = False
) -> StaticImages:
    """Load Caltech101's images of the same 101 classes, resized to `size`, with instances
    "caltech101-<class>-<number>".

    Looks in `root`, `root`/101_ObjectCategories, `root`/caltech101/101_ObjectCategories
    (torchvision) and `root`/caltech-101/....
    """
    folder = need_folder(root, "Caltech101's 101_ObjectCategories")
    size = need_size(size, "Caltech101")
    for base in (
        folder,
        *(folder / name / "101_ObjectCategories" for name in (".", "caltech101", "caltech-101")),
    ):
        found = list(_numbered(base, ".jpg"))
        if found:
            paths, labels, instances = zip(*found, strict=True)
            values = read_images(paths, size, value_first=value_first)
            return StaticImages(values, np.array(labels, np.int64), instances)
    raise InputError(
        f"{folder}: holds no <class>/image_<number>.jpg, expected Caltech101's"
        " 101_ObjectCategories; check --static"
    )


def _numbered(base: Path, suffix: str) -> Iterator[tuple[Path, int, str]]:
    """Find `base`/<class>/image_<number><suffix> as (path, label, instance), class by class in
    order of number.
    """
    for label, name in enumerate(CLASSES):
        numbered = []
        for path in (base / name).glob(f"*{suffix}"):
            match = NUMBERED.fullmatch(path.stem)
            if match:
                numbered.append((int(match[1]), path))
            elif suffix == ".bin" and not path.name.startswith("."):
                raise InputError(
                    f"{path}: name {path.stem!r}, expected image_<number>, which says what was"
                    " recorded; restore the name"
                )
        yield from (
            (path, label, f"caltech101-{name}-{number}") for number, path in sorted(numbered)
        )


def paper_split(recordings: Sequence[Recording]) -> PublishedSplit:
    """Split as Knowledge Transfer does: of each class the first round(0.9 n) to train on, the rest
    to test, images likewise.

    Its image draw reaches one too far, so the first tested image of each class is among the
    training images. That is kept, because it is the published protocol. Its files came in the order
    of the file system; here they are in order of number.
    """
    train: list[Recording] = []
    test: list[Recording] = []
    images: set[str] = set()
    for of_class in numbered_by_class(recordings):
        n = round(PAPER_SHARE * len(of_class))
        train += of_class[:n]
        test += of_class[n:]
        images.update(r.instance for r in of_class[: n + 1])
    return PublishedSplit(in_order(train), in_order(test), images)


DATASET = Dataset(
    name="ncaltech101",
    title="N-Caltech101 and Caltech101",
    classes=CLASSES,
    view=VIEW,
    find_recordings=find_recordings,
    load_images=load_images,
    paper=paper_split,
)
