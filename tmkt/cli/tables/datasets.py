"""Terminal tables of data sets and recordings."""

from typing import Any

from tmkt.cli.tables.table import table
from tmkt.console import note, percent, say

MOST_FINDINGS = 10  # of each kind


def print_data_sets(found: list[dict[str, Any]]) -> None:
    """Print the known data sets and where they were found."""
    rows: list[list[object]] = [
        [entry["name"], entry["title"], entry["classes"], ", ".join(entry["protocols"])]
        for entry in found
    ]
    table("Data sets", ["name", "recordings and images", "classes", "splits"], rows)
    for entry in found:
        for place in entry["recordings"]:
            say(f"{entry['name']}: {place['recordings']:,} recordings in {place['path']}")
        for images in entry["images"]:
            say(f"{entry['name']}: images in {images}")


def print_data_check(report: dict[str, Any]) -> None:
    """Print the recordings and images of each class, the splits, and what is wrong."""
    rows: list[list[object]] = [
        [c["name"], c["recordings"], c["images"]] for c in report["classes"]
    ]
    rows.append(["all", report["recordings"], report["images"]])
    table(f"{report['title']} in {report['root']}", ["class", "recordings", "images"], rows)
    keys = ["train", "test", "images", "shared_instances", "tested_images"]
    splits: list[list[object]] = [
        [p["protocol"], *(p[key] for key in keys)] for p in report["protocols"] if not p["error"]
    ]
    columns = [
        "split",
        "train",
        "test",
        "images",
        "tested and trained on",
        "tested and seen as images",
    ]
    if splits:
        table("Splits, by the recipes' defaults", columns, splits)
    for p in report["protocols"]:
        if p["error"]:
            say(f"Split {p['protocol']}: refused, {p['error']}")
    for what, found in (
        ("cannot be read", [entry["error"] for entry in report["corrupt"]]),
        ("no recordings of class", report["classes_without_recordings"]),
        ("no images of class", report["classes_without_images"]),
        ("another class as an image", report["label_conflicts"]),
        ("the same file twice", [" = ".join(pair) for pair in report["duplicates"]]),
    ):
        for entry in found[:MOST_FINDINGS]:
            say(f"{what}: {entry}")
        if len(found) > MOST_FINDINGS:
            say(f"{what}: and {len(found) - MOST_FINDINGS} more (--json has all)")
    say("FAILED: " + "; ".join(report["problems"]) if report["problems"] else "All is well.")


def print_recording(report: dict[str, Any]) -> None:
    """Print the statistics of one recording, and the reader's notes on it."""
    sensor = report["sensor"]
    if sensor:
        size = f"{sensor['width']}x{sensor['height']}"
    else:
        size = f"at least {report['x'][1] + 1}x{report['y'][1] + 1} (the file does not say)"
    rate = None
    if report["events_per_s"] is not None:
        rate = (
            f"{report['events_per_s']:,.0f} events/s; at most {report['peak_events_per_s']:,.0f} in"
            " 10 ms"
        )
    rows: list[list[object]] = [
        ["format", report["format"]],
        ["sensor", size],
        ["size", f"{report['bytes']:,} bytes"],
        ["events", f"{report['events']:,}"],
        ["duration", f"{report['duration_s']:.6f} s"],
        ["first and last stamp", f"{report['first_us']} and {report['last_us']} us"],
        ["rate", rate],
        ["on events", percent(report["on_share"])],
        ["columns and rows", "x {} to {}, y {} to {}".format(*report["x"], *report["y"])],
        ["longest pause", f"{report['longest_pause_us']} us"],
    ]
    rows += [
        [name.replace("_", " "), value]
        for name, value in report["counters"].items()
        if value and name != "events"
    ]
    table(report["file"], ["", "value"], rows)
    for line in report["notes"]:
        note(f"{report['file']}: {line}")
