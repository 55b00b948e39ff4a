"""Terminal tables of an evaluation."""

from typing import Any

from tmkt.cli.tables.table import fits, table
from tmkt.console import percent, significant
from tmkt.deploy.report.faults import fault_rows

MOST_PAIRS = 20


def print_evaluation(report: dict[str, Any]) -> None:
    """Print an evaluation's figures and its confusion matrix."""
    rows: list[list[object]] = [
        ["recordings", f"{report['samples']} ({report['split']} split)"],
        ["accuracy (95 % interval)", percent(report["accuracy"], report["accuracy_ci95"])],
        ["spikes a recording", f"{report['spikes_per_sample']:,.0f}"],
        ["synaptic operations a recording", f"{report['synops_per_sample']:,.0f}"],
        ["neuron updates a recording", f"{report['neuron_updates_per_sample']:,.0f}"],
        ["time a recording", f"{significant(1e3 * report['seconds_per_sample'])} ms"],
    ]
    if len(tested := report["classes_tested"]) < len(report["classes"]):
        rows.insert(1, ["classes among them", f"{', '.join(tested)} (of {len(report['classes'])})"])
    if (nothing := report.get("nothing")) is not None:
        called = f"called {nothing['class']}"
        noise = f"{percent(nothing['noise_called_nothing'])} of {nothing['noise_samples']} samples"
        rows[2:2] = [
            [f"recordings {called}", percent(nothing["recordings_called_nothing"])],
            [f"simulated noise {called}", noise],
        ]
    rows += fault_rows(report["faults"])
    table(f"{report['bundle']} on {report['engine']}", ["", "value"], rows)
    _print_confusion(report["classes"], report["confusion"])


def _print_confusion(classes: list[str], confusion: list[list[int]]) -> None:
    """Print the confusion matrix, or where that is too wide the pairs that are confused most."""
    columns = ["", *classes]
    cells: list[list[object]] = [
        [name, *(n or "" for n in row)] for name, row in zip(classes, confusion, strict=True)
    ]
    if fits(columns, cells):
        table("Confusion matrix (rows: true class, columns: predicted)", columns, cells)
        return
    wrong = sorted(
        (-n, i, j) for i, row in enumerate(confusion) for j, n in enumerate(row) if n and i != j
    )
    rows: list[list[object]] = [[classes[i], classes[j], -n] for n, i, j in wrong[:MOST_PAIRS]]
    title = f"Confused most, {len(rows)} of {len(wrong)} pairs (--json has the confusion matrix)"
    table(title, ["true class", "predicted", "recordings"], rows)
