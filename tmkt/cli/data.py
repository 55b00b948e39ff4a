"""tmkt data."""

from pathlib import Path
from typing import Annotated

import typer

from tmkt import console
from tmkt.cli import datasets

app = typer.Typer(help="Make recordings.", rich_markup_mode=None, no_args_is_help=True)
datasets.register(app)


@app.command("simulate", epilog="Example: tmkt data simulate digits-events --per-class 50")
def data_simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write Train/<digit>/<index>.bin to.")],
    per_class: Annotated[int, typer.Option("--per-class", min=1, max=170, help="Recordings per digit.")] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Record scikit-learn's handwritten digits with the event-camera simulation."""
    from tmkt.datasets.digits import simulate_digits

    with console.progress("simulate") as update:
        simulate_digits(out, per_class, seed, lambda done: update(done, 10 * per_class, None))
    console.note(f"Next: tmkt train digits --data {out}")
