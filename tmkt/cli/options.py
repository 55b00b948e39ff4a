"""Options that several commands share, and their shell completion."""

from pathlib import Path
from typing import Annotated

import typer

from tmkt.errors import InputError, nearest

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Folder of the event recordings.", show_default=False)
]
NeededDataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of the event recordings.  [required]", show_default=False),
]
StaticOption = Annotated[
    Path | None, typer.Option("--static", help="Folder of the images.", show_default=False)
]
SettingsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="section.key=value, over the recipe's; repeatable.", show_default=False
    ),
]
TestOption = Annotated[
    Path | None,
    typer.Option(
        "--test",
        help="Folder of the recordings to test on, as of another session.",
        show_default=False,
    ),
]
SplitOption = Annotated[
    str,
    typer.Option(
        "--split",
        help="test: recordings neither trained nor calibrated on; train: the others; all.",
    ),
]
LimitOption = Annotated[
    int | None,
    typer.Option(
        "--limit", min=1, help="At most so many recordings, drawn once for all.", show_default=False
    ),
]
FILTERS = (
    "background, refractory, hot or flicker, with settings as in background:dt_us=5000,k=2;"
    " repeatable, in this order"
)
FilterOption = Annotated[
    list[str] | None, typer.Option("--filter", help=f"{FILTERS}.", show_default=False)
]
BinsOption = Annotated[
    int | None,
    typer.Option(
        "--bins", min=1, help="Time steps of a recording [the bundle's].", show_default=False
    ),
]
BinUsOption = Annotated[
    int | None,
    typer.Option(
        "--bin-us", min=1, help="Microseconds of a time step [the bundle's].", show_default=False
    ),
]
MaxCountOption = Annotated[
    int | None,
    typer.Option(
        "--max-count",
        min=1,
        help="Most events a pixel and step [the bundle's].",
        show_default=False,
    ),
]
EnginesOption = Annotated[
    str | None,
    typer.Option(
        "--engines",
        help="Engines to compare, with commas [simulator,onnx,float, of these the installed ones].",
        show_default=False,
    ),
]
JsonOption = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output instead of a table.")
]


def recipe_names(incomplete: str) -> list[str]:
    """Complete the names of the recipes that come with tmkt."""
    from tmkt.train import RECIPES

    return sorted(path.stem for path in RECIPES.glob(f"{incomplete}*.toml"))


def engine_names(incomplete: str) -> list[str]:
    """Complete the names of the engines."""
    from tmkt.deploy.engines.types import ENGINES

    return [name for name in ENGINES if name.startswith(incomplete)]


def need_choice(option: str, value: str, known: list[str]) -> None:
    """Raise InputError for a value of an option that is none of the known ones."""
    if value not in known:
        raise InputError(
            f"{option} {value!r}: unknown, choose from {', '.join(known)}{nearest(value, known)}"
        )
