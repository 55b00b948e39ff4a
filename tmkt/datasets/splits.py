"""Which recordings and images are trained on and which are tested.

All splits are by instance: no thing that is tested is seen in training, neither in another recording nor as an image.
"""

from collections.abc import Collection, Sequence

import numpy as np

from tmkt.datasets import Recording, StaticImages, in_order
from tmkt.errors import InputError, nearest


def few_shot(recordings: Sequence[Recording], shots: int, seed: int) -> tuple[list[Recording], list[Recording]]:
    """Draws `shots` instances of every class to train on; all others are tested. Gives (train, test), each in order of instance.

    All recordings of a drawn instance are trained on. The draw depends on the instances and the seed alone. Raises InputError where a
    class would have nothing left to test.
    """
    rng = np.random.default_rng(seed)
    drawn: set[str] = set()
    for label in sorted({recording.label for recording in recordings}):
        instances = sorted({recording.instance for recording in recordings if recording.label == label})
        if len(instances) <= shots:
            raise InputError(
                f"class {label}: {len(instances)} recorded instances, expected more than the {shots} to train on, so that one is left to test; "
                "give more recordings or lower data.shots"
            )
        drawn.update(instances[i] for i in rng.choice(len(instances), shots, replace=False))
    ordered = in_order(recordings)
    return [r for r in ordered if r.instance in drawn], [r for r in ordered if r.instance not in drawn]


def without_instances(images: StaticImages, instances: set[str]) -> StaticImages:
    """The images that show none of `instances`. Raises InputError if none is left."""
    keep = np.array([instance not in instances for instance in images.instances], np.bool_)
    if not keep.any():
        raise InputError(f"static images: all {len(images)} show something that is tested, expected others; give more images")
    kept = tuple(instance for instance, k in zip(images.instances, keep, strict=True) if k)
    return StaticImages(images.images[keep], images.labels[keep], kept)


def choose(recordings: Sequence[Recording], split: str, trained_on: Collection[str]) -> list[Recording]:
    """The recordings of a split, in order of instance: "test" (instance not in `trained_on`), "train" (in it) or "all".

    Raises InputError for another name and if there is none.
    """
    splits = ["test", "train", "all"]
    if split not in splits:
        raise InputError(f"split {split!r}: not known, expected test, train or all{nearest(split, splits)}")
    seen = set(trained_on)
    chosen = [r for r in in_order(recordings) if split == "all" or (r.instance in seen) == (split == "train")]
    if not chosen:
        raise InputError(f"split {split!r}: none of the {len(recordings)} recordings belongs to it; choose another --split or --data")
    return chosen


def draw(recordings: Sequence[Recording], limit: int | None) -> list[Recording]:
    """At most `limit` of the recordings (None: all), in order of instance. Always the same ones, drawn from the whole range of instances."""
    ordered = in_order(recordings)
    if limit is None or limit >= len(ordered):
        return ordered
    return [ordered[i] for i in sorted(np.random.default_rng(0).choice(len(ordered), limit, replace=False))]
