"""tmkt data: look at recordings, convert and make them."""

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli import datasets
from tmkt.cli.option_groups import with_option_groups
from tmkt.cli.options import JsonOption
from tmkt.cli.places import ForceOption, need_recording_place
from tmkt.cli.reader_options import ReaderOptions
from tmkt.cli.tables.datasets import print_recording
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.events.types import Events
    from tmkt.readers import FileSource

app = typer.Typer(
    help="Look at recordings, convert and make them.", rich_markup_mode=None, no_args_is_help=True
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
    from tmkt.readers.source import LARGEST_SIDE
    from tmkt.readers.statistics import Statistics

    statistics, damage = Statistics(), None
    with closing(reading.open(file)) as source:
        try:
            chunks = source.chunks(source.sensor or (LARGEST_SIDE, LARGEST_SIDE))
            for events in _show_progress(chunks, source, "info"):
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


@app.command("convert", epilog="Example: tmkt data convert recording.aedat4 recording.npz")
@with_option_groups
def data_convert(
    file: Annotated[Path, typer.Argument(help="A recording of any format that is read.")],
    out: Annotated[
        Path,
        typer.Argument(
            help="File to write: .bin, .aedat, .dat, .es, .h5, .npz; .raw with --to evt2 or evt3."
        ),
    ],
    *,
    to: Annotated[
        str | None,
        typer.Option("--to", help="Format to write [told by the ending].", show_default=False),
    ] = None,
    from_zero: Annotated[
        bool, typer.Option("--from-zero", help="Count time from the first event.")
    ] = False,
    reading: ReaderOptions,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write a recording in another format: the same events without impossible ones, which are
    counted.
    """
    from tmkt.readers.writers import format_to_write, write_events

    target = format_to_write(out, to)
    need_recording_place(out, force)
    with closing(reading.open(file)) as source:
        chunks = iter(source)
        assert source.sensor is not None
        chunks = _show_progress(_from_zero(chunks) if from_zero else chunks, source, "convert")
        events = write_events(chunks, out, target, source.sensor)
    counters = source.counters
    if as_json:
        report = {
            "file": str(file),
            "format": source.format,
            "out": str(out),
            "to": target,
            "events": events,
            "bytes": out.stat().st_size,
        }
        console.emit_json(report | {"notes": source.notes, "counters": counters.to_json()})
        return
    for note in source.notes:
        console.note(f"{file}: {note}")
    repaired = f"; {counters.dropped} dropped ({counters.reasons()})" if counters.dropped else ""
    repaired += f"; {counters.clamped} clamped" if counters.clamped else ""
    repaired += f"; {counters.left_over_bytes} bytes left over" if counters.left_over_bytes else ""
    console.note(f"{out}: {events} events as {target}, {out.stat().st_size} bytes{repaired}")


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
    console.note(f"Next: tmkt train digits --data {quote(str(out))}")


def _show_progress(
    chunks: Iterator["Events"], source: "FileSource", what: str
) -> Iterator["Events"]:
    """Pass the chunks on and show how much of the file is read (in MB)."""
    total = Path(source.name).stat().st_size
    with console.progress(what) as update:
        for events in chunks:
            update(source.position >> 20, total >> 20, None)
            yield events


def _from_zero(chunks: Iterator["Events"]) -> Iterator["Events"]:
    from dataclasses import replace

    first = None
    for events in chunks:
        first = events.t[0] if first is None else first
        yield replace(events, t=events.t - first)


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
