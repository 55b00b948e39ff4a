"""tmkt data convert: a recording, or a folder of recordings, in another format."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tmkt import console
from tmkt.cli.option_groups import with_option_groups
from tmkt.cli.options import FilterOption, JsonOption
from tmkt.cli.places import ForceOption, need_free_place
from tmkt.cli.reader_options import ReaderOptions
from tmkt.errors import InputError

if TYPE_CHECKING:
    from tmkt.events.filters import Filter
    from tmkt.events.types import Events
    from tmkt.readers import FileSource

app = typer.Typer(rich_markup_mode=None)
MOST_NAMED = 10  # recordings that failed, in the list for people


@app.command(
    "convert", epilog="Example: tmkt data convert recordings recordings-aedat4 --to aedat4"
)
@with_option_groups
def data_convert(
    source: Annotated[Path, typer.Argument(help="A recording, or a folder of recordings.")],
    out: Annotated[
        Path,
        typer.Argument(
            help=(
                "File to write: .bin, .aedat, .aedat4, .dat, .es, .h5, .npz, .csv; .raw with --to"
                " evt2 or evt3. Of a folder: the folder to write to."
            )
        ),
    ],
    reading: ReaderOptions,
    to: Annotated[
        str | None,
        typer.Option(
            "--to", help="Format to write [told by the ending of a file].", show_default=False
        ),
    ] = None,
    from_zero: Annotated[
        bool, typer.Option("--from-zero", help="Count time from the first event.")
    ] = False,
    filters: FilterOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write recordings in another format: the same events without impossible ones, which are
    counted. Of a folder, all recordings, in the same folders; those that are there already are
    left as they are.
    """
    from tmkt.events.filters import parse_filter

    wanted = [parse_filter(text) for text in filters or []]
    if source.is_dir():
        _convert_folder(
            source, out, to, reading, wanted, from_zero=from_zero, force=force, json=as_json
        )
        return
    from tmkt.readers.writers import format_to_write

    target = format_to_write(out, to)
    need_free_place(out, force)
    with closing(reading.open(source)) as opened:
        chunks = show_progress(iter(opened), opened, "convert")
        events, dropped = _write(opened, chunks, out, target, wanted, from_zero=from_zero)
    counters = opened.counters
    if as_json:
        report = {
            "file": str(source),
            "format": opened.format,
            "out": str(out),
            "to": target,
            "events": events,
            "bytes": out.stat().st_size,
        }
        report |= {"filters": dropped} if dropped else {}
        console.emit_json(report | {"notes": opened.notes, "counters": counters.to_json()})
        return
    for note in opened.notes:
        console.note(f"{source}: {note}")
    repaired = f"; {counters.dropped} dropped ({counters.reasons()})" if counters.dropped else ""
    repaired += f"; {counters.clamped} clamped" if counters.clamped else ""
    repaired += f"; {counters.left_over_bytes} bytes left over" if counters.left_over_bytes else ""
    for one in dropped:
        repaired += f"; {one['dropped']} filtered by {one['filter']}"
    console.note(f"{out}: {events} events as {target}, {out.stat().st_size} bytes{repaired}")


def show_progress(
    chunks: Iterator["Events"], source: "FileSource", what: str
) -> Iterator["Events"]:
    """Pass the chunks on and show how much of the file is read (in MB)."""
    total = Path(source.name).stat().st_size
    with console.progress(what) as update:
        for events in chunks:
            update(source.position >> 20, total >> 20, None)
            yield events


def _convert_folder(
    folder: Path,
    out: Path,
    to: str | None,
    reading: ReaderOptions,
    filters: "list[Filter]",
    *,
    from_zero: bool,
    force: bool,
    json: bool,
) -> None:
    """Convert all recordings, say what was left, and raise InputError at the end if some failed."""
    from tmkt.readers.camera_file import write_camera
    from tmkt.readers.tree import needs_camera, plan

    work = plan(folder, out, to)
    done, there, events, dropped, filtered = 0, 0, 0, 0, 0
    failed: list[dict[str, str]] = []
    alike: dict[str, list[str]] = {}  # errors by their text but for names of files
    notes: set[str] = set()
    sensor: tuple[int, int] | None = None
    with console.progress("convert") as update:
        for i, (path, target) in enumerate(work.files):
            try:
                with closing(reading.open(path)) as source:
                    if needs_camera(work.format):
                        sensor = sensor or source.sensor
                        _need_same_sensor(path, source.sensor, sensor)
                    if target.exists() and not force:
                        there += 1
                        continue
                    written, found = _write(
                        source, iter(source), target, work.format, filters, from_zero=from_zero
                    )
                    events += written
                    filtered += sum(one["dropped"] for one in found)
                    dropped += source.counters.dropped
                    notes.update(source.notes)
                done += 1
            except InputError as error:
                failed.append({"path": str(path), "error": str(error)})
                text = str(error).replace(str(path), "").replace(str(target), "")
                alike.setdefault(text, []).append(str(error))
            finally:
                update(i + 1, len(work.files), None)
    if needs_camera(work.format) and sensor:
        write_camera(out, sensor)
    report: dict[str, Any] = {"folder": str(folder), "out": str(out), "to": work.format}
    report |= {"converted": done, "already_there": there, "events": events, "dropped": dropped}
    report |= {"filtered": filtered} if filters else {}
    report |= {"failed": failed, "other_files": work.others, "notes": sorted(notes)}
    if json:
        console.emit_json(report)
    else:
        _say(report, list(alike.values()))
    if failed:
        raise InputError(
            f"{folder}: {len(failed)} of {len(work.files)} recordings not converted, expected"
            " none; mend or remove them and run the same command again"
        )


def _need_same_sensor(
    path: Path, found: tuple[int, int] | None, expected: tuple[int, int] | None
) -> None:
    if found and expected and found != expected:
        (height, width), (other_height, other_width) = found, expected
        raise InputError(
            f"{path}: recorded with a sensor of {width}x{height}, expected"
            f" {other_width}x{other_height} as the other recordings: files of this format do not"
            " say it; choose another --to"
        )


def _say(report: dict[str, Any], failed_alike: list[list[str]]) -> None:
    for note in report["notes"]:
        console.note(f"{report['folder']}: {note}")
    for errors in failed_alike[:MOST_NAMED]:
        others = f" (and {len(errors) - 1} others for the same reason)" if len(errors) > 1 else ""
        console.note(f"not converted: {errors[0]}{others}")
    if more := sum(map(len, failed_alike[MOST_NAMED:])):
        console.note(f"not converted: and {more} more (--json has all)")
    there = report["already_there"]
    left = f"; {there} were there and are left as they are (--force)" if there else ""
    left += f"; {report['dropped']} events dropped" if report["dropped"] else ""
    left += f"; {report['filtered']} filtered" if "filtered" in report else ""
    left += f"; {report['other_files']} other files left out" if report["other_files"] else ""
    console.note(
        f"{report['out']}: {report['converted']} recordings as {report['to']},"
        f" {report['events']} events{left}"
    )


def _write(
    source: "FileSource",
    chunks: Iterator["Events"],
    out: Path,
    target: str,
    filters: "list[Filter]",
    *,
    from_zero: bool,
) -> tuple[int, list[dict[str, Any]]]:
    """Write what the filters keep; give the events written, and what each filter dropped."""
    from tmkt.events.filters import FilterChain
    from tmkt.readers.writers import write_events

    assert source.sensor is not None
    chain = FilterChain(filters, source.sensor)
    kept = _some(chain.over(chunks), source.name) if filters else chunks
    written = write_events(_from_zero(kept) if from_zero else kept, out, target, source.sensor)
    return written, chain.to_json()


def _some(chunks: Iterator["Events"], name: str) -> Iterator["Events"]:
    """Pass filtered events on; InputError at the end where there are none."""
    count = 0
    for events in chunks:
        count += len(events)
        yield events
    if count == 0:
        raise InputError(
            f"{name}: the filters drop all events, expected some to write; change --filter"
        )


def _from_zero(chunks: Iterator["Events"]) -> Iterator["Events"]:
    first = None
    for events in chunks:
        if len(events) == 0:  # all of it was filtered
            continue
        first = events.t[0] if first is None else first
        yield replace(events, t=events.t - first)
