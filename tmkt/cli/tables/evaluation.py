"""Terminal tables of an evaluation."""

from typing import Any

from tmkt.console import percent, table


def print_evaluation(report: dict[str, Any]) -> None:
    """Print an evaluation's figures and its confusion matrix."""
    rows: list[list[object]] = [
        ["recordings", f"{report['samples']} ({report['split']} split)"],
        ["accuracy (95 % interval)", percent(report["accuracy"], report["accuracy_ci95"])],
        ["spikes a recording", f"{report['spikes_per_sample']:,.0f}"],
        ["synaptic operations a recording", f"{report['synops_per_sample']:,.0f}"],
        ["neuron updates a recording", f"{report['neuron_updates_per_sample']:,.0f}"],
        ["time a recording", f"{1e3 * report['seconds_per_sample']:.3g} ms"],
    ]
    if len(tested := report["classes_tested"]) < len(report["classes"]):
        rows.insert(1, ["classes among them", f"{', '.join(tested)} (of {len(report['classes'])})"])
    rows += [[name.replace("_", " "), n] for name, n in (report["faults"] or {}).items()]
    table(f"{report['bundle']} on {report['engine']}", ["", "value"], rows)
    classes = report["classes"]
    confusion: list[list[object]] = [
        [name, *(n or "" for n in row)]
        for name, row in zip(classes, report["confusion"], strict=True)
    ]
    title = "Confusion matrix (rows: true class, columns: predicted)"
    table(title, ["", *classes], confusion)
