"""Terminal tables of energy estimates."""

import re
from typing import Any

from tmkt.cli.tables.table import table
from tmkt.console import joules, joules_with_interval, note, percent, say, significant, watts

MOST_ROWS = 40  # of a table of layers, classes or steps
MOST_COLUMNS = 3  # estimators beside each other in such a table


def print_energy(report: dict[str, Any], receipts: bool = False) -> None:
    """Print the estimates with their intervals, the shares of layers, the quantised ANN, what was
    measured, and at the end one line a chip.

    `receipts`: also the shares of classes and steps, NeuroBench's counts, and what each figure
    includes, leaves out and rests on.
    """
    estimates, measured = report["estimates"], report.get("measured")
    if receipts:
        _print_receipts(_with_receipts(report))
        _print_by(estimates, "class", "classes", "name")
        _print_by(estimates, "step", "steps", "step")
        _print_neurobench(report["neurobench"])
    _print_by(estimates, "layer", "layers", "name")
    _print_ann(report["ann"])
    _print_estimates(report)
    if measured is not None:
        _print_measured(measured)
    _print_headline(estimates)
    if not receipts:
        note("What each figure includes, leaves out and rests on: --receipts")


def print_energy_comparison(report: dict[str, Any], receipts: bool = False) -> None:
    """Print the energies of two bundles, their ratio with its intervals, and at the end one line a
    chip; with `receipts`, what each figure includes, leaves out and rests on.
    """
    if receipts:
        _print_receipts(report["comparisons"])
    rows: list[list[object]] = []
    for c in report["comparisons"]:
        sides = [joules(c[side]["energy_j"]) for side in ("first", "second")]
        rows.append([c["estimator"], c["device"], *sides, _ratio(c), _assumed_ratio(c)])
    columns = [
        "estimator",
        "device",
        *report["bundles"],
        "ratio (95 % over recordings)",
        "by assumption",
    ]
    title = f"Energy of one inference over the same {report['samples']} recordings"
    table(title, columns, rows, ["device", "by assumption"])
    for e in report["unknown"]:
        note(f"{e['estimator']} on {e['device']}, {e['bundle']} bundle: unknown, {e['reason']}")
    first, second = report["bundles"]
    for c in _first_of_each_chip(report["comparisons"]):
        say(f"{c['device']}: {second} takes {_ratio(c)} times the joules of {first}")
        say(f"by {c['estimator']}, which leaves out {'; '.join(c['excludes'])}", indent=2)
    if not receipts:
        note("What each figure includes, leaves out and rests on: --receipts")


def _ratio(comparison: dict[str, Any]) -> str | None:
    if comparison["ratio"] is None:
        return None
    ci95 = comparison["ratio_ci95"]
    interval = "" if ci95 is None else f" ({significant(ci95[0])}-{significant(ci95[1])})"
    return significant(comparison["ratio"]) + interval


def _assumed_ratio(comparison: dict[str, Any]) -> str | None:
    if comparison["ratio_low"] is None:
        return None
    return f"{significant(comparison['ratio_low'])} to {significant(comparison['ratio_high'])}"


def _interval(figures: dict[str, Any]) -> str:
    return f"{joules(figures['low_j'])} to {joules(figures['high_j'])}"


def _print_estimates(report: dict[str, Any]) -> None:
    rows: list[list[object]] = []
    for e in report["estimates"]:
        power, spread = watts(e["per_second"]["energy_j"]), joules(e["sd_j"])
        rows.append(
            [e["estimator"], e["device"], joules(e["energy_j"]), _interval(e), spread, power]
        )
    for e in report["unknown"]:
        rows.append([e["estimator"], e["device"], "unknown", None, None, None])
    columns = [
        "estimator",
        "device",
        "estimate",
        "interval of its assumptions",
        "sd over recordings",
        "power of a stream",
    ]
    title = (
        f"Energy of one inference, mean of {report['samples']} recordings of"
        f" {significant(report['seconds_of_stream'])} s"
    )
    table(title, columns, rows, ["sd over recordings", "power of a stream"])
    for e in report["unknown"]:
        say(f"{e['estimator']} on {e['device']}: unknown, {e['reason']}")


def _first_of_each_chip(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the first estimate for each device; the proxies, which are no chips, where there is
    nothing else.
    """
    first: dict[str, dict[str, Any]] = {}
    for entry in figures:
        first.setdefault(entry["device"], entry)
    return [e for name, e in first.items() if "proxy" not in name] or [*first.values()]


def _print_headline(estimates: list[dict[str, Any]]) -> None:
    """Print for each chip its first estimate, the range of all, and what the estimate leaves
    out.
    """
    for e in _first_of_each_chip(estimates):
        say(
            f"{e['device']}: {joules(e['energy_j'])} an inference ({_interval(e)}) by"
            f" {e['estimator']}"
        )
        say(f"leaves out: {'; '.join(e['excludes'])}", indent=2)


def _print_neurobench(counts: dict[str, Any]) -> None:
    counted = ", ".join(
        f"{name.replace('_', ' ')} {value:,.0f}"
        for name, value in counts["SynapticOperations"].items()
    )
    say(f"NeuroBench's counts, operations and no joules: {counted}")


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
    verdicts = {True: "spiking costs less", False: "the ANN costs less", None: "undecided"}
    rows: list[list[object]] = [
        [
            f"{c['comparison']}, {c['device']}",
            c["activation_bits"],
            joules_with_interval(c),
            percent(c["crossover"], [c["crossover_low"], c["crossover_high"]]),
            verdicts[c["spiking_wins"]],
        ]
        for c in comparisons
    ]
    columns = ["comparison", "activation bits", "the ANN's energy", "crossover", "verdict"]
    title = (
        f"The same network as a quantised ANN; spikes reach {percent(comparisons[0]['rate'])} of"
        " all synapses a step. Below the crossover spiking costs less; undecided: inside its"
        " interval"
    )
    table(title, columns, rows, ["activation bits"])


def _with_receipts(report: dict[str, Any]) -> list[dict[str, Any]]:
    """List everything in the report that says what it includes, leaves out and rests on."""
    found = [*report["estimates"]]
    found += [{**c, "estimator": f"ANN, {c['comparison']}"} for c in report["ann"]]
    measured = report.get("measured")
    if measured is not None and measured["reason"] is None:
        found.append({**measured, "estimator": "measured"})
    return found


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
        say(f"{title + ':' if i == 0 else '':<12}{line}", indent=2)
