"""Recordings that a network was trained on, told from others by name and, where names cannot tell,
by content.

Names of a user's own recordings are unique within a folder only: another session may number its
recordings alike. So a training on "folders" keeps a digest of each recording as its network saw it.
"""

import hashlib
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tmkt.datasets.reading import count_frames
from tmkt.datasets.registry import dataset
from tmkt.datasets.splits import choose, draw, from_ranges
from tmkt.datasets.types import Recording
from tmkt.events.frames import InputContract

DIGITS = 16  # hexadecimal, of a digest: 64 bits tell millions of recordings apart


def digest_of(frames: NDArray[np.uint8]) -> str:
    """Hash a recording as a network sees it: frames [T, 2, H, W], whatever its file's format."""
    return hashlib.sha256(np.ascontiguousarray(frames).data).hexdigest()[:DIGITS]


def recordings_of(
    manifest: dict[str, Any], root: Path, split: str, limit: int | None
) -> list[Recording]:
    """List the recordings of a bundle's data set in `root` that belong to a split.

    `split` and errors as in `tmkt.datasets.splits.choose`. At most `limit` are drawn, always the
    same ones.
    """
    origin = manifest["origin"]
    data = origin.get("recipe", {}).get("data", {})
    width, height = data.get("camera_width", 0), data.get("camera_height", 0)
    camera = (height, width) if width else None
    found = dataset(origin["dataset"], manifest["classes"], camera).find_recordings(root)
    recorded, digests = origin["trained_on"], origin.get("frames_seen") or []
    if digests:
        taken = manifest["input"]
        lists = {key: tuple(taken[key]) for key in ("sensor", "filters") if key in taken}
        contract = InputContract(**{**taken, **lists})
        validated = origin.get("validated_on") or []
        others = of_another_folder(found, {*recorded, *validated}, digests, contract)
    else:
        others = set()
    images = from_ranges(origin["images_trained_on"])
    return draw(choose(found, split, recorded, images, others), limit)


def of_another_folder(
    found: Sequence[Recording],
    names: Collection[str],
    digests: Collection[str],
    contract: InputContract,
) -> set[Recording]:
    """Find the recordings that have the name of one that was seen in training but are others.

    `names` are the instances that were seen, `digests` those of their recordings under `contract`.
    If the first recording with such a name is what was seen, the folder is the one of the training,
    or a copy of it in another format: names tell there, and no more is read.
    """
    known = set(digests)
    clashing = [recording for recording in found if recording.instance in names]
    if not clashing or digest_of(count_frames(clashing[0], contract)) in known:
        return set()
    return {
        recording
        for recording in clashing
        if digest_of(count_frames(recording, contract)) not in known
    }
