"""Terminal tables of a comparison with recorded spikes."""

from pathlib import Path
from typing import Any

from tmkt.cli.tables.parity import print_first_divergence
from tmkt.cli.tables.table import table
from tmkt.console import note


def print_against(report: dict[str, Any], path: Path) -> None:
    """Print how a file of recorded spikes and membranes compares with the simulator, layer by
    layer, and where they first differ.
    """
    rows: list[list[object]] = []
    for layer in report["layers"]:
        latency = layer["latency"]
        compared = [
            f"{layer[f'{kind}_mismatches']:,} of {layer[f'{what}_compared']:,}"
            if layer[f"{what}_compared"]
            else "-"
            for what, kind in (("spikes", "spike"), ("membranes", "membrane"))
        ]
        late = "unknown" if latency is None else f"{latency} steps"
        spikes = f"{layer['spikes']:,} of {layer['reference_spikes']:,}"
        rows.append([layer["name"], late, layer["steps"], spikes, *compared])
    verdict = "; ".join(report["failures"]) or "the same"
    columns = ["layer", "late by", "steps", "spikes of", "spikes differ", "membranes differ"]
    title = f"{path} against the simulator, {report['samples']} recordings: {verdict}"
    table(title, columns, rows, ["steps", "spikes of"])
    if report["first_divergence"]:
        print_first_divergence(path.name, report["first_divergence"])
    if report["not_recorded"]:
        note(f"Not recorded: {', '.join(report['not_recorded'])}")
