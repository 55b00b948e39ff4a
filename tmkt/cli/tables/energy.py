"""Terminal tables of energy estimates."""

import re
from collections.abc import Callable
from typing import Any

from tmkt.console import joules, joules_with_interval, note, percent, say, table, watts

MOST_ROWS = 40  # of a table of layers, classes or steps
MOST_COLUMNS = 3  # estimators beside each other in such a table


def print_energy(report: dict[str, Any]) -> None:
    """Print the estimates with their intervals, in all and by layer, class and step.

    Then the quantised ANN, NeuroBench's counts, what was measured, and what each figure includes
    and leaves out.
    """
    estimates = report["estimates"]
    _print_estimates(report)
    _print_by(estimates, "layer", "layers", "name")
    _print_by(estimates, "class", "classes", "name")
    _print_by(estimates, "step", "steps", "step")
    _print_ann(report["ann"])
    operations = report["neurobench"]["SynapticOperations"]
    counted = ", ".join(
        f"{name.replace('_', ' ')} {value:,.0f}" for name, value in operations.items()
    )
    say(f"NeuroBench's counts, operations and no joules: {counted}")
    measured = report.get("measured")
    receipts = [*estimates]
    receipts += [{**c, "estimator": f"ANN, {c['comparison']}"} for c in report["ann"]]
    if measured is not None:
        _print_measured(measured)
        if measured["reason"] is None:
            receipts.append({**measured, "estimator": "measured"})
    _print_receipts(receipts)


def print_energy_comparison(report: dict[str, Any]) -> None:
    """Print the energies of two bundles with their intervals, and the ratio with its own."""
    rows: list[list[object]] = []
    for c in report["comparisons"]:
        sides = [joules_with_interval(c[side]) for side in ("first", "second")]
        rows.append([c["estimator"], c["device"], *sides, _ratio(c), _assumed_ratio(c)])
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
    _print_receipts(report["comparisons"])


def _ratio(comparison: dict[str, Any]) -> str | None:
    if comparison["ratio"] is None:
        return None
    ci95 = comparison["ratio_ci95"]
    interval = "" if ci95 is None else f" ({ci95[0]:.3g}-{ci95[1]:.3g})"
    return f"{comparison['ratio']:.3g}{interval}"


def _assumed_ratio(comparison: dict[str, Any]) -> str | None:
    if comparison["ratio_low"] is None:
        return None
    return f"{comparison['ratio_low']:.3g} to {comparison['ratio_high']:.3g}"


def _interval(figures: dict[str, Any], shown: Callable[[float | None], str | None] = joules) -> str:
    return f"{shown(figures['low_j'])} to {shown(figures['high_j'])}"


def _print_estimates(report: dict[str, Any]) -> None:
    rows: list[list[object]] = []
    for e in report["estimates"]:
        second = e["per_second"]
        stream = f"{watts(second['energy_j'])} ({_interval(second, watts)})"
        energy, spread = joules(e["energy_j"]), joules(e["sd_j"])
        rows.append([e["estimator"], e["device"], energy, _interval(e), spread, stream])
    for e in report["unknown"]:
        rows.append([e["estimator"], e["device"], None, f"unknown: {e['reason']}", None, None])
    columns = [
        "estimator",
        "device",
        "estimate",
        "interval of its assumptions",
        "sd over recordings",
        "a second of stream",
    ]
    title = (
        f"Energy of one inference, mean of {report['samples']} recordings of"
        f" {report['seconds_of_stream']:.3g} s"
    )
    table(title, columns, rows)


def _print_by(estimates: list[dict[str, Any]], of: str, key: str, name: str) -> None:
    """Print one table of the first estimators that divide their energy comparable."""
    names = [entry[name] for entry in estimates[0][key]]
    if len(names) > MOST_ROWS:
        say(f"By {of}: {len(names)} of them, see --csv or --json")
        return
    comparable = [e for e in estimates if [entry[name] for entry in e[key]] == names][:MOST_COLUMNS]
    rows: list[list[object]] = [
        [shown, *(joules_with_interval(e[key][i]) for e in comparable)]
        for i, shown in enumerate(names)
    ]
    table(f"By {of}", [of, *(e["estimator"] for e in comparable)], rows)


def _print_measured(m: dict[str, Any]) -> None:
    if m["reason"] is None:  # the interval comes from the idle power taken before and after
        energy = f"{joules(m['energy_j'])} an inference above idle ({_interval(m)})"
        found = f"{energy}, idle {watts(m['idle_w'])}"
    else:
        found = f"unknown, {m['reason']}"
    say(f"Measured on this machine's processor, {m['engine']}: {found}")


def _print_ann(comparisons: list[dict[str, Any]]) -> None:
    verdicts = {
        True: "spiking costs less",
        False: "the ANN costs less",
        None: "undecided: inside the interval",
    }
    rows: list[list[object]] = [
        [
            c["comparison"],
            c["device"],
            c["activation_bits"],
            joules_with_interval(c),
            f"{100 * c['crossover']:.1f} %",
            f"{100 * c['crossover_low']:.1f} to {100 * c['crossover_high']:.1f} %",
            verdicts[c["spiking_wins"]],
        ]
        for c in comparisons
    ]
    columns = [
        "comparison",
        "device",
        "activation bits",
        "the ANN's energy",
        "crossover",
        "interval",
        "verdict",
    ]
    title = (
        f"The same network as a quantised ANN; spikes reach {percent(comparisons[0]['rate'])} of"
        " all synapses a step"
    )
    table(title, columns, rows)


def _print_receipts(estimates: list[dict[str, Any]]) -> None:
    """Print what each estimate includes, what it leaves out, and its sources."""
    for e in estimates:
        say(e["estimator"])
        sources = re.split(r"(?<=\)); (?=\w+ [\d.]+)", e["source"])  # a constant a line
        _print_lines("includes", e["includes"])
        _print_lines("leaves out", e["excludes"])
        _print_lines("source", sources)


def _print_lines(title: str, lines: list[str]) -> None:
    for i, line in enumerate(lines):
        start = f"{title}:" if i == 0 else ""
        say(f"  {start:<12}{line}")
