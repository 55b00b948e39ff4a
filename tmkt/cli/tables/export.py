"""Terminal tables of an export: how a NIR file was read, the quantisation, the bundle's files."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from tmkt.cli.tables.table import table
from tmkt.console import note
from tmkt.deploy.report import quantisation

if TYPE_CHECKING:
    from tmkt.bundle import Bundle

LEAST = ["saturated", "silent in float", "scale", "clipped", "zero", "change", "bits"]


def print_export(network: Path, bundle: "Bundle", reading: Any) -> None:
    """Print what an export made; `reading`: how each node of a .nir file was read."""
    from tmkt.deploy.report.ranges import COLUMNS, describe_ranges, range_rows

    manifest = bundle.manifest
    if reading:
        rows = [[row["node"], row["read_as"], row["changed"]] for row in reading["nodes"]]
        table(f"{network}, node by node", ["node", "read as", "changed"], rows)
    quantised = manifest["quantisation"]
    table("Quantisation", *quantisation.layer_table(quantised), LEAST)
    if answers := quantisation.answers(quantised):
        note(answers)
    rows = range_rows(bundle.program, bundle.contract.bins)
    table("Ranges for any input", COLUMNS, rows)
    note(describe_ranges(bundle.program, bundle.contract.bins))
    files: list[list[object]] = [[name, file["bytes"]] for name, file in manifest["files"].items()]
    table(f"Bundle {bundle.path}", ["file", "bytes"], files)


def print_board(found: dict[str, Any]) -> None:
    """Print what the C took on a board."""
    each = found["instructions"] / found["synops"] if found["synops"] else None
    rows: list[list[object]] = [
        ["instructions an inference", f"{found['instructions']:,.0f}"],
        ["of them a synaptic operation", None if each is None else f"{each:.2f}"],
        ["flash, code and constants", f"{found['flash_bytes']:,} bytes"],
        ["RAM, state and one frame", f"{found['ram_bytes']:,} bytes"],
        ["stack at its deepest", f"{found['stack_bytes']:,} bytes"],
        ["answers unlike the simulator's", found["different_answers"]],
    ]
    title = f"{found['board']}, emulated, {found['recordings']} calibration recordings"
    table(title, ["what", "found"], rows)
