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


@app.command(
    "simulate",
    epilog=(
        "Example: tmkt data simulate caltech101-events --images"
        " data/caltech101/101_ObjectCategories"
    ),
)
def data_simulate(
    out: Annotated[
        Path,
        typer.Argument(
            help="Folder to write to: <class>/<name>.bin, or Train/<digit>/<index>.bin of digits."
        ),
    ],
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Folder of images, <class>/<name>.jpg [scikit-learn's digits].",
            show_default=False,
        ),
    ] = None,
    per_class: Annotated[
        int | None,
        typer.Option(
            "--per-class",
            min=1,
            help="Recordings a class [digits 50, images all].",
            show_default=False,
        ),
    ] = None,
    sensor: Annotated[
        str | None,
        typer.Option(
            "--sensor",
            help="With --images: largest recording, WIDTHxHEIGHT [240x180].",
            show_default=False,
        ),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
    force: ForceOption = False,
) -> None:
    """Record images, or scikit-learn's handwritten digits, with a simulated event camera. A
    simulation of images that was stopped goes on with the same command.
    """
    if images is not None:
        if force:
            raise InputError(
                "--force: replaces digits, with --images recordings that are there are kept;"
                f" remove {out} or choose another folder"
            )
        _simulate_images(images, out, per_class, sensor, seed)
        return
    if sensor is not None:
        raise InputError(
            f"--sensor {sensor}: digits are recorded with N-MNIST's 34x34; leave it out, or give"
            " --images DIR"
        )
    from tmkt.datasets.digits import DEMO_PER_CLASS, check_replaced, simulate_digits

    each = per_class or DEMO_PER_CLASS
    if not force:
        check_replaced(out, each, seed)
    with console.progress("simulate") as update:
        simulate_digits(out, each, seed, lambda done: update(done, 10 * each, None))
    console.note("Next:", f"tmkt train digits --data {quote(str(out))}")


def _simulate_images(
    images: Path, out: Path, per_class: int | None, sensor: str | None, seed: int
) -> None:
    from tmkt.datasets.simulated import N_CALTECH101, Simulation, simulate_images
    from tmkt.readers import parse_sensor

    size = parse_sensor(sensor) if sensor else N_CALTECH101
    with console.progress("simulate") as update:
        made = simulate_images(
            images, out, Simulation(size, seed), per_class=per_class, progress=update
        )
    before = f"; {made.there} were there and are left as they are" if made.there else ""
    console.note(f"{out}: {made.made} simulated recordings{before}")
    command = f"tmkt data check {quote(str(out))} --static {quote(str(images))}"
    console.note("Next:", command)


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
