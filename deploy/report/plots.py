"""Plots of a page: learning curves, energies with intervals, and the cores of a chip.

Colours come from the page's style, so that they follow light and dark.
"""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tmkt.deploy.energy.plot import intervals_chart
from tmkt.plots import Chart, Scale, box, dot, polyline, rows_of_grid, text

WIDTH, HEIGHT = 320, 150  # of a curve
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 22
MOST_CHIPS = 4  # drawn
CELL, GAP = 18, 5  # pixels of a core, and around a node of cores
BETWEEN_CHIPS = 12
COLOURS = 6  # of layers, then the first again


def curve(name: str, lines: Sequence[tuple[str, Sequence[Sequence[float]]]]) -> Markup:
    """Draw one or two labelled lines of [step, value] pairs; a single pair is a dot."""
    points = [point for _, line in lines for point in line]
    if not points:
        return Markup("")
    last = max(point[0] for point in points)
    low, high = min(point[1] for point in points), max(point[1] for point in points)
    low = 0.0 if 0 <= low < high / 2 else low
    high = high if high > low else low + max(1.0, 1e-6 * abs(low))
    x = Scale(0, max(last, 1), LEFT, WIDTH - RIGHT)
    y = Scale(low, high, HEIGHT - BOTTOM, TOP)
    ticks = [(value, f"{value:.3g}") for value in (low, low + (high - low) / 2, high)]
    marks = [
        rows_of_grid(y, LEFT, WIDTH - RIGHT, ticks),
        text(LEFT, HEIGHT - 6, "0", "tick"),
        text(WIDTH - RIGHT, HEIGHT - 6, f"step {last:g}", "tick", "end"),
    ]
    for i, (_, line) in enumerate(lines):
        at = [(x(step), y(value)) for step, value in line]
        marks.append(polyline(f"line{i}", at) if len(at) > 1 else dot(f"dot{i}", *at[0], 3))
    ends = "; ".join(
        f"{label + ' ' if label else ''}{line[0][1]:.3g} at first, {line[-1][1]:.3g} at last"
        for label, line in lines
        if line
    )
    return Markup(Chart(WIDTH, HEIGHT, marks, f"{name}: {ends}").inline())


def intervals(rows: Sequence[tuple[str, Sequence[dict[str, float]]]]) -> Markup:
    """Draw energies with their intervals on a logarithmic axis, a row per estimator."""
    chart = intervals_chart(rows)
    return Markup("" if chart is None else chart.inline())


def core_map(fit: dict[str, Any]) -> Markup:
    """Draw the first chips of a placement on their mesh.

    A square is a core; the number in it is that of its layer, counted from 1.
    """
    if fit["cores"] is None:
        return Markup("")
    owners = [i for i, layer in enumerate(fit["layers"]) for _ in range(layer["cores"])]
    node, rows, cores = fit["mesh"]["cores_per_node"], fit["mesh"]["rows"], fit["cores_per_chip"]
    side = math.ceil(math.sqrt(node))
    columns = math.ceil(math.ceil(cores / node) / rows)
    step = side * CELL + GAP
    width, height = columns * step + GAP, rows * step + GAP
    shown = min(fit["chips"], MOST_CHIPS)
    marks = []
    for chip in range(shown):
        left = chip * (width + BETWEEN_CHIPS)
        marks.append(box("chip", left + 0.5, 0.5, width, height, rounded=4))
        for core in range(cores):
            column, row = divmod(core // node, rows)
            down, across = divmod(core % node, side)
            x, y = left + GAP + column * step + across * CELL, GAP + row * step + down * CELL
            at = chip * cores + core
            marks.append(_core(x, y, owners[at] if at < len(owners) else None))
    says = ", ".join(
        f"{i + 1} {layer['name']}: {layer['cores']}" for i, layer in enumerate(fit["layers"])
    )
    total = shown * (width + BETWEEN_CHIPS) - BETWEEN_CHIPS + 1
    chart = Chart(total, height + 1, marks, f"Cores on {fit['title']}: {says}")
    return Markup(chart.inline(natural=True))


def _core(x: float, y: float, owner: int | None) -> str:
    kind = "free" if owner is None else f"layer{owner % COLOURS}"
    square = box(f"core {kind}", x, y, CELL - 2, CELL - 2, rounded=2)
    if owner is None:
        return square
    return square + text(x + CELL / 2 - 1, y + CELL / 2 + 3, str(owner + 1), f"owner {kind}")
