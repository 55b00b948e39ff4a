"""Terminal table of what is installed."""

from typing import TYPE_CHECKING

from tmkt.cli.tables.table import table

if TYPE_CHECKING:
    from tmkt.deploy.doctor import Finding


def print_findings(findings: "list[Finding]") -> None:
    """Print each part that tmkt uses, its version, and how to install it where it is missing."""
    rows: list[list[object]] = [
        [f["part"], f["found"] or "not found", f["advice"] or ""] for f in findings
    ]
    table("tmkt doctor", ["part", "found", "what to do"], rows)
