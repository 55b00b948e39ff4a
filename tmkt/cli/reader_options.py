"""Options for how a recording is read: `tmkt data info` and `tmkt data convert` share them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tmkt.cli.options import need_choice

if TYPE_CHECKING:
    from tmkt.readers import FileSource


@dataclass(frozen=True)
class ReaderOptions:
    """What a file does not say of itself, and what to do about its faults."""

    sensor: Annotated[
        str | None,
        typer.Option(
            "--sensor", help="WIDTHxHEIGHT, where the file does not say it.", show_default=False
        ),
    ] = None
    format: Annotated[
        str | None,
        typer.Option(
            "--format", help="Of the file to read [told by its content].", show_default=False
        ),
    ] = None
    stream: Annotated[
        int, typer.Option("--stream", min=0, help="Which event stream of an AEDAT4 file.")
    ] = 0
    time_unit: Annotated[
        str | None,
        typer.Option(
            "--time-unit",
            help="Of stamps in NumPy, MATLAB and HDF5 files: s, ms, us or ns [us, if integers].",
            show_default=False,
        ),
    ] = None
    layout: Annotated[
        str | None,
        typer.Option(
            "--layout",
            help="Of AEDAT 1 and 2 addresses: dvs128, davis240 or davis346 [as the header says].",
            show_default=False,
        ),
    ] = None
    disorder: Annotated[
        str,
        typer.Option(
            "--disorder", help="Stamps that go back: drop, clamp to the one before, or fail."
        ),
    ] = "drop"
    repair: Annotated[
        bool, typer.Option("--repair", help="Take what is left of a damaged file.")
    ] = False

    def open(self, file: Path) -> "FileSource":
        """Open a recording as the options say. InputError for a name that is not known."""
        from tmkt.readers import open_events, parse_sensor

        need_choice("--disorder", self.disorder, ["drop", "clamp", "fail"])
        if self.time_unit is not None:
            need_choice("--time-unit", self.time_unit, ["s", "ms", "us", "ns"])
        return open_events(
            file,
            sensor=parse_sensor(self.sensor) if self.sensor else None,
            format=self.format,
            stream=self.stream,
            time_unit=self.time_unit,  # type: ignore[arg-type]
            layout=self.layout,
            disorder=self.disorder,  # type: ignore[arg-type]
            repair=self.repair,
        )
