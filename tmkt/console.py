"""What the command line prints: tables and JSON on standard output; progress, logs and errors on
standard error.
"""

import json
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

Progress = Callable[..., None]
MOST_ROWS = 40  # of a table of steps, layers or classes
quiet = False  # results and errors only
command_line = (
    False  # whether people read what is noted: the command line sets it, libraries stay silent
)


def error(message: str) -> None:
    """One line on standard error."""
    print(f"tmkt: {' '.join(message.split())}", file=sys.stderr)


def note(message: str) -> None:
    """A line for people on standard error, out of the way of results; none if they asked for quiet."""
    if not quiet:
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
        numeric = all(
            row[i] is None or isinstance(row[i], int | float) or str(row[i])[:1].isdigit()
            for row in rows
        )
        out.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        out.add_row(
            *(Text("-" if cell is None else str(cell)) for cell in row)
        )  # Text: "tmkt[lava]" is no markup
    width = None if sys.stdout.isatty() else 160
    Console(width=width, highlight=False, markup=False).print(out)


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int, dict[str, float] | None], None]]:
    """Gives a function (done, total, figures) that draws a bar with rate and time left; without a
    terminal, a line each 10 seconds.
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
    """ "91.3 % (88.4-93.5)" from shares of one."""
    if share is None:
        return None
    text = f"{round(100 * share, 1) + 0.0:.1f} %"  # + 0: a rounded-off minus goes
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
    confusion: list[list[object]] = [
        [name, *(n or "" for n in row)]
        for name, row in zip(classes, report["confusion"], strict=True)
    ]
    table("Taken for (columns) instead of (rows)", ["", *classes], confusion)


def parity_table(*reports: dict[str, Any]) -> None:
    """Parity reports, a row an engine; where engines differ, by layer and with the first
    divergence. The float network's spikes differ by rounding: a share of them is shown.
    """
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
            rows.append(
                [
                    engine["name"],
                    report["samples"],
                    accuracy,
                    agreement,
                    p,
                    differing,
                    engine["membrane_mismatches"],
                ]
            )
    failures = [failure for report in reports for failure in report["failures"]]
    verdict = "FAILED: " + "; ".join(failures) if failures else "passed"
    columns = [
        "engine",
        "recordings",
        "accuracy (95 % interval)",
        "same prediction (95 %)",
        "McNemar's p",
        "spike mismatches",
        "membrane mismatches",
    ]
    table(f"Parity with the {reports[0]['reference']}: {verdict}", columns, rows)
    for engine in engines:
        if engine["first_divergence"]:
            _divergence(engine)
    faults = {name: n for report in reports for name, n in (report["faults"] or {}).items() if n}
    if faults:
        note(
            "Beyond the chip's ranges while running: "
            + ", ".join(f"{n} {name.replace('_', ' ')}" for name, n in faults.items())
        )


def _divergence(engine: dict[str, Any]) -> None:
    """One engine's mismatches by layer, and its first divergence in a few lines."""
    rows: list[list[object]] = []
    for layer in engine["layers"]:
        for what, kind in (("spikes", "spike"), ("membranes", "membrane")):
            if compared := layer[f"{what}_compared"]:
                differing = layer[f"{kind}_mismatches"]
                rows.append(
                    [
                        layer["name"],
                        what,
                        f"{compared:,}",
                        f"{differing:,}",
                        f"{100 * differing / compared:.3g} %",
                    ]
                )
    table(f"{engine['name']} by layer", ["layer", "what", "compared", "differ", "share"], rows)
    first = engine["first_divergence"]
    where = (
        f"sample {first['sample']}, layer {first['layer']}, step {first['step']}, neuron"
        f" {first['neuron']}"
    )
    print(
        f"{engine['name']} first differs at {where}: {_short(first['found'])}, expected"
        f" {_short(first['expected'])}"
    )
    if "membrane" in first:
        for side, ending in (("here", ""), (engine["name"], "_found")):
            shown = (
                f"{first[f'membrane{ending}']:,}"
                if first[f"membrane{ending}"] is not None
                else "unknown"
            )
            incoming = (
                "unknown"
                if first[f"incoming_sum{ending}"] is None
                else f"{first[f'incoming_sum{ending}']:,}"
            )
            limit = "" if first["threshold"] is None else f", threshold {first['threshold']:,}"
            print(f"  {side + ':':<12}incoming sum {incoming}, membrane {shown}{limit}")
    if first["explanation"] is None:
        print("  cause:      unknown, none of the faults that are looked for explains it")
    else:
        print(f"  cause:      likely {first['cause']}: {first['explanation']}")
    for candidate in first["candidates"][:4]:
        explained = (
            f"{_short(first['differing'] - candidate['unexplained'])} of"
            f" {_short(first['differing'])}"
        )
        if candidate["explanation"] == first["explanation"]:
            print(
                f"  explains:   {explained} values that differ in this layer and"
                f" {first['samples_examined']} recordings"
            )
        else:
            print(
                f"  perhaps:    {candidate['cause']}: {candidate['explanation']}; explains"
                f" {explained}"
            )


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"


def _interval(figures: dict[str, Any], shown: Callable[[float | None], str | None] = joules) -> str:
    return f"{shown(figures['low_j'])} to {shown(figures['high_j'])}"


def watts(value: float | None) -> str | None:
    """Joules a second, three digits."""
    shown = joules(value)
    return None if shown is None else shown[:-1] + "W"


def energy_table(report: dict[str, Any]) -> None:
    """The energy estimates with their intervals, where the first one's energy goes, the ANN's, then
    what each includes and leaves out.
    """
    estimates = report["estimates"]
    rows: list[list[object]] = []
    for e in estimates:
        second = e["per_second"]
        spread = joules(e["sd_j"])
        stream = f"{watts(second['energy_j'])} ({_interval(second, watts)})"
        rows.append(
            [e["estimator"], e["device"], joules(e["energy_j"]), _interval(e), spread, stream]
        )
    rows += [
        [e["estimator"], e["device"], None, f"unknown: {e['reason']}", None, None]
        for e in report["unknown"]
    ]
    columns = [
        "estimator",
        "device",
        "estimate",
        "interval of its assumptions",
        "sd over recordings",
        "a second of stream",
    ]
    table(
        f"Energy of one inference, mean of {report['samples']} recordings of"
        f" {report['seconds_of_stream']:.3g} s",
        columns,
        rows,
    )
    for of, key, name in (
        ("layer", "layers", "name"),
        ("class", "classes", "name"),
        ("step", "steps", "step"),
    ):
        names = [entry[name] for entry in estimates[0][key]]
        if len(names) > MOST_ROWS:
            print(f"By {of}: {len(names)} of them, see --csv or --json")
            continue
        inner = [e for e in estimates if [entry[name] for entry in e[key]] == names]
        rows = [
            [
                shown,
                *(f"{joules(e[key][i]['energy_j'])} ({_interval(e[key][i])})" for e in inner[:3]),
            ]
            for i, shown in enumerate(names)
        ]
        table(f"By {of}", [of, *(e["estimator"] for e in inner[:3])], rows)
    _ann(report["ann"])
    operations = report["neurobench"]["SynapticOperations"]
    counted = ", ".join(
        f"{name.replace('_', ' ')} {value:,.0f}" for name, value in operations.items()
    )
    print(f"NeuroBench's counts, operations and no joules: {counted}")
    if "measured" in report:
        _measured(report["measured"])
    measured = [
        {**m, "estimator": "measured"}
        for m in [report.get("measured")]
        if m is not None and m["reason"] is None
    ]
    _receipts(
        [
            *estimates,
            *({**c, "estimator": f"ANN, {c['comparison']}"} for c in report["ann"]),
            *measured,
        ]
    )


def _measured(m: dict[str, Any]) -> None:
    """The interval spans the idle power taken before and after."""
    known = (
        f"{joules(m['energy_j'])} an inference above idle ({_interval(m)}), idle"
        f" {watts(m['idle_w'])}"
    )
    print(
        f"Measured on this machine's processor, {m['engine']}:"
        f" {known if m['reason'] is None else 'unknown, ' + m['reason']}"
    )


def _ann(comparisons: list[dict[str, Any]]) -> None:
    rows: list[list[object]] = []
    verdicts = {
        True: "spiking costs less",
        False: "the ANN costs less",
        None: "undecided: inside the interval",
    }
    for c in comparisons:
        interval = f"{100 * c['crossover_low']:.1f} to {100 * c['crossover_high']:.1f} %"
        ann = f"{joules(c['energy_j'])} ({_interval(c)})"
        rows.append(
            [
                c["comparison"],
                c["device"],
                c["activation_bits"],
                ann,
                f"{100 * c['crossover']:.1f} %",
                interval,
                verdicts[c["spiking_wins"]],
            ]
        )
    columns = [
        "comparison",
        "device",
        "activation bits",
        "the ANN's energy",
        "crossover",
        "interval",
        "verdict",
    ]
    table(
        f"The same network as a quantised ANN; spikes reach {percent(comparisons[0]['rate'])} of"
        " all synapses a step",
        columns,
        rows,
    )


def energy_comparison(report: dict[str, Any]) -> None:
    """Two bundles: energies with their intervals, and their ratio with its own."""
    rows: list[list[object]] = []
    for c in report["comparisons"]:
        sides = [
            f"{joules(c[side]['energy_j'])} ({_interval(c[side])})" for side in ("first", "second")
        ]
        ratio, ci95 = c["ratio"], c["ratio_ci95"]
        shown = (
            None
            if ratio is None
            else f"{ratio:.3g}" + ("" if ci95 is None else f" ({ci95[0]:.3g}-{ci95[1]:.3g})")
        )
        assumed = (
            None if c["ratio_low"] is None else f"{c['ratio_low']:.3g} to {c['ratio_high']:.3g}"
        )
        rows.append([c["estimator"], c["device"], *sides, shown, assumed])
    columns = [
        "estimator",
        "device",
        *report["bundles"],
        "ratio (95 % over recordings)",
        "by assumption",
    ]
    table(f"Energy of one inference over the same {report['samples']} recordings", columns, rows)
    for e in report["unknown"]:
        note(f"{e['estimator']} on {e['device']}, {e['bundle']} bundle: unknown, {e['reason']}")
    _receipts(report["comparisons"])


def _receipts(estimates: list[dict[str, Any]]) -> None:
    for e in estimates:
        print(f"{e['estimator']}")
        sources = re.split(r"(?<=\)); (?=\w+ [\d.]+)", e["source"])  # a constant a line
        for title, lines in (
            ("includes", e["includes"]),
            ("leaves out", e["excludes"]),
            ("source", sources),
        ):
            print(
                "\n".join(
                    f"  {title + ':' if i == 0 else '':<12}{line}" for i, line in enumerate(lines)
                )
            )
