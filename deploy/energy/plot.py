"""Pictures of energy estimates: every estimate with its interval, the first by layer and step."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tmkt.console import joules, joules_with_interval
from tmkt.errors import InputError
from tmkt.files import writing
from tmkt.install import pip_install
from tmkt.plots import Chart, Scale, box, dot, error_bar, line, moved, rows_of_grid, text

FORMATS = (".svg", ".png")
NOTE = (
    "Error bars: the interval of an estimator's assumptions. None includes host input and output;"
    " static power stands by itself."
)
STYLE = """text { fill: #1f2328; }
.title { font-size: 14px; font-weight: bold; }
.name { font-size: 12px; }
.tick, .note { fill: #57606a; }
.grid { stroke: #d0d7de; }
.bar0 { stroke: #1f6feb; stroke-width: 2; }
.dot0, .column { fill: #1f6feb; }
.error { stroke: #1f2328; }
"""
ZOOM = 2  # pixels of a .png per pixel of the .svg
MARGIN, HEAD, FOOT = 14, 40, 26
ROW = 42  # pixels of an estimate
PANEL_WIDTH, PANEL_HEIGHT = 440, 230
MOST_NAMES = 20  # below the bars of a panel
LONGEST_NAME = 24  # letters
LETTER = 6.5  # pixels

Rows = Sequence[tuple[str, Sequence[dict[str, float]]]]


def check_plot(path: Path) -> None:
    """Raise InputError, before the work, for a name or format that cannot be written."""
    if path.suffix not in FORMATS:
        raise InputError(
            f"{path}: a plot ending in {path.suffix!r}, expected {' or '.join(FORMATS)}; change the"
            " name"
        )
    if path.suffix == ".png":
        with_text, without = (Chart(30, 20, [mark], "") for mark in (text(2, 15, "J"), ""))
        if _png(with_text.file(STYLE)) == _png(without.file(STYLE)):
            raise InputError(
                f"{path}: this machine has no fonts to write the texts of a .png with; install"
                " one (fonts-dejavu-core), or end the name in .svg"
            )


def write_plot(path: Path, report: dict[str, Any], title: str) -> None:
    """Draw the estimates of one inference, and the first one by layer and by step.

    The same report gives the same bytes. Raises InputError where the disk refuses.
    """
    picture = energy_chart(report, title).file(STYLE)
    content = picture.encode("utf-8") if path.suffix == ".svg" else _png(picture)
    with writing(path) as beside:
        beside.write_bytes(content)


def energy_chart(report: dict[str, Any], title: str) -> Chart:
    """Draw the report of `tmkt energy`."""
    estimates = report["estimates"]
    width = 2 * PANEL_WIDTH
    heading = f"{title}: energy of one inference, mean of {report['samples']} recordings"
    marks = [text(MARGIN, 24, heading, "title")]
    rows = [(f"{e['estimator']} ({e['device']})", [e]) for e in estimates]
    all_estimates, top = intervals_chart(rows, width - 2 * MARGIN), HEAD
    if all_estimates is not None:
        marks.append(moved(MARGIN, HEAD, all_estimates.marks))
        top += int(all_estimates.height) + MARGIN
    first = estimates[0]
    for i, (key, name, of) in enumerate((("layers", "name", "layer"), ("steps", "step", "step"))):
        named = [(str(entry[name]), entry) for entry in first[key]]
        panel = _bars(f"{first['estimator']} by {of}", named)
        marks.append(moved(i * PANEL_WIDTH, top, panel))
    height = top + PANEL_HEIGHT + FOOT
    marks.append(text(width / 2, height - 10, NOTE, "note", "middle"))
    return Chart(width, height, marks, heading)


def intervals_chart(rows: Rows, width: float = 400) -> Chart | None:
    """Draw a row per name on a logarithmic axis: each energy as a dot, its interval as a bar.

    A row has one or two figures {energy_j, low_j, high_j}. None where none is above zero.
    """
    figures = [figure for _, found in rows for figure in found]
    positive = [
        value for f in figures for value in (f["energy_j"], f["low_j"], f["high_j"]) if value > 0
    ]
    if not positive:
        return None
    first, last = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    last = max(last, first + 1)
    left, smallest, height = 10, 10.0**first, ROW * len(rows) + 26
    scale = Scale(smallest, 10.0**last, left, width - left, log=True)
    marks = []
    for power in range(first, last + 1):
        at = scale(10.0**power)
        marks.append(line("grid", x=(at, at), y=(0, height - 22)))
        anchor = "start" if power == first else "end" if power == last else "middle"
        shown = joules(10.0**power * (1 + 1e-9)) or ""
        marks.append(text(at, height - 6, shown, "tick", anchor))
    for i, (name, found) in enumerate(rows):
        marks.append(text(left, i * ROW + 15, name, "name"))
        for k, f in enumerate(found):
            y = i * ROW + 25 + 9 * k
            energy, low, high = (
                scale(max(f[key], smallest)) for key in ("energy_j", "low_j", "high_j")
            )
            marks.append(error_bar(f"bar{k}", low, high, at=y))
            marks.append(dot(f"dot{k}", energy, y, 4.5))
    says = "; ".join(
        f"{name} " + ", ".join(joules_with_interval(f) for f in found) for name, found in rows
    )
    return Chart(width, height, marks, says)


def _bars(title: str, entries: Sequence[tuple[str, dict[str, float]]]) -> list[str]:
    """Draw a bar per entry with its interval, on a linear axis from zero."""
    left, right, top = 70, PANEL_WIDTH - MARGIN, 30
    place = (right - left) / max(len(entries), 1)
    every = math.ceil(len(entries) / MOST_NAMES)
    names = [n if len(n) <= LONGEST_NAME else n[: LONGEST_NAME - 1] + "…" for n, _ in entries]
    longest = max(map(len, names), default=0)
    rising = longest * LETTER > every * place
    bottom = PANEL_HEIGHT - (16 + 0.7 * LETTER * longest if rising else 26)
    highest = max((entry["high_j"] for _, entry in entries), default=0.0) or 1.0
    y = Scale(0, highest, bottom, top)
    ticks = [(value, joules(value) or "" if value else "0") for value in _round_ticks(highest)]
    marks = [text(MARGIN, 16, title, "name"), rows_of_grid(y, left, right, ticks)]
    for i, (_, entry) in enumerate(entries):
        middle, energy = left + (i + 0.5) * place, y(entry["energy_j"])
        marks.append(box("column", middle - 0.35 * place, energy, 0.7 * place, bottom - energy))
        low, high, cap = y(entry["low_j"]), y(entry["high_j"]), min(4, 0.35 * place)
        marks.append(error_bar("error", low, high, at=middle, upright=True, cap=cap))
        if i % every == 0:
            anchor = "end" if rising else "middle"
            down = 12 if rising else 16
            marks.append(
                text(
                    middle, bottom + down, shown=names[i], kind="tick", anchor=anchor, rising=rising
                )
            )
    return marks


def _round_ticks(highest: float) -> list[float]:
    """Choose three to six round values from zero to the highest."""
    power = 10.0 ** math.floor(math.log10(highest))
    step = next(s * power for s in (0.2, 0.5, 1, 2) if highest / (s * power) < 6)
    return [i * step for i in range(int(highest / step + 1e-9) + 1)]


def _png(picture: str) -> bytes:
    """Turn an SVG file into a PNG file; InputError where that is not installed."""
    try:
        from resvg_py import svg_to_bytes
    except ModuleNotFoundError:
        raise InputError(
            "--plot: resvg-py, which makes a .png, is not installed;"
            f" {pip_install('plot')}, or end the name in .svg"
        ) from None
    return bytes(svg_to_bytes(svg_string=picture, zoom=ZOOM))
