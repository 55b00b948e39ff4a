"""What the command line prints: tables and JSON on standard output; progress, logs and errors on standard error."""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[..., None]
command_line = False  # whether people read what is noted: the command line sets it, libraries stay silent


def error(message: str) -> None:
    """One line on standard error."""
    print(f"tmkt: {' '.join(message.split())}", file=sys.stderr)


def note(message: str) -> None:
    """A line for people on standard error, out of the way of results."""
    print(message, file=sys.stderr, flush=True)


def emit_json(report: dict[str, Any]) -> None:
    """The one JSON object on standard output."""
    print(json.dumps(report, indent=1))


def table(title: str, columns: list[str], rows: list[list[object]]) -> None:
    """A table on standard output; numbers are aligned right, None is shown as a dash."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    out = Table(title=Text(title), title_justify="left")
    for i, column in enumerate(columns):
        numeric = all(row[i] is None or isinstance(row[i], int | float) or str(row[i])[:1].isdigit() for row in rows)
        out.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        out.add_row(*(Text("-" if cell is None else str(cell)) for cell in row))  # Text: "tmkt[lava]" is no markup
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False).print(out)


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


def evaluation_table(report: dict[str, Any]) -> None:
    """An evaluation's figures, and how often each class was taken for which."""
    rows: list[list[object]] = [
        ["recordings", f"{report['samples']} ({report['split']} split)"],
        ["accuracy (95 % interval)", percent(report["accuracy"], report["accuracy_ci95"])],
        ["spikes a recording", f"{report['spikes_per_sample']:,.0f}"],
        ["synaptic operations a recording", f"{report['synops_per_sample']:,.0f}"],
        ["neuron updates a recording", f"{report['neuron_updates_per_sample']:,.0f}"],
        ["time a recording", f"{1e3 * report['seconds_per_sample']:.3g} ms"],
    ]
    rows += [[name.replace("_", " "), n] for name, n in (report["faults"] or {}).items()]
    table(f"{report['bundle']} on {report['engine']}", ["", "value"], rows)
    classes = report["classes"]
    confusion: list[list[object]] = [[name, *(n or "" for n in row)] for name, row in zip(classes, report["confusion"], strict=True)]
    table("Taken for (columns) instead of (rows)", ["", *classes], confusion)


def parity_table(*reports: dict[str, Any]) -> None:
    """Parity reports, a row an engine; where engines differ, by layer and with the first divergence. The float network's spikes differ by
    rounding: a share of them is shown."""
    engines = [engine for report in reports for engine in report["engines"]]
    rows: list[list[object]] = []
    for report in reports:
        for engine in report["engines"]:
            differing = engine["spike_mismatches"]
            if not engine["exact"] and differing is not None:
                why = "" if engine["first_divergence"] else ", by rounding"
                differing = f"{percent(differing / engine['spikes_compared'])} of all{why}"
            accuracy = percent(engine["accuracy"], engine["accuracy_ci95"])
            agreement = percent(engine["prediction_agreement"], engine["prediction_agreement_ci95"])
            p = f"{engine['mcnemar']['p']:.2g}"
            rows.append([engine["name"], report["samples"], accuracy, agreement, p, differing, engine["membrane_mismatches"]])
    failures = [failure for report in reports for failure in report["failures"]]
    verdict = "FAILED: " + "; ".join(failures) if failures else "passed"
    columns = ["engine", "recordings", "accuracy (95 % interval)", "same prediction (95 %)", "McNemar's p", "spike mismatches", "membrane mismatches"]
    table(f"Parity with the {reports[0]['reference']}: {verdict}", columns, rows)
    for engine in engines:
        if engine["first_divergence"]:
            _divergence(engine)
    faults = {name: n for report in reports for name, n in (report["faults"] or {}).items() if n}
    if faults:
        note("Beyond the chip's ranges while running: " + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in faults.items()))


def _divergence(engine: dict[str, Any]) -> None:
    """One engine's mismatches by layer, and its first divergence in a few lines."""
    rows: list[list[object]] = []
    for layer in engine["layers"]:
        for what, kind in (("spikes", "spike"), ("membranes", "membrane")):
            if compared := layer[f"{what}_compared"]:
                differing = layer[f"{kind}_mismatches"]
                rows.append([layer["name"], what, f"{compared:,}", f"{differing:,}", f"{100 * differing / compared:.3g} %"])
    table(f"{engine['name']} by layer", ["layer", "what", "compared", "differ", "share"], rows)
    first = engine["first_divergence"]
    where = f"sample {first['sample']}, layer {first['layer']}, step {first['step']}, neuron {first['neuron']}"
    print(f"{engine['name']} first differs at {where}: {_short(first['found'])}, expected {_short(first['expected'])}")
    if "membrane" in first:
        for side, ending in (("here", ""), (engine["name"], "_found")):
            shown = f"{first[f'membrane{ending}']:,}" if first[f"membrane{ending}"] is not None else "unknown"
            incoming = "unknown" if first[f"incoming_sum{ending}"] is None else f"{first[f'incoming_sum{ending}']:,}"
            limit = "" if first["threshold"] is None else f", threshold {first['threshold']:,}"
            print(f"  {side + ':':<12}incoming sum {incoming}, membrane {shown}{limit}")
    if first["explanation"] is None:
        print("  cause:      unknown, none of the faults that are looked for explains it")
    else:
        print(f"  cause:      likely {first['cause']}: {first['explanation']}")
    for candidate in first["candidates"][:4]:
        explained = f"{_short(first['differing'] - candidate['unexplained'])} of {_short(first['differing'])}"
        if candidate["explanation"] == first["explanation"]:
            print(f"  explains:   {explained} values that differ in this layer and {first['samples_examined']} recordings")
        else:
            print(f"  perhaps:    {candidate['cause']}: {candidate['explanation']}; explains {explained}")


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def energy_table(report: dict[str, Any]) -> None:
    """The energy estimates with their intervals, then what each includes and leaves out, and its sources."""
    estimates = report["estimates"]
    rows: list[list[object]] = [
        [e["estimator"], e["device"], joules(e["energy_j"]), f"{joules(e['low_j'])} to {joules(e['high_j'])}"] for e in estimates
    ]
    table(f"Energy of one inference, mean of {report['samples']} recordings", ["estimator", "device", "estimate", "interval"], rows)
    for e in estimates:
        print(f"{e['estimator']}")
        for title, lines in (("includes", e["includes"]), ("leaves out", e["excludes"]), ("source", re.split(r"(?<=\)); ", e["source"]))):
            print("\n".join(f"  {title + ':' if i == 0 else '':<12}{line}" for i, line in enumerate(lines)))
