"""Energy report as rows of a spreadsheet."""

import csv
from pathlib import Path
from typing import Any

from tmkt.files import writing

COLUMNS = (
    "bundle",
    "estimator",
    "device",
    "of",
    "name",
    "energy_j",
    "low_j",
    "high_j",
    "sd_j",
    "samples",
    "includes",
    "excludes",
    "source",
)
FIGURES = ("energy_j", "low_j", "high_j")


def rows(report: dict[str, Any], bundle: str) -> list[dict[str, Any]]:
    """Make a row per figure, each with its interval, what it leaves out and its source.

    `of`: inference, second, layer, part, class or step.
    """
    found = []
    for e in report["estimates"]:
        same = {"bundle": bundle, **{key: e[key] for key in ("estimator", "device", "source")}}
        same |= {key: "; ".join(e[key]) for key in ("includes", "excludes")}
        figures = [("inference", "", e), ("second", "", e["per_second"])]
        figures += [
            (of, entry["name"], entry)
            for of, key in (("layer", "layers"), ("part", "parts"), ("class", "classes"))
            for entry in e[key]
        ]
        figures += [("step", entry["step"], entry) for entry in e["steps"]]
        for of, name, entry in figures:
            found.append(
                {
                    **same,
                    "of": of,
                    "name": name,
                    **{key: entry[key] for key in FIGURES},
                    "sd_j": entry.get("sd_j"),
                    "samples": entry.get("samples", report["samples"]),
                }
            )
    return found


def write_csv(path: Path, report: dict[str, Any], bundle: str) -> None:
    """Write `rows` as CSV; an unknown value is an empty cell. InputError where the disk refuses."""
    with writing(path) as beside, open(beside, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows(report, bundle))
