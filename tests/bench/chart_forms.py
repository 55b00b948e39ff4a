"""Forms of the benchmarks' charts: lines over places with error bars, and rows of intervals."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tmkt.plots import Chart, Scale, dot, error_bar, line, moved, polyline, rows_of_grid, text

WIDTH = 560
MARGIN, HEAD, FOOT = 16, 42, 30
LEGEND = 18  # pixels of a line of it
PANEL = 230  # pixels of the height of lines
ROW = 26
LETTER = 7.6  # pixels
COLOURS = (  # in light and dark
    ("#0969da", "#58a6ff"),
    ("#bc4c00", "#f0883e"),
    ("#1a7f37", "#3fb950"),
    ("#8250df", "#bc8cff"),
    ("#57606a", "#9198a1"),
)
STYLE = "\n".join(
    [
        "svg { font-size: 13px; }",
        "text { fill: #1f2328; }",
        ".title { font-size: 14px; font-weight: bold; }",
        ".name { font-weight: bold; }",
        ".tick, .note { fill: #57606a; }",
        ".grid { stroke: #d0d7de; }",
        *(
            f".line{i} {{ fill: none; stroke: {light}; stroke-width: 2; }}\n"
            f".dot{i} {{ fill: {light}; }}\n.bar{i} {{ stroke: {light}; }}\n"
            f".seed{i} {{ fill: {light}; fill-opacity: 0.35; }}"
            for i, (light, _) in enumerate(COLOURS)
        ),
        "@media (prefers-color-scheme: dark) {",
        "svg > rect:first-of-type { fill: #0d1117; }",
        "text { fill: #e6edf3; }",
        ".tick, .note { fill: #9198a1; }",
        ".grid { stroke: #3d444d; }",
        *(
            f".line{i}, .bar{i} {{ stroke: {dark}; }}\n.dot{i}, .seed{i} {{ fill: {dark}; }}"
            for i, (_, dark) in enumerate(COLOURS)
        ),
        "}\n",
    ]
)


class Series(NamedTuple):
    """Values by place on the axis across; 0 is the last place, "all"."""

    label: str
    values: Mapping[int, Sequence[float]]


def lines(title: str, panels: Sequence[tuple[str, Sequence[Series]]], note: str) -> str:
    """Draw panels of lines through the mean values, with standard deviations."""
    series = panels[0][1]
    top = HEAD + LEGEND * len(series) + 8
    width = (WIDTH - 2 * MARGIN) / len(panels)
    low = min(_mean(v) - _sd(v) for _, found in panels for s in found for v in s.values.values())
    y = Scale(10 * math.floor(low / 10), 100, top + PANEL, top + LEGEND)
    marks = [text(MARGIN, 24, title, "title")]
    for i, one in enumerate(series):
        at = HEAD + LEGEND * i
        marks += [dot(f"dot{i}", MARGIN + 5, at, 4), text(MARGIN + 16, at + 4, one.label)]
    for i, (name, found) in enumerate(panels):
        marks.append(moved(MARGIN + i * width, 0, _panel(name, found, y, width)))
    height = top + PANEL + 22 + FOOT
    marks.append(text(MARGIN, height - 10, note, "note"))
    return Chart(WIDTH, height, marks, title).file(STYLE)


def _panel(name: str, series: Sequence[Series], y: Scale, width: float) -> list[str]:
    places = sorted({k for one in series for k in one.values}, key=lambda k: k or math.inf)
    left, right = 34, width - 8
    ticks = [(float(v), f"{v}") for v in range(int(y.low), 101, 10)]
    marks = [text(left, y.end - 8, name, "name"), rows_of_grid(y, left, right, ticks)]
    step = (right - left) / len(places)
    for i, place in enumerate(places):
        x = left + (i + 0.5) * step
        marks.append(text(x, y.start + 18, str(place or "all"), "tick", "middle"))
    for i, one in enumerate(series):
        aside = 9 * (i - (len(series) - 1) / 2)  # so that bars do not cover each other
        points = []
        for place, values in sorted(one.values.items(), key=lambda item: item[0] or math.inf):
            x, mean, sd = (
                left + (places.index(place) + 0.5) * step + aside,
                _mean(values),
                _sd(values),
            )
            points.append((x, y(mean)))
            if sd:
                marks.append(
                    error_bar(f"bar{i}", y(mean - sd), y(min(mean + sd, 100)), at=x, upright=True)
                )
            says = f"{one.label}, {place or 'all'}: {mean:.1f} ± {sd:.1f} %, {len(values)} draws"
            marks.append(dot(f"dot{i}", x, y(mean), 3.5, says))
        if len(points) > 1:
            marks.append(polyline(f"line{i}", points))
    return marks


class Bar(NamedTuple):
    """Interval with its middle, None where that is not known, single values, and a text behind."""

    low: float
    high: float
    middle: float | None = None
    single: Sequence[float] = ()
    shown: str = ""


def spread(values: Sequence[float]) -> Bar:
    """Make a bar of mean and standard deviation."""
    mean, sd = _mean(values), _sd(values)
    return Bar(mean - sd, mean + sd, mean)


def rows(
    title: str,
    found: Mapping[str, Sequence[Bar | None]],
    note: str,
    names: Sequence[str] = (),
    log: bool = False,
) -> str:
    """Draw a row of bars per label, on a linear or logarithmic axis.

    `names`: of a row's bars; None among these is left out.
    """
    told = any(bar and bar.shown for bars in found.values() for bar in bars)
    apart = 16 if told else 9  # bars of a row
    height = ROW + (apart * (len(names) - 1) if names and told else 0)
    top = HEAD + (LEGEND if names else 0)
    bottom = top + height * len(found)
    left = MARGIN + 10 + LETTER * max(map(len, found))
    x, ticks = _axis([bar for bars in found.values() for bar in bars if bar], left, log)
    marks = [text(MARGIN, 24, title, "title")]
    for value, shown in ticks:
        marks.append(line("grid", x=(x(value), x(value)), y=(top - 4, bottom)))
        marks.append(text(x(value), bottom + 16, shown, "tick", "middle"))
    at = left
    for i, name in enumerate(names):
        marks += [dot(f"dot{i}", at + 5, HEAD, 4), text(at + 16, HEAD + 4, name)]
        at += 34 + LETTER * len(name)
    for row, (label, bars) in enumerate(found.items()):
        middle = top + height * (row + 0.5)
        marks.append(text(left - 10, middle + 4, label, anchor="end"))
        for i, bar in enumerate(bars):
            if bar is None:
                continue
            marks += _bar(i, x, middle + apart * (i - (len(bars) - 1) / 2), bar)
    whole = bottom + 22 + FOOT
    marks.append(text(MARGIN, whole - 10, note, "note"))
    return Chart(WIDTH, whole, marks, title).file(STYLE)


def _bar(i: int, x: Scale, level: float, bar: Bar) -> list[str]:
    marks = [dot(f"seed{i}", x(value), level, 3) for value in bar.single]
    marks.append(error_bar(f"bar{i}", x(bar.low), x(bar.high), at=level))
    if bar.middle is not None:
        marks.append(dot(f"dot{i}", x(bar.middle), level, 4.5))
    if bar.shown:
        marks.append(text(x(max(bar.high, *bar.single, bar.low)) + 9, level + 4, bar.shown))
    return marks


def _axis(bars: Sequence[Bar], left: float, log: bool) -> tuple[Scale, list[tuple[float, str]]]:
    """Choose the axis of rows with its ticks: around all marks, a logarithmic one from 1."""
    ends = [end for bar in bars for end in (bar.low, bar.high, *bar.single)]
    if log:
        ticks = [10.0**power for power in range(math.ceil(math.log10(max(ends))) + 1)]
    else:
        step = next(s for s in (0.5, 1, 2, 5, 10, 20) if max(ends) - min(ends) <= 6 * s)
        first, last = math.floor(min(ends) / step), math.ceil(max(ends) / step)
        ticks = [step * k for k in range(first, last + 1)]
    behind = max(44, 9 + LETTER * max(len(bar.shown) for bar in bars))
    x = Scale(ticks[0], ticks[-1], left, WIDTH - MARGIN - behind, log)
    return x, [(tick, f"{tick:g}") for tick in ticks]


def _mean(values: Sequence[float]) -> float:
    return statistics.fmean(values)


def _sd(values: Sequence[float]) -> float:
    """Standard deviation of a sample; 0 of one value, which shows none."""
    return statistics.stdev(values) if len(values) > 1 else 0.0
