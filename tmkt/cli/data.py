"""tmkt data: look at recordings, convert and make them."""

from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli import datasets
from tmkt.cli.convert import show_progress
from tmkt.cli.group import Group
from tmkt.cli.option_groups import with_option_groups
from tmkt.cli.options import JsonOption
from tmkt.cli.places import ForceOption
from tmkt.cli.reader_options import ReaderOptions
from tmkt.cli.tables.datasets import print_recording
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.readers import FileSource

app = typer.Typer(
    help="Look at recordings, convert and make them.",
    epilog="Example: tmkt data info recording.aedat4",
    cls=Group,
    rich_markup_mode=None,
    no_args_is_help=True,
)
datasets.register(app)


@app.command("info", epilog="Example: tmkt data info recording.aedat4")
@with_option_groups
def data_info(
    file: Annotated[Path, typer.Argument(help="A recording of any format that is read.")],
    reading: ReaderOptions,
    as_json: JsonOption = False,
) -> None:
    """Say what a recording holds: format, sensor, duration, rates, and what is wrong with it."""
    from tmkt.readers.camera_file import no_sensor
    from tmkt.readers.source import LARGEST_SIDE
    from tmkt.readers.statistics import Statistics

    statistics, damage = Statistics(), None
    with closing(reading.open(file)) as source:
        if source.sensor is None:
            source.notes.append(no_sensor(file, file.parent))
        try:
            chunks = source.chunks(source.sensor or (LARGEST_SIDE, LARGEST_SIDE))
            for events in show_progress(chunks, source, "info"):
                statistics.add(events)
        except InputError as error:  # what came before the damage is worth knowing
            damage = error
    if statistics.events or as_json:
        report = _report(file, source, statistics.to_json(), damage)
        if as_json:
            console.emit_json(report)
        else:
            print_recording(report)
    if damage:
        raise damage


@app.command("simulate", epilog="Example: tmkt data simulate digits-events --per-class 50")
def data_simulate(
    out: Annotated[Path, typer.Argument(help="Folder to write Train/<digit>/<index>.bin to.")],
    per_class: Annotated[
        int, typer.Option("--per-class", min=1, max=170, help="Recordings per digit.")
    ] = 50,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    force: ForceOption = False,
) -> None:
    """Record scikit-learn's handwritten digits with the event-camera simulation."""
    from tmkt.datasets.digits import check_replaced, simulate_digits

    if not force:
        check_replaced(out, per_class, seed)
    with console.progress("simulate") as update:
        simulate_digits(out, per_class, seed, lambda done: update(done, 10 * per_class, None))
    console.note("Next:", f"tmkt train digits --data {quote(str(out))}")


def _report(
    file: Path, source: "FileSource", statistics: dict[str, Any], damage: InputError | None
) -> dict[str, Any]:
    sensor = None
    if source.sensor is not None:
        height, width = source.sensor
        sensor = {"width": width, "height": height}
    return {
        "file": str(file),
        "format": source.format,
        "bytes": file.stat().st_size,
        "sensor": sensor,
        "notes": source.notes,
        **statistics,
        "counters": source.counters.to_json(),
        "damage": None if damage is None else str(damage),
    }
