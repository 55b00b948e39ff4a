"""Output of the command line: tables and JSON on standard output, all else on standard error.

The tables of each subject are in tmkt/cli/tables.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[..., None]
quiet = False  # results and errors only
command_line = False  # True where people read the notes: set by the command line
# What a terminal obeys instead of showing it: control characters, and marks that turn text around.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """Escape control characters, as in "\\x1b": names of files and classes may hold any."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def error(message: str) -> None:
    """Print an error as one line on standard error."""
    print(f"tmkt: {printable(' '.join(message.split()))}", file=sys.stderr)


def note(message: str) -> None:
    """Print a line for people on standard error, unless they asked for quiet."""
    if not quiet:
        print(printable(message), file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Print a line of a result on standard output."""
    print(printable(line), flush=True)


def emit_json(report: dict[str, Any], indent: int | None = 1) -> None:
    """Print a JSON object on standard output; in one line if `indent` is None."""
    print(json.dumps(report, indent=indent), flush=True)


def table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """Print a table on standard output: numbers aligned right, None as a dash."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Table(title=Text(printable(title)), title_justify="left")
    for i, column in enumerate(columns):
        numeric = all(
            row[i] is None or isinstance(row[i], int | float) or str(row[i])[:1].isdigit()
            for row in rows
        )
        heading = Text(printable(column))
        out.add_column(heading, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        # Text, so that the brackets of "tmkt[lava]" are no markup
        out.add_row(*(Text("-" if cell is None else printable(str(cell))) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False).print(out)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, dict[str, float] | None], None]]:
    """Yield a function (done, total, figures) that draws a bar with rate and time left.

    Without a terminal it prints a line every 10 seconds.
    """
    if quiet:
        yield lambda *_: None
        return
    if sys.stderr.isatty():
        yield from _bar(what)
        return
    begin = last = time.monotonic()

    def line(done: int, total: int, figures: dict[str, float] | None = None) -> None:
        nonlocal last
        now = time.monotonic()
        if done and now - last >= 10:
            last = now
            left = (now - begin) / done * (total - done)
            shown = "".join(f", {key} {value:.3g}" for key, value in (figures or {}).items())
            note(f"{what}: {done}/{total}, {left:.0f} s left{shown}")

    yield line


def _bar(what: str) -> Iterator[Callable[[int, int, dict[str, float] | None], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns,
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
        console=Console(stderr=True),
    ) as bar:
        task = bar.add_task(what, total=None, rate="", figures="")
        begin, first = time.monotonic(), None

        def update(done: int, total: int, figures: dict[str, float] | None = None) -> None:
            nonlocal begin, first
            if first is None:
                first, begin = done, time.monotonic()
            seconds = time.monotonic() - begin
            rate = f"{(done - first) / seconds:.1f}/s" if seconds > 0.5 and done > first else ""
            shown = " ".join(f"{key} {value:.3g}" for key, value in (figures or {}).items())
            bar.update(task, completed=done, total=total, rate=rate, figures=shown)

        yield update


def percent(
    share: float | None, interval: tuple[float, float] | list[float] | None = None
) -> str | None:
    """Format a share of one and its interval: "91.3 % (88.4-93.5)"."""
    if share is None:
        return None
    text = f"{round(100 * share, 1) + 0.0:.1f} %"  # + 0.0 turns -0.0 into 0.0
    return text if interval is None else f"{text} ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"


def joules(value: float | None) -> str | None:
    """Format joules with a prefix and three digits: "175 µJ"."""
    if value is None:
        return None
    for unit, factor in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"


def joules_with_interval(figures: dict[str, Any]) -> str:
    """Format an energy {energy_j, low_j, high_j}: "1.2 µJ (1 µJ to 2 µJ)"."""
    energy, low, high = (joules(figures[key]) for key in ("energy_j", "low_j", "high_j"))
    return f"{energy} ({low} to {high})"


def watts(value: float | None) -> str | None:
    """Format watts with a prefix and three digits: "15 mW"."""
    shown = joules(value)
    return None if shown is None else shown[:-1] + "W"
