"""What the command line prints: tables and JSON on standard output; progress, logs and errors on standard error."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[..., None]


def error(message: str) -> None:
    """One line on standard error."""
    print(f"tmkt: {' '.join(message.split())}", file=sys.stderr)


def note(message: str) -> None:
    """A line for people on standard error, out of the way of results."""
    print(message, file=sys.stderr, flush=True)


def emit_json(report: dict[str, Any]) -> None:
    """The one JSON object on standard output."""
    print(json.dumps(report, indent=1))


def table(title: str, columns: list[str], rows: list[list[object]], caption: str | None = None) -> None:
    """A table on standard output; numbers are aligned right, None is shown as a dash."""
    from rich.console import Console
    from rich.table import Table

    out = Table(title=title, title_justify="left", caption=caption, caption_justify="left")
    for i, column in enumerate(columns):
        numeric = all(row[i] is None or isinstance(row[i], int | float) or str(row[i])[:1].isdigit() for row in rows)
        out.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        out.add_row(*("-" if cell is None else str(cell) for cell in row))
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False).print(out)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, dict[str, float] | None], None]]:
    """Gives a function (done, total, figures) that draws a bar with rate and time left; without a terminal, a line each 10 seconds."""
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
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"), TimeElapsedColumn())
    with Progress(*columns, TextColumn("left"), TimeRemainingColumn(), TextColumn("{task.fields[figures]}"), console=Console(stderr=True)) as bar:
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


def percent(share: float | None, interval: tuple[float, float] | list[float] | None = None) -> str | None:
    """ "91.3 % (88.4-93.5)" from shares of one."""
    if share is None:
        return None
    text = f"{100 * share:.1f} %"
    return text if interval is None else f"{text} ({100 * interval[0]:.1f}-{100 * interval[1]:.1f})"


def joules(value: float | None) -> str | None:
    """Joules with a prefix, three digits."""
    if value is None:
        return None
    for unit, factor in (("J", 1.0), ("mJ", 1e-3), ("µJ", 1e-6), ("nJ", 1e-9)):
        if value >= factor:
            return f"{value / factor:.3g} {unit}"
    return f"{value / 1e-12:.3g} pJ"


def cell(key: str, value: object) -> object:
    """A figure of a report as a person reads it."""
    if isinstance(value, float):
        return f"{value:.2g} s" if key.startswith("seconds") else f"{value:,.1f}"
    return value


def parity_table(report: dict[str, Any]) -> None:
    """The parity report, a row an engine."""
    rows: list[list[object]] = []
    for engine in report["engines"]:
        first = engine["first_divergence"]
        where = None if first is None else f"sample {first['sample']}, {first['layer']}, step {first['step']}, neuron {first['neuron']}"
        accuracy = percent(engine["accuracy"], engine["accuracy_ci95"])
        agreement = percent(engine["prediction_agreement"])
        rows.append([engine["name"], accuracy, agreement, engine["spike_mismatches"], engine["membrane_mismatches"], where])
    verdict = "passed" if report["passed"] else "FAILED: " + "; ".join(report["failures"])
    columns = ["engine", "accuracy (95 % interval)", "same prediction", "spike mismatches", "membrane mismatches", "first divergence"]
    table(f"Parity with the {report['reference']} on {report['samples']} recordings: {verdict}", columns, rows)


def energy_table(report: dict[str, Any]) -> None:
    """The energy estimates, each with its interval, what it includes and what it leaves out."""
    rows: list[list[object]] = []
    for e in report["estimates"]:
        interval = f"{joules(e['low_j'])} to {joules(e['high_j'])}"
        rows.append(
            [f"{e['estimator']} ({e['device']})", joules(e["energy_j"]), interval, "\n".join(e["includes"]), "\n".join(e["excludes"]), e["source"]]
        )
    columns = ["estimator (device)", "per inference", "interval", "includes", "leaves out", "source"]
    table(f"Energy of one inference, mean of {report['samples']} recordings", columns, rows)
