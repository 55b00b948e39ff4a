"""Plots as SVG: curves, intervals, and the cores of a chip. Colours come from the page's style, so
that they follow light and dark.
"""

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from tmkt.console import joules
from tmkt.deploy.report.tables import energy_of

WIDTH, HEIGHT = 320, 150
LEFT, RIGHT, TOP, BOTTOM = 46, 8, 8, 22
MOST_CHIPS = 4  # drawn


def curve(name: str, lines: Sequence[tuple[str, Sequence[Sequence[float]]]]) -> Markup:
    """Lines of [step, value] pairs, one or two; the second is dashed. A single point is a dot."""
    points = [point for _, line in lines for point in line]
    if not points:
        return Markup("")
    last = max(point[0] for point in points)
    low, high = min(point[1] for point in points), max(point[1] for point in points)
    low = 0.0 if 0 <= low < high / 2 else low
    high = high if high > low else low + 1.0

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(last, 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    parts = [_axis(low, high, y), f'<text class="tick" x="{LEFT}" y="{HEIGHT - 6}">0</text>']
    parts.append(
        f'<text class="tick" x="{WIDTH - RIGHT}" y="{HEIGHT - 6}" text-anchor="end">step'
        f" {last:g}</text>"
    )
    for i, (_, line) in enumerate(lines):
        at = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in line)
        step, value = line[0]
        dot = f'<circle class="dot{i}" r="3" cx="{x(step):.1f}" cy="{y(value):.1f}"/>'
        parts.append(f'<polyline class="line{i}" points="{at}"/>' if len(line) > 1 else dot)
    ends = "; ".join(
        f"{label + ' ' if label else ''}{line[0][1]:.3g} at first, {line[-1][1]:.3g} at last"
        for label, line in lines
        if line
    )
    return _svg(WIDTH, HEIGHT, f"{name}: {ends}", parts)


def _axis(low: float, high: float, y: Any) -> str:
    parts = []
    for i in range(3):
        value = low + (high - low) * i / 2
        parts.append(
            f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(value):.1f}"'
            f' y2="{y(value):.1f}"/>'
        )
        parts.append(
            f'<text class="tick" x="{LEFT - 5}" y="{y(value) + 4:.1f}"'
            f' text-anchor="end">{value:.3g}</text>'
        )
    return "".join(parts)


def intervals(rows: Sequence[tuple[str, Sequence[dict[str, float]]]]) -> Markup:
    """Energies on a logarithmic axis, a row a name with one or two figures {energy_j, low_j,
    high_j}: a dot, and the interval as a bar.
    """
    figures = [figure for _, found in rows for figure in found]
    positive = [
        value for f in figures for value in (f["energy_j"], f["low_j"], f["high_j"]) if value > 0
    ]
    if not positive:
        return Markup("")
    first, last = math.floor(math.log10(min(positive))), math.ceil(math.log10(max(positive)))
    last = max(last, first + 1)
    left, width, row = 10, 400, 42
    height = row * len(rows) + 26

    def x(value: float) -> float:
        return left + (width - 2 * left) * (math.log10(max(value, 10.0**first)) - first) / (
            last - first
        )

    parts = []
    for power in range(first, last + 1):
        at = x(10.0**power)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="0" y2="{height - 22}"/>')
        anchor = "start" if power == first else "end" if power == last else "middle"
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{height - 6}"'
            f' text-anchor="{anchor}">{escape(joules(10.0**power * (1 + 1e-9)))}</text>'
        )
    for i, (name, found) in enumerate(rows):
        parts.append(f'<text class="name" x="{left}" y="{i * row + 15}">{escape(name)}</text>')
        for k, f in enumerate(found):
            y, low, high = i * row + 25 + 9 * k, x(f["low_j"]), x(f["high_j"])
            parts.append(f'<line class="bar{k}" x1="{low:.1f}" x2="{high:.1f}" y1="{y}" y2="{y}"/>')
            parts += [
                f'<line class="bar{k}" x1="{end:.1f}" x2="{end:.1f}" y1="{y - 4}" y2="{y + 4}"/>'
                for end in (low, high)
            ]
            parts.append(f'<circle class="dot{k}" cx="{x(f["energy_j"]):.1f}" cy="{y}" r="4.5"/>')
    says = "; ".join(f"{name} " + ", ".join(energy_of(f) for f in found) for name, found in rows)
    return _svg(width, height, says, parts)


def core_map(fit: dict[str, Any]) -> Markup:
    """The first chips of a placement on their mesh, a square a core; the number in it is that of
    its layer, counted from 1.
    """
    if fit["cores"] is None:
        return Markup("")
    owners = [i for i, layer in enumerate(fit["layers"]) for _ in range(layer["cores"])]
    node, rows, cores = fit["mesh"]["cores_per_node"], fit["mesh"]["rows"], fit["cores_per_chip"]
    side, cell, gap = math.ceil(math.sqrt(node)), 18, 5
    across = math.ceil(math.ceil(cores / node) / rows)
    step = side * cell + gap
    chip_width, chip_height = across * step + gap, rows * step + gap
    shown, parts = min(fit["chips"], MOST_CHIPS), []
    for chip in range(shown):
        left = chip * (chip_width + 12)
        parts.append(
            f'<rect class="chip" x="{left + 0.5}" y="0.5" width="{chip_width}"'
            f' height="{chip_height}" rx="4"/>'
        )
        for core in range(cores):
            column, row = divmod(core // node, rows)
            x = left + gap + column * step + core % node % side * cell
            y = gap + row * step + core % node // side * cell
            at = chip * cores + core
            owner = owners[at] if at < len(owners) else None
            kind = "free" if owner is None else f"layer{owner % 6}"
            parts.append(
                f'<rect class="core {kind}" x="{x}" y="{y}" width="{cell - 2}" height="{cell - 2}"'
                ' rx="2"/>'
            )
            if owner is not None:
                parts.append(
                    f'<text class="owner layer{owner % 6}" x="{x + cell / 2 - 1}"'
                    f' y="{y + cell / 2 + 3}">{owner + 1}</text>'
                )
    width = shown * (chip_width + 12) - 11
    says = ", ".join(
        f"{i + 1} {layer['name']}: {layer['cores']}" for i, layer in enumerate(fit["layers"])
    )
    return _svg(width, chip_height + 1, f"Cores on {fit['title']}: {says}", parts, natural=True)


def _svg(width: float, height: float, says: str, parts: list[str], natural: bool = False) -> Markup:
    size = f' style="max-width: {width:g}px"' if natural else ""
    return Markup(
        f'<svg viewBox="0 0 {width:g} {height:g}" role="img"'
        f' aria-label="{escape(says)}"{size}>{"".join(parts)}</svg>'
    )
