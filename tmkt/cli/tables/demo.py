"""Terminal table of the demo's files."""

from pathlib import Path
from typing import Any

from tmkt.cli.tables.table import table
from tmkt.console import joules


def print_files(energy: dict[str, Any], files: dict[str, Path]) -> None:
    """Print the first energy estimate and where the demo's files lie."""
    central = energy["estimates"][0]
    interval = f"{joules(central['low_j'])} to {joules(central['high_j'])}"
    shown = f"{joules(central['energy_j'])} ({interval}) on {central['device']}, more above"
    rows: list[list[object]] = [["energy per inference", shown]]
    rows += [[what, path] for what, path in files.items()]
    table("And", ["what", "figure or path"], rows)
