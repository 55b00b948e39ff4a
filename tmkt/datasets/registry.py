"""Data sets by name."""

from collections.abc import Sequence

from tmkt.datasets import (
    cepdvs,
    cifar10dvs,
    digits,
    dvsgesture,
    folders,
    image_folders,
    ncaltech101,
    nmnist,
    nomniglot,
    spikes,
)
from tmkt.datasets.types import Dataset
from tmkt.errors import InputError, nearest

_SETS = {
    known.name: known
    for known in (
        nmnist.DATASET,
        digits.DATASET,
        ncaltech101.DATASET,
        cepdvs.DATASET,
        nomniglot.DATASET,
        cifar10dvs.DATASET,
        dvsgesture.DATASET,
    )
}
_BY_FOLDERS = {
    folders.NAME: folders.folders,
    image_folders.NAME: image_folders.image_folders,
    spikes.NAME: spikes.spikes,
}
NAMES = (*_SETS, *_BY_FOLDERS)


def dataset(
    name: str, classes: Sequence[str] = (), camera: tuple[int, int] | None = None
) -> Dataset:
    """Give the data set called `name`, one of NAMES; InputError for any other.

    `classes` are those of "folders", "images" and "spikes" where they are known already, `camera`
    its (height, width) where the recordings do not say it.
    """
    if name not in NAMES:
        raise InputError(
            f"data set {name!r}: not known, expected one of"
            f" {', '.join(NAMES)}{nearest(name, list(NAMES))}"
        )
    return _BY_FOLDERS[name](tuple(classes), camera) if name in _BY_FOLDERS else _SETS[name]
