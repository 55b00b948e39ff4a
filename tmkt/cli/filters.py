"""tmkt data hot-pixels."""

from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer

from tmkt import console
from tmkt.cli.convert import show_progress
from tmkt.cli.option_groups import with_option_groups
from tmkt.cli.options import JsonOption
from tmkt.cli.places import ForceOption, need_free_place
from tmkt.cli.reader_options import ReaderOptions
from tmkt.errors import InputError

app = typer.Typer(rich_markup_mode=None)


@app.command(
    "hot-pixels",
    epilog="Example: tmkt data hot-pixels dark.raw --out hot.csv",
)
@with_option_groups
def data_hot_pixels(
    file: Annotated[Path, typer.Argument(help="A recording, best with the lens covered.")],
    reading: ReaderOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="CSV to write, for --filter hot:file=FILE.", show_default=False),
    ] = None,
    least: Annotated[
        int, typer.Option("--least", min=1, help="Events that a hot pixel has at least.")
    ] = 50,
    factor: Annotated[
        int,
        typer.Option("--factor", min=1, help="Times as many as the median of its neighbours."),
    ] = 10,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """List the pixels that send many events where their neighbours send few."""
    from tmkt.events.filters import find_hot_pixels
    from tmkt.files import writing

    if out is not None:
        need_free_place(out, force)
    with closing(reading.open(file)) as source:
        if source.sensor is None:
            raise InputError(f"{file}: does not say its sensor; add --sensor WIDTHxHEIGHT")
        chunks = show_progress(iter(source), source, "hot pixels")
        mask, counts = find_hot_pixels(chunks, source.sensor, least, factor)
    pixels: list[dict[str, Any]] = [
        {"x": int(x), "y": int(y), "events": int(counts[y, x])}
        for y, x in zip(*mask.nonzero(), strict=True)
    ]
    pixels.sort(key=lambda pixel: -pixel["events"])
    total = int(counts.sum())
    theirs = sum(pixel["events"] for pixel in pixels)
    if out is not None:
        with writing(out) as beside:
            rows = ["x,y,events", *(",".join(map(str, pixel.values())) for pixel in pixels)]
            beside.write_text("\n".join(rows) + "\n", encoding="ascii", newline="\n")
    if as_json:
        console.emit_json({"file": str(file), "events": total, "hot_pixels": pixels})
        return
    share = f", {100 * theirs / total:.1f} % of the events" if total else ""
    console.note(f"{file}: {len(pixels)} hot pixels of {mask.size:,}{share}")
    if out is not None:
        console.note("Next:", f"tmkt stream BUNDLE SOURCE --filter hot:file={out}")
    else:
        for pixel in pixels[:20]:
            console.note(f"  {pixel['x']},{pixel['y']}: {pixel['events']:,} events")
