"""Defects of recordings and images, each with what to do about it."""

import re
from collections import Counter
from dataclasses import dataclass
from statistics import median

import numpy as np

from tmkt.console import significant
from tmkt.datasets.check import duplicate_files
from tmkt.datasets.folders import session_of
from tmkt.proposal.survey import (
    ImagesSurvey,
    RecordingFacts,
    RecordingsSurvey,
    Unreadable,
    events_of,
    hot_pixels,
)

NAMED = 3  # files, classes or pixels in a line
SLICES = 10  # recordings of a class, from which on equal lengths tell of slices
EQUAL = 0.03  # by which the lengths of slices of one recording differ; ours
PAUSE = 0.5  # of a recording's duration, which counts as a gap; ours


@dataclass(frozen=True)
class Defect:
    """A defect, and what the user or the recipe does about it.

    `refused`: training ends with an error until it is mended.
    """

    found: str
    do: str
    refused: bool = False


def find_defects(
    data: RecordingsSurvey,
    test: RecordingsSurvey | None,
    images: ImagesSurvey | None,
    uses_images: bool,
) -> list[Defect]:
    """List the defects, those that training refuses first.

    `uses_images`: the recipe that is proposed does.
    """
    found = [
        *unreadable_files(data.unreadable, "recordings"),
        *(unreadable_files(test.unreadable, "recordings to test") if test else []),
        *(unreadable_files(images.unreadable, "images") if images else []),
        *mixed_sensors(data, test),
        *empty_classes(data),
        *(lone_instances(data) if test is None else []),
        *(slices_of_one(data) if test is None else []),
        *swapped_levels(data),
        *same_files(data, test),
        *(classes_of_test(data, test) if test else []),
        *(classes_of_images(data, images, uses_images) if images else []),
        *hot(data),
        *gaps(data.recordings),
        *one_polarity(data.recordings),
    ]
    return sorted(found, key=lambda defect: not defect.refused)


def named(names: list[str]) -> str:
    """Name the first few of many."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def unreadable_files(files: tuple[Unreadable, ...], what: str) -> list[Defect]:
    """Name the files that cannot be read, and the first one's fault."""
    if not files:
        return []
    return [
        Defect(
            f"{len(files)} {what} cannot be read: {named([str(f.path) for f in files])}"
            f" ({files[0].error})",
            "move them away",
            refused=True,
        )
    ]


def mixed_sensors(data: RecordingsSurvey, test: RecordingsSurvey | None) -> list[Defect]:
    """Find recordings of several cameras."""
    sizes = Counter(r.sensor for part in (data, test) if part for r in part.recordings)
    if len(sizes) < 2:
        return []
    said = [
        f"{n} of {f'{size[1]}x{size[0]}' if size else 'a size that they do not say'}"
        for size, n in sizes.most_common()
    ]
    return [
        Defect(
            f"recordings of several cameras: {named(said)}",
            "keep one camera's recordings; a network sees one",
            refused=True,
        )
    ]


def empty_classes(data: RecordingsSurvey) -> list[Defect]:
    """Find folders of classes without a recording that can be read."""
    empty = [name for name in data.folders if name not in data.classes]
    if not empty:
        return []
    return [Defect(f"no recordings in {named(empty)}", "not a class of the network")]


def lone_instances(data: RecordingsSurvey) -> list[Defect]:
    """Find classes of which nothing would be left to test."""
    lone = [name for name in data.classes if data.instances(name) == 1]
    if not lone:
        return []
    sessions = any(session_of(r.path, data.root) for r in data.of(lone[0]))
    what = "session" if sessions else "recording"
    return [
        Defect(
            f"one {what} in {named(lone)}: nothing is left to test",
            f"record a second {what}, or give another session with --test DIR",
            refused=True,
        )
    ]


def look_like_slices(recordings: list[RecordingFacts]) -> bool:
    """Tell if recordings of a class look like slices of one: many of equal length, numbered."""
    if len(recordings) < SLICES:
        return False
    lengths = np.array([r.duration_us for r in recordings], np.float64)
    equal = np.abs(lengths / max(median(lengths), 1) - 1) <= EQUAL
    prefixes = {re.sub(r"\d+$", "", r.path.stem) for r in recordings}
    return bool(equal.mean() >= 0.9) and len(prefixes) == 1


def slices_of_one(data: RecordingsSurvey) -> list[Defect]:
    """Find classes whose recordings seem to be slices of one."""
    sliced = [
        name
        for name in data.classes
        if data.instances(name) == len(data.of(name)) and look_like_slices(data.of(name))
    ]
    if not sliced:
        return []
    length_ms = median(r.duration_us for r in data.of(sliced[0])) / 1000
    return [
        Defect(
            f"{named(sliced)}: numbered recordings of {significant(length_ms)} ms each, perhaps"
            " slices of one recording",
            "test on another session (--test DIR), or put each session's slices into a folder"
            " class/session: neighbouring slices are nearly equal, and a split among them measures"
            " memory",
        )
    ]


def swapped_levels(data: RecordingsSurvey) -> list[Defect]:
    """Find folders that look like session/class where class/session is read."""
    inner: dict[str, set[str]] = {
        name: {s for r in data.of(name) if (s := session_of(r.path, data.root))}
        for name in data.classes
    }
    names = set().union(*inner.values())
    shared = [name for name in names if sum(name in found for found in inner.values()) > 1]
    if len(names) <= len(data.classes) or not shared:
        return []
    first = data.classes[0]
    return [
        Defect(
            f"{named(list(data.classes))} are taken for classes, and {named(sorted(names))} for"
            " their sessions",
            f"if it is the other way round, give one session: tmkt init {data.root / first}"
            f" --test {data.root / data.classes[-1]}",
        )
    ]


def same_files(data: RecordingsSurvey, test: RecordingsSurvey | None) -> list[Defect]:
    """Find recordings that are the same file under two names."""
    paths = [r.path for part in (data, test) if part for r in part.recordings]
    pairs = duplicate_files(paths)
    if not pairs:
        return []
    shown = named([" = ".join(pair) for pair in pairs])
    return [
        Defect(
            f"the same file under two names: {shown}",
            "remove one of each, or the network may be tested on what it was trained on",
        )
    ]


def classes_of_test(data: RecordingsSurvey, test: RecordingsSurvey) -> list[Defect]:
    """Compare the classes of the recordings to test with those to train on."""
    found = []
    if strange := [name for name in test.classes if name not in data.classes]:
        found.append(
            Defect(
                f"{test.root}: {named(strange)}, which nothing is trained on",
                "move these folders away",
                refused=True,
            )
        )
    if missing := [name for name in data.classes if name not in test.classes]:
        kept = [name for name in data.classes if name in test.classes]
        found.append(
            Defect(
                f"{test.root} lacks {named(missing)}",
                f"the accuracy is over {', '.join(kept)}, of {len(data.classes)} classes",
            )
        )
    return found


def classes_of_images(data: RecordingsSurvey, images: ImagesSurvey, used: bool) -> list[Defect]:
    """Compare the classes of the images with those of the recordings."""
    found = []
    if missing := [name for name in data.classes if not images.per_class[name]]:
        found.append(
            Defect(
                f"no images of {named(missing)}",
                "their recordings take the place of their images"
                if used
                else "the images are not used; add some of every class to use them",
            )
        )
    if strange := sorted(name for name in images.per_class if name not in data.classes):
        found.append(
            Defect(
                f"images of {named(strange)}, which was not recorded",
                "the images are not used; move the folder away to use the others",
            )
        )
    return found


def hot(data: RecordingsSurvey) -> list[Defect]:
    """Find hot pixels."""
    total = events_of(data.recordings)
    pixels = hot_pixels(data.pixels)
    if not pixels:
        return []
    share = sum(int(data.pixels[y, x]) for x, y in pixels) / total
    return [
        Defect(
            f"hot pixels, {len(pixels)}, (x, y): {named([f'({x}, {y})' for x, y in pixels])}; with"
            f" {100 * share:.1f} % of all events",
            "data.max_count = 1 bounds them: an input counts one event a bin at most",
        )
    ]


def gaps(recordings: tuple[RecordingFacts, ...]) -> list[Defect]:
    """Find recordings that are silent for most of their time."""
    silent = [
        r for r in recordings if r.statistics.longest_pause_us > PAUSE * max(r.duration_us, 1)
    ]
    if not silent:
        return []
    return [
        Defect(
            f"{len(silent)} recordings pause for more than half of their time:"
            f" {named([str(r.path) for r in silent])}",
            "bins without events stay empty; cut the pause out if it means nothing",
        )
    ]


def one_polarity(recordings: tuple[RecordingFacts, ...]) -> list[Defect]:
    """Find out if no pixel ever gets brighter, or none darker."""
    on = sum(r.statistics.on for r in recordings)
    if 0 < on < events_of(recordings):
        return []
    which = "on" if on else "off"
    return [
        Defect(
            f"all events are {which} events",
            "half of the input stays empty; check the conversion, if there was one",
        )
    ]
