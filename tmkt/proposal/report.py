"""Report of `tmkt init` for programs, and the figures that its tables show."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from tmkt.proposal.defects import Defect
from tmkt.proposal.proposal import Chosen, Key, reached, values_of
from tmkt.proposal.survey import ImagesSurvey, RecordingFacts, RecordingsSurvey


def report(
    data: RecordingsSurvey,
    test: RecordingsSurvey | None,
    images: ImagesSurvey | None,
    chosen: Chosen,
    keys: Sequence[Key],
    defects: Sequence[Defect],
) -> dict[str, Any]:
    """Collect what was found and chosen, for JSON."""
    return {
        "data": str(data.root),
        "test": str(test.root) if test else None,
        "static": str(images.root) if images else None,
        "classes": class_rows(data, test, images),
        "recordings": summary(data.recordings),
        "test_recordings": summary(test.recordings) if test else None,
        "images": image_summary(images) if images else None,
        "unreadable": [
            {"path": str(file.path), "error": file.error}
            for part in (data, test, images)
            if part
            for file in part.unreadable
        ],
        "defects": [asdict(defect) for defect in defects],
        "chosen": values_of(keys),
        "why": {f"{key.section}.{key.name}": key.why for key in keys if key.why},
        "cores": chosen.cores,
        "recordings_longer_than_bins": chosen.binning.left_out,
    }


def class_rows(
    data: RecordingsSurvey, test: RecordingsSurvey | None, images: ImagesSurvey | None
) -> list[dict[str, Any]]:
    """Count recordings, instances and images of every class; None where nothing was asked for."""
    return [
        {
            "name": name,
            "recordings": len(data.of(name)),
            "instances": data.instances(name),
            "duration_ms": median(r.duration_us for r in data.of(name)) / 1000,
            "events": int(median(r.statistics.events for r in data.of(name))),
            "test": len(test.of(name)) if test else None,
            "images": images.per_class[name] if images else None,
        }
        for name in data.classes
    ]


def summary(recordings: Sequence[RecordingFacts]) -> dict[str, Any]:
    """Sum up recordings: formats, sensors, duration, rate, polarity, the longest pause."""
    durations = [r.duration_us for r in recordings]
    rates = [r.statistics.events * 1e6 / r.duration_us for r in recordings if r.duration_us]
    events = sum(r.statistics.events for r in recordings)
    sensors = Counter(r.sensor for r in recordings)
    height, width = reached(recordings)
    return {
        "recordings": len(recordings),
        "formats": dict(Counter(r.format for r in recordings)),
        "sensors": [
            {"width": size[1], "height": size[0], "recordings": n}
            for size, n in sensors.items()
            if size
        ],
        "events_reach": {"width": width, "height": height},
        "duration_us": {
            "least": min(durations),
            "median": median(durations),
            "most": max(durations),
        },
        "events": events,
        "events_per_s": median(rates) if rates else None,
        "on_share": sum(r.statistics.on for r in recordings) / events,
        "longest_pause_us": max(r.statistics.longest_pause_us for r in recordings),
    }


def image_summary(images: ImagesSurvey) -> dict[str, Any]:
    """Sum up images: their number, sizes and colour."""
    sizes = [facts.size for _, facts in images.images]
    return {
        "images": len(sizes),
        "per_class": dict(sorted(images.per_class.items())),
        "least": {"width": min(w for _, w in sizes), "height": min(h for h, _ in sizes)}
        if sizes
        else None,
        "most": {"width": max(w for _, w in sizes), "height": max(h for h, _ in sizes)}
        if sizes
        else None,
        "grey": sum(facts.grey for _, facts in images.images),
    }
