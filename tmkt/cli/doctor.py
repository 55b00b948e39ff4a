"""tmkt doctor: what is installed on this machine."""

import typer

from tmkt import console
from tmkt.cli.options import JsonOption
from tmkt.cli.tables.doctor import print_findings

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: tmkt doctor --json")
def doctor(json: JsonOption = False) -> None:
    """Show what is installed, what is missing, and what to do about it."""
    from tmkt.deploy.doctor import examine

    findings = examine()
    if json:
        console.emit_json({"findings": findings})
    else:
        print_findings(findings)
    raise typer.Exit(1 if any(f["required"] and not f["found"] for f in findings) else 0)
