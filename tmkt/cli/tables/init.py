"""Terminal tables of a proposed recipe."""

from collections.abc import Sequence
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from tmkt.cli.tables.table import table
from tmkt.console import percent, say, significant

if TYPE_CHECKING:
    from tmkt.proposal.defects import Defect
    from tmkt.proposal.proposal import Chosen, Key
    from tmkt.proposal.survey import ImagesSurvey, RecordingsSurvey

COLUMNS = 80


def print_proposal(
    data: "RecordingsSurvey",
    test: "RecordingsSurvey | None",
    images: "ImagesSurvey | None",
    chosen: "Chosen",
    keys: "Sequence[Key]",
    defects: "Sequence[Defect]",
) -> None:
    """Print what was found, what is wrong with it, and what the recipe says and why."""
    from tmkt.proposal.report import class_rows, image_summary, summary

    rows = class_rows(data, test, images)
    columns = ["class", "recordings", "ms", "events"]
    names = ["name", "recordings", "duration_ms", "events"]
    if any(row["instances"] != row["recordings"] for row in rows):
        columns.insert(2, "sessions")
        names.insert(2, "instances")
    if test:
        columns, names = [*columns, "to test"], [*names, "test"]
    if images:
        columns, names = [*columns, "images"], [*names, "images"]
    cells: list[list[object]] = [
        [significant(row[name]) if name == "duration_ms" else row[name] for name in names]
        for row in rows
    ]
    table("Recordings (ms and events: the median's)", columns, cells)
    _say(_recordings(summary(data.recordings), chosen))
    if images:
        _say(_images(image_summary(images)))
    for defect in defects:
        mark = "REFUSED BY TRAINING: " if defect.refused else "Note: "
        _say(f"{mark}{defect.found}: {defect.do}.")
    say("The recipe:")
    for key in keys:
        if key.why and key.section != "paths":
            value = "" if isinstance(key.value, list) else f" = {key.value}"
            _say(f"  {key.section}.{key.name}{value}: {key.why}", indent="    ")


def _say(text: str, indent: str = "  ") -> None:
    for line in wrap(text, COLUMNS, subsequent_indent=indent, break_on_hyphens=False):
        say(line)


def _recordings(found: dict[str, Any], chosen: "Chosen") -> str:
    formats = ", ".join(f"{n} {name}" for name, n in found["formats"].items())
    height, width = chosen.camera.size
    camera = f"camera {width}x{height}" + (" (guessed)" if chosen.camera.guessed else "")
    rate = found["events_per_s"]
    sites = 2 * chosen.input.size[0] * chosen.input.size[1]
    density = found["events"] / found["recordings"] / chosen.binning.bins / sites
    return (
        f"Recordings: {formats}; {camera};"
        f" {'rate unknown' if rate is None else f'{rate:,.0f} events a second'};"
        f" {percent(found['on_share'])} on; longest pause"
        f" {significant(found['longest_pause_us'] / 1000)} ms;"
        f" {significant(density, 2)} events a bin and site."
    )


def _images(found: dict[str, Any]) -> str:
    if not found["images"]:
        return "Images: none can be read."
    least, most = (f"{found[k]['width']}x{found[k]['height']}" for k in ("least", "most"))
    sizes = least if least == most else f"{least} to {most} pixels"
    grey, total = found["grey"], found["images"]
    colour = "grey" if grey == total else "colour" if not grey else f"{grey} grey, others colour"
    return f"Images: {total}, {sizes}, {colour}."
