"""Picture of a search: accuracy over the trials, and a panel for each key."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from tmkt.plots import Chart, Scale, cross, dot, line, moved, polyline, rows_of_grid, text

WIDTH, HEIGHT = 300, 200  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 30, 34
ACROSS = 3  # panels
HEAD = 74
STYLE = """text { fill: #1f2328; }
.title { font-size: 15px; font-weight: bold; }
.name { font-weight: bold; }
.note { fill: #8c959f; }
.grid { stroke: #d0d7de; }
.whole { fill: #1f6feb; fill-opacity: 0.7; }
.best { fill: #cf222e; }
.cut { stroke: #8c959f; stroke-width: 1.3; }
.so-far { fill: none; stroke: #cf222e; stroke-width: 1.5; }
"""


@dataclass(frozen=True)
class Dot:
    """Trial: its number, validation accuracy (0 to 1, of a pruned one the last seen), whether it
    ran to its end, and whether it is the best.
    """

    trial: int
    accuracy: float
    complete: bool
    best: bool


@dataclass(frozen=True)
class Axis:
    """Panel of a key: a value per dot, from `low` to `high`.

    With `choices`, the values are places in that list.
    """

    name: str
    values: list[float]
    low: float
    high: float
    log: bool
    choices: list[str]


def picture(title: str, dots: Sequence[Dot], axes: Sequence[Axis], validation: int) -> str:
    """Draw the search as an SVG file; all panels share the scale of the accuracy."""
    last = max((dot.trial for dot in dots), default=1)
    over = Axis(
        "trial", [float(dot.trial) for dot in dots], low=0.5, high=last + 0.5, log=False, choices=[]
    )
    low, high = _span([dot.accuracy for dot in dots])
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    panels = [_panel(over, dots, y, _trial_ticks(last), so_far=True)]
    panels += [_panel(axis, dots, y, _ticks(axis), so_far=False) for axis in axes]
    across = min(ACROSS, len(panels))
    rows = -(-len(panels) // across)
    marks = [text(14, 24, title, "title"), *_legend(14, 46, validation)]
    for i, panel in enumerate(panels):
        row, column = divmod(i, across)
        marks.append(moved(column * WIDTH, HEAD + row * HEIGHT, panel))
    return Chart(across * WIDTH, HEAD + rows * HEIGHT + 8, marks, title).file(STYLE)


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Choose round ends for the accuracies, at least 5 points apart."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = 0.05 if high - low < 0.3 else 0.1
    low, high = math.floor(low / step + 1e-9) * step, min(math.ceil(high / step - 1e-9) * step, 1.0)
    return (low, high) if high > low else (max(high - step, 0.0), max(high, step))


def _panel(
    axis: Axis,
    dots: Sequence[Dot],
    y: Scale,
    ticks: Sequence[tuple[float, str]],
    so_far: bool,
) -> list[str]:
    """Draw the trials over one axis; `so_far`: also the best accuracy until each."""
    x = Scale(axis.low, axis.high, LEFT, WIDTH - RIGHT, axis.log)
    accuracies = [y.low, y.low + (y.high - y.low) / 2, y.high]
    marks = [
        text(LEFT, TOP - 12, axis.name + (", logarithmic" if axis.log else ""), "name"),
        rows_of_grid(y, LEFT, WIDTH - RIGHT, [(a, f"{100 * a:.3g} %") for a in accuracies]),
    ]
    for value, shown in ticks:
        marks.append(line("grid", x=(x(value), x(value)), y=(TOP, HEIGHT - BOTTOM)))
        marks.append(text(x(value), HEIGHT - BOTTOM + 16, shown, anchor="middle"))
    if so_far:
        marks.append(_best_so_far(dots, x, y))
    order = sorted(
        zip(axis.values, dots, strict=True), key=lambda pair: (pair[1].best, pair[1].complete)
    )  # the best on top
    for value, trial in order:
        pruned = "" if trial.complete else ", pruned"
        says = f"trial {trial.trial}: {100 * trial.accuracy:.1f} %{pruned}"
        marks.append(_mark(x(value), y(trial.accuracy), trial, says))
    return marks


def _ticks(axis: Axis) -> list[tuple[float, str]]:
    if axis.choices:
        most = max(int(42 / len(axis.choices)), 4)  # characters that a place has room for
        return [
            (float(i), choice if len(choice) <= most else choice[: most - 1] + "…")
            for i, choice in enumerate(axis.choices)
        ]
    middle = math.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
    return [(value, f"{value:.3g}") for value in (axis.low, middle, axis.high)]


def _trial_ticks(last: int) -> list[tuple[float, str]]:
    step = max(last // 4, 1)
    trials = sorted({1, *range(step, last - step // 2, step), last})
    return [(float(trial), str(trial)) for trial in trials]


def _best_so_far(dots: Sequence[Dot], x: Scale, y: Scale) -> str:
    points, best = [], None
    for trial in sorted(dots, key=lambda dot: dot.trial):
        if trial.complete and (best is None or trial.accuracy > best):
            if best is not None:
                points.append((x(trial.trial), y(best)))
            best = trial.accuracy
            points.append((x(trial.trial), y(best)))
    if best is None:
        return ""
    points.append((x(max(dot.trial for dot in dots)), y(best)))
    return polyline("so-far", points)


def _mark(x: float, y: float, trial: Dot, says: str) -> str:
    if not trial.complete:
        return cross("cut", x, y, says)
    if trial.best:
        return dot("best", x, y, 5, says)
    return dot("whole", x, y, 3.5, says)


def _legend(x: float, y: float, validation: int) -> list[str]:
    entries = (
        (Dot(0, 0, True, True), "the best trial; line: best so far"),
        (Dot(0, 0, True, False), "others"),
        (Dot(0, 0, False, False), "pruned, last accuracy seen"),
    )
    marks = []
    for trial, shown in entries:
        marks += [_mark(x + 4, y - 4, trial, ""), text(x + 14, y, shown)]
        x += 30 + 6.2 * len(shown)
    marks.append(text(14, y + 18, f"Accuracy on {validation} validation recordings", "note"))
    return marks
