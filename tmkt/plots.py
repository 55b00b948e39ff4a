"""Plots as SVG text: scales, marks and charts.

Marks have classes and no colours: a page's style colours them, or the style of the file.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from xml.sax.saxutils import escape

FONT = "DejaVu Sans, Helvetica, Arial, sans-serif"


@dataclass(frozen=True)
class Scale:
    """Map from values `low` to `high` to coordinates `start` to `end`, linear or logarithmic."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high = self.low, self.high
        if self.log:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.start + (self.end - self.start) * (value - low) / (high - low)


class Chart(NamedTuple):
    """Marks on a surface of `width` x `height` pixels; `says`: what they show, in words."""

    width: float
    height: float
    marks: list[str]
    says: str

    def inline(self, natural: bool = False) -> str:
        """Make an SVG element of a page, as wide as its place, or `natural`: never enlarged."""
        size = f' style="max-width: {self.width:g}px"' if natural else ""
        return (
            f'<svg viewBox="0 0 {self.width:g} {self.height:g}" role="img"'
            f' aria-label="{_attribute(self.says)}"{size}>{"".join(self.marks)}</svg>'
        )

    def file(self, style: str) -> str:
        """Make an SVG file on white; `style` is the CSS of the marks' classes."""
        width, height = f"{self.width:g}", f"{self.height:g}"
        body = "\n".join(self.marks)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
            f' width="{width}" height="{height}" font-family="{FONT}" font-size="11">\n'
            f"<style>\n{style}</style>\n"
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>\n{body}\n</svg>\n'
        )


def _attribute(text: str) -> str:
    return escape(text, {'"': "&#34;", "'": "&#39;"})


def text(
    x: float, y: float, shown: str, kind: str = "", anchor: str = "start", rising: bool = False
) -> str:
    """Write text; `anchor`: "start", "middle" or "end" of it is at x; `rising`: at 45 degrees."""
    at = "" if anchor == "start" else f' text-anchor="{anchor}"'
    at += f' transform="rotate(-45 {x:.5g} {y:.5g})"' if rising else ""
    return f'<text{_kind(kind)} x="{x:.5g}" y="{y:.5g}"{at}>{_attribute(shown)}</text>'


def line(kind: str, *, x: tuple[float, float], y: tuple[float, float]) -> str:
    """Draw a straight line from (x[0], y[0]) to (x[1], y[1])."""
    return f'<line{_kind(kind)} x1="{x[0]:.1f}" x2="{x[1]:.1f}" y1="{y[0]:.1f}" y2="{y[1]:.1f}"/>'


def polyline(kind: str, points: Iterable[tuple[float, float]]) -> str:
    """Draw lines from point to point."""
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline{_kind(kind)} points="{at}"/>'


def dot(kind: str, x: float, y: float, radius: float, title: str = "") -> str:
    """Draw a disc; `title` is shown under the pointer."""
    return (
        f'<circle{_kind(kind)} r="{radius:g}" cx="{x:.1f}" cy="{y:.1f}"{_titled("circle", title)}'
    )


def cross(kind: str, x: float, y: float, title: str = "") -> str:
    """Draw a small cross; `title` is shown under the pointer."""
    return f'<path{_kind(kind)} d="M{x - 3:.1f} {y - 3:.1f}l6 6m0 -6l-6 6"{_titled("path", title)}'


def box(kind: str, x: float, y: float, width: float, height: float, rounded: float = 0) -> str:
    """Draw a rectangle, its corners rounded by so many pixels."""
    corners = f' rx="{rounded:g}"' if rounded else ""
    return (
        f'<rect{_kind(kind)} x="{x:.5g}" y="{y:.5g}" width="{width:.5g}" height="{height:.5g}"'
        f"{corners}/>"
    )


def error_bar(
    kind: str, low: float, high: float, *, at: float, upright: bool = False, cap: float = 4
) -> str:
    """Draw an interval as a line with caps: along y at x = `at` if upright, else along x at y."""
    beside = (at - cap, at + cap)
    ends = ((low, low), (high, high))
    if upright:
        caps = [line(kind, x=beside, y=end) for end in ends]
        return line(kind, x=(at, at), y=(low, high)) + "".join(caps)
    caps = [line(kind, x=end, y=beside) for end in ends]
    return line(kind, x=(low, high), y=(at, at)) + "".join(caps)


def moved(x: float, y: float, marks: Iterable[str]) -> str:
    """Group marks and move them right and down."""
    return f'<g transform="translate({x:g} {y:g})">{"".join(marks)}</g>'


def rows_of_grid(y: Scale, left: float, right: float, ticks: Sequence[tuple[float, str]]) -> str:
    """Draw a grid line across for each tick (value, text), its text to the left."""
    parts = []
    for value, shown in ticks:
        parts.append(line("grid", x=(left, right), y=(y(value), y(value))))
        parts.append(text(left - 5, y(value) + 4, shown, "tick", "end"))
    return "".join(parts)


def _kind(kind: str) -> str:
    return f' class="{kind}"' if kind else ""


def _titled(element: str, title: str) -> str:
    return f"><title>{escape(title)}</title></{element}>" if title else "/>"
