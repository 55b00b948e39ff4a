"""tmkt doctor."""

import typer

from tmkt import console
from tmkt.cli.options import JsonOption

app = typer.Typer(rich_markup_mode=None)


@app.command(epilog="Example: tmkt doctor --json")
def doctor(json: JsonOption = False) -> None:
    """What is installed, what is missing, and what to do about it."""
    from tmkt.deploy.doctor import examine

    findings = examine()
    if json:
        console.emit_json({"findings": findings})
    else:
        console.table(
            "tmkt doctor",
            ["part", "found", "what to do"],
            [[f["part"], f["found"] or "not found", f["advice"] or ""] for f in findings],
        )
    raise typer.Exit(1 if any(f["required"] and not f["found"] for f in findings) else 0)
