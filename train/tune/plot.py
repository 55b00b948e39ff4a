"""Picture of a search as one SVG: accuracy over the trials, and a panel for each key."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 300, 200  # of a panel
LEFT, RIGHT, TOP, BOTTOM = 46, 14, 30, 34
ACROSS = 3  # panels
HEAD = 74
INK, GRID, WHOLE, CUT, BEST = "#1f2328", "#d0d7de", "#1f6feb", "#8c959f", "#cf222e"


@dataclass(frozen=True)
class Dot:
    """A trial in the picture.

    Its number, its validation accuracy (0 to 1; of a pruned trial the last one seen), and whether
    it ran to its end and is the best.
    """

    trial: int
    accuracy: float
    complete: bool
    best: bool


@dataclass(frozen=True)
class Axis:
    """The panel of a key: one value a dot, from `low` to `high`.

    With `choices`, the values are indices of choices.
    """

    name: str
    values: list[float]
    low: float
    high: float
    log: bool
    choices: list[str]


def picture(title: str, dots: Sequence[Dot], axes: Sequence[Axis], validation: int) -> str:
    """Return the picture as SVG text. All panels share the scale of the accuracy."""
    last = max((dot.trial for dot in dots), default=1)
    over = Axis("trial", [float(dot.trial) for dot in dots], 0.5, last + 0.5, False, [])
    low, high = _span([dot.accuracy for dot in dots])
    panels = [
        _panel(over, dots, low, high, whole=True),
        *(_panel(axis, dots, low, high, whole=False) for axis in axes),
    ]
    across = min(ACROSS, len(panels))
    rows = -(-len(panels) // across)
    width, height = across * WIDTH, HEAD + rows * HEIGHT + 8
    parts = [f'<rect width="{width}" height="{height}" fill="#ffffff"/>']
    parts.append(f'<text x="14" y="24" font-size="15" font-weight="bold">{escape(title)}</text>')
    parts.append(_legend(14, 46, validation))
    for i, panel in enumerate(panels):
        parts.append(
            f'<g transform="translate({i % across * WIDTH}'
            f' {HEAD + i // across * HEIGHT})">{panel}</g>'
        )
    style = f'font-family="DejaVu Sans, Helvetica, Arial, sans-serif" font-size="11" fill="{INK}"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}"'
        f' height="{height}" {style}>\n{body}\n</svg>\n'
    )


def _span(values: Sequence[float]) -> tuple[float, float]:
    """Return round limits for the accuracies, at least 5 points apart."""
    low, high = min(values, default=0.0), max(values, default=1.0)
    step = 0.05 if high - low < 0.3 else 0.1
    low, high = math.floor(low / step + 1e-9) * step, min(math.ceil(high / step - 1e-9) * step, 1.0)
    return (low, high) if high > low else (max(high - step, 0.0), max(high, step))


def _panel(axis: Axis, dots: Sequence[Dot], low: float, high: float, whole: bool) -> str:
    place = _scale(axis)

    def y(accuracy: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - accuracy) / (high - low)

    parts = [
        f'<text x="{LEFT}" y="{TOP - 12}"'
        f' font-weight="bold">{escape(axis.name)}{", logarithmic" if axis.log else ""}</text>'
    ]
    for i in range(3):
        value = low + (high - low) * i / 2
        parts.append(
            f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
            f' stroke="{GRID}"/>'
        )
        parts.append(
            f'<text x="{LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{100 * value:.3g}'
            " %</text>"
        )
    for value, text in _ticks(axis, whole):
        parts.append(
            f'<line x1="{place(value):.1f}" x2="{place(value):.1f}" y1="{TOP}"'
            f' y2="{HEIGHT - BOTTOM}" stroke="{GRID}"/>'
        )
        parts.append(
            f'<text x="{place(value):.1f}" y="{HEIGHT - BOTTOM + 16}"'
            f' text-anchor="middle">{escape(text)}</text>'
        )
    if whole:
        parts.append(_best_so_far(dots, place, y))
    order = sorted(
        zip(axis.values, dots, strict=True), key=lambda pair: (pair[1].best, pair[1].complete)
    )  # the best on top
    for value, dot in order:
        says = (
            f"<title>trial {dot.trial}: {100 * dot.accuracy:.1f}"
            f" %{'' if dot.complete else ', pruned'}</title>"
        )
        parts.append(_mark(place(value), y(dot.accuracy), dot, says))
    return "".join(parts)


def _scale(axis: Axis) -> Callable[[float], float]:
    turn = math.log if axis.log else float
    low, high = turn(axis.low), turn(axis.high)
    return lambda value: LEFT + (WIDTH - LEFT - RIGHT) * (turn(value) - low) / (high - low)


def _ticks(axis: Axis, trials: bool) -> list[tuple[float, str]]:
    if axis.choices:
        most = max(int(42 / len(axis.choices)), 4)  # characters that a place has room for
        return [
            (float(i), choice if len(choice) <= most else choice[: most - 1] + "…")
            for i, choice in enumerate(axis.choices)
        ]
    if trials:
        last = math.floor(axis.high)
        step = max(last // 4, 1)
        return [
            (float(trial), str(trial))
            for trial in sorted({1, *range(step, last - step // 2, step), last})
        ]
    middle = math.sqrt(axis.low * axis.high) if axis.log else (axis.low + axis.high) / 2
    return [(value, f"{value:.3g}") for value in (axis.low, middle, axis.high)]


def _best_so_far(
    dots: Sequence[Dot], place: Callable[[float], float], y: Callable[[float], float]
) -> str:
    points, best = [], None
    for dot in sorted(dots, key=lambda dot: dot.trial):
        if dot.complete and (best is None or dot.accuracy > best):
            if best is not None:
                points.append((place(dot.trial), y(best)))
            best = dot.accuracy
            points.append((place(dot.trial), y(best)))
    if best is None:
        return ""
    points.append((place(max(dot.trial for dot in dots)), y(best)))
    return (
        f'<polyline points="{" ".join(f"{x:.1f},{at:.1f}" for x, at in points)}" fill="none"'
        f' stroke="{BEST}" stroke-width="1.5"/>'
    )


def _mark(x: float, y: float, dot: Dot, says: str) -> str:
    if not dot.complete:
        return (
            f'<path d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6" stroke="{CUT}"'
            f' stroke-width="1.3">{says}</path>'
        )
    fill, radius = (BEST, 5) if dot.best else (WHOLE, 3.5)
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{fill}"'
        f' fill-opacity="{1 if dot.best else 0.7}">{says}</circle>'
    )


def _legend(x: float, y: float, validation: int) -> str:
    entries = (
        (Dot(0, 0, True, True), "the best trial; line: best so far"),
        (Dot(0, 0, True, False), "others"),
        (Dot(0, 0, False, False), "pruned, last accuracy seen"),
    )
    parts = []
    for dot, text in entries:
        parts.append(f'{_mark(x + 4, y - 4, dot, "")}<text x="{x + 14}" y="{y}">{text}</text>')
        x += 30 + 6.2 * len(text)
    return (
        "".join(parts)
        + f'<text x="14" y="{y + 18}" fill="{CUT}">Accuracy on {validation} validation'
        " recordings</text>"
    )
